// The verdict on a picture, of all that was found, with its reasons and the summary, as Python's `reasons.py` has them.
import { inWords, ranked, speakerOf } from "./statement.js";
import words from "./words.js";

const { NO_LEAN, UNTOLD } = words.answer;
const { BROKEN } = words.statement;
const { MOST_REASONS, LARGEST_WEIGHT, DECIDERS } = words.reasons;
const { ODDS } = words.odds;

/** The verdict by two thresholds. */
export const verdictOf = (probability, [low, high]) =>
  probability > high ? "fake" : probability < low ? "real" : "uncertain";

/** The likelier verdict by a probability; empty near the middle. */
export function leanOf(probability) {
  if (NO_LEAN[0] <= probability && probability <= NO_LEAN[1]) return "";
  return probability > 0.5 ? "fake" : "real";
}

/**
 * What follows of an answer, to be added to it: label, probability, what decided, error rate, reasons and summary.
 *
 * Of the answer only `pixels_probability`, `verdict_note`, `traces`, `traces_note` and `provenance` count.
 */
export function conclusionOf(answer, thresholds, errorRates) {
  const { pixels_probability: pixels, verdict_note: doubt, provenance } = answer,
    decider = decidingStatement(provenance);
  let probability = measuredProbability(answer),
    label = verdictOf(probability, thresholds),
    by = label === verdictOf(pixels, thresholds) ? "pixels" : "traces";
  if (doubt) [label, probability, by] = [...UNTOLD, ""];
  if (decider) {
    [label, by] = [sideOf(decider), DECIDERS[decider.trust]];
    probability = label === "fake" ? Math.max(probability, 0.5) : Math.min(probability, 0.5);
  }
  const rates = label === "uncertain" || decider ? null : errorRates;
  const concluded = {
    label,
    fake_probability: probability,
    thresholds: [...thresholds],
    decided_by: by,
    error_rate: rates ? rates[label === "fake" ? 1 : 0] : null,
    reasons: reasonsOf(answer, decider),
  };
  return { ...concluded, summary: summaryOf({ ...answer, ...concluded }) };
}

/** How probable it is that a picture is generated, by its pixels and traces together. */
function measuredProbability(answer) {
  const { pixels_probability: pixels } = answer,
    odds = oddsOfTraces(answer) ?? 1;
  return (pixels * odds) / (pixels * odds + (1 - pixels));
}

/** What the strongest trace, or that there is none, multiplies the odds of fake by; nothing where that is not known. */
const oddsOfTraces = ({ traces: [strongest], traces_note: note }) => (note ? undefined : ODDS[strongest?.name ?? ""]);

/** The statement that decides the verdict, if one does; a generator goes before the camera. */
function decidingStatement(statements) {
  const able = ranked(statements).filter((one) => one.trust in DECIDERS && sideOf(one));
  return able.find((one) => sideOf(one) === "fake") ?? able[0];
}

/** The verdict for which a statement speaks; empty if it is broken or says neither. */
function sideOf({ trust, claim }) {
  if (trust === BROKEN) return "";
  return words.ofGenerators.includes(claim) ? "fake" : words.ofCameras.includes(claim) ? "real" : "";
}

/** Whether a statement decided the verdict, whatever the pixels show. */
export const isDecidedByStatement = ({ decided_by: by }) => Object.values(DECIDERS).includes(by);

/** The verdict, or that to which an uncertain picture leans; empty if it leans to neither. */
export const leaning = ({ label, fake_probability: probability }) => (label === "uncertain" ? leanOf(probability) : label);

/** The verdict for which places may be shown; empty where they would speak against the other reasons. */
export function evidenceToward(answer) {
  const pixels = answer.verdict_note ? "" : answer.pixels_probability > 0.5 ? "fake" : "real";
  return pixels === leaning(answer) ? pixels : "";
}

/** The verdict, its strongest reason, and what contradicts a statement that decides, or what else is stated. */
function summaryOf(answer) {
  const { label, reasons, decided_by: by, fake_probability: probability, verdict_note: doubt } = answer,
    lean = leaning(answer),
    strongest = reasons.find(({ toward }) => lean && toward === lean) ?? reasons[0],
    sentences = [strongest.text];
  let title = label[0].toUpperCase() + label.slice(1);
  if (isDecidedByStatement(answer)) {
    const measured = measuredProbability(answer);
    if (!doubt && !["", lean].includes(leanOf(measured)))
      sentences.push(`Without that, the probability of being generated would be ${inPercent(measured)}.`);
  } else if (by) {
    if (lean && label === "uncertain") title += `, leaning to "${lean}"`;
    title += ` (probability of being generated: ${inPercent(probability)})`;
  }
  const stated = reasons.find(({ kind }) => kind === "stated");
  if (sentences.length === 1 && stated) sentences.push(stated.text);
  return [`${title}.`, ...sentences].join(" ");
}

const inPercent = (probability) => `${(100 * probability).toFixed(1)}%`;

/** What decides, what was measured by falling weight, and what else is stated. */
function reasonsOf(answer, decider) {
  const { traces, provenance } = answer,
    odds = oddsOfTraces(answer),
    measured = [ofPixels(answer)];
  if (odds) measured.push(weighed("trace", odds, inOneSentence(traces)));
  else if (traces.length)
    measured.push({ kind: "trace", toward: traces[0].toward, weight: null, text: inOneSentence(traces) });
  measured.sort((one, other) => (other.weight ?? 0) - (one.weight ?? 0));
  const others = ranked(provenance).filter((one) => one !== decider);
  return [...(decider ? [ofStatement(decider)] : []), ...measured, ...others.map(ofStatement)].slice(0, MOST_REASONS);
}

function ofPixels({ pixels_probability: probability, verdict_note: doubt }) {
  if (doubt) return { kind: "pixels", toward: "", weight: null, text: doubt };
  const looks = { fake: "look generated", real: "look like those of pictures by people", "": "tell little" },
    [over, under] = [probability, 1 - probability].map((share) => Math.max(share, 1 / LARGEST_WEIGHT));
  return weighed("pixels", over / under, `The pixels ${looks[leanOf(probability)]}.`);
}

function inOneSentence(traces) {
  if (!traces.length) return "The pixels show no known trace of a generator.";
  const names = traces.map(({ name }) => name).join(", ");
  return `The pixels show ${traces.length} trace${traces.length > 1 ? "s" : ""}: ${names}.`;
}

function weighed(kind, odds, text) {
  const toward = odds > 1 ? "fake" : odds < 1 ? "real" : "";
  return { kind, toward, weight: Math.round(100 * Math.max(odds, 1 / odds)) / 100, text };
}

const ofStatement = (statement) => ({
  kind: DECIDERS[statement.trust] ?? "stated",
  toward: sideOf(statement),
  weight: null,
  text: `${speakerOf(statement)}: ${inWords(statement)}.`,
});

// The answer to one picture, with the keys and the words of tellsign's Python package.
import { halfToEven } from "./pixels.js";
import words from "./words.js";

const { NO_LEAN, LEAST_SIDE, SMALL_SIDE, LEAST_CONTRAST, MOST_STRETCHED, UNTOLD } = words.answer;
const { VERTICAL, HORIZONTAL, CENTER, WHOLE } = words.answer;
const { MOST_PLACES, LEAST_SHARE, STRONGEST } = words.evidence;
const { UNREADABLE, NOT_READ, MARK, UNKNOWN } = words.statement;

export const percent = (share) => `${halfToEven(100 * share)}%`;

/**
 * The answer to a picture.
 *
 * `judged` has its `width`, `height` and `contrast`, `probability`, `isLarge`, whether it is `animated`, and the map of
 * its `evidence`, a square in rows. `settings` are those that the page came with.
 */
export function answerOf({ name, judged, statements, settings, operatingPoint }) {
  const { width, height, probability, isLarge, animated, evidence, seen } = judged,
    [low, high] = (isLarge ? settings.large : settings).thresholds[operatingPoint],
    verdict = probability > high ? "fake" : probability < low ? "real" : "uncertain",
    doubt = doubtOf({ ...judged, verdict }, settings);
  const [label, told] = doubt ? UNTOLD : [verdict, Math.round(1e4 * probability) / 1e4];
  const toward = evidence.map((value) => (probability > 0.5 ? value : -value));
  const answer = {
    image: name,
    label,
    fake_probability: told,
    operating_point: operatingPoint,
    verdict_note: doubt,
    width,
    height,
    evidence: doubt ? [] : placesOf(toward, width, height),
    artifacts: [],
    artifacts_note: isLarge
      ? "Artifacts are not looked for in pictures of this size."
      : "Artifacts were not looked for.",
    traces: seen.traces,
    traces_note: seen.traces_note,
    provenance: statements,
    ...(animated && { animated }),
  };
  return { ...answer, summary: summaryOf(answer) };
}

function doubtOf({ width, height, contrast, isLarge, probability, verdict }, { size }) {
  const side = Math.min(width, height);
  if (side < LEAST_SIDE) return "The image has too few pixels to tell.";
  if (contrast < LEAST_CONTRAST) return "The image is of nearly one color: that is too little to tell.";
  if (Math.max(width, height) > MOST_STRETCHED * side) {
    return `The image is a strip, more than ${MOST_STRETCHED} times as long as wide: that is too narrow to tell.`;
  }
  if (size < SMALL_SIDE && SMALL_SIDE <= side && !isLarge) {
    return `This detector sees ${size} pixels a side: it was made for small images, not for this one.`;
  }
  if (side < SMALL_SIDE && verdict === "uncertain" && isBetween(probability)) {
    return `Below ${SMALL_SIDE} pixels this detector only tells images like those that it learned from.`;
  }
  return "";
}

/** A few connected places of a square grid, of the part of its cells that adds most. */
function placesOf(evidence, width, height) {
  const side = Math.sqrt(evidence.length),
    positive = Array.from(evidence, (value) => Math.max(value, 0));
  const total = positive.reduce((sum, value) => sum + value, 0),
    count = Math.max(1, halfToEven(STRONGEST * positive.length));
  const byStrength = [...positive.keys()].sort((one, other) => positive[other] - positive[one]);
  const left = new Set(byStrength.slice(0, count).filter((cell) => positive[cell] > 0)),
    places = [];
  for (const start of [...left].sort((one, other) => one - other)) {
    if (!left.has(start)) continue;
    const cells = [start];
    left.delete(start);
    for (const cell of cells) {
      // which grows meanwhile
      const x = cell % side,
        near = [cell - side, cell + side, ...(x > 0 ? [cell - 1] : []), ...(x < side - 1 ? [cell + 1] : [])];
      for (const other of near) if (left.delete(other)) cells.push(other);
    }
    const rows = cells.map((cell) => Math.floor(cell / side)),
      columns = cells.map((cell) => cell % side);
    const box = {
      xmin: Math.floor((Math.min(...columns) * width) / side),
      ymin: Math.floor((Math.min(...rows) * height) / side),
      xmax: Math.ceil(((Math.max(...columns) + 1) * width) / side),
      ymax: Math.ceil(((Math.max(...rows) + 1) * height) / side),
    };
    const share = cells.reduce((sum, cell) => sum + positive[cell], 0) / total;
    places.push({ box, share: halfToEven(1000 * share) / 1000 });
  }
  places.sort((one, other) => other.share - one.share);
  return places.slice(0, MOST_PLACES).filter(({ share }) => share >= LEAST_SHARE);
}

/** Where in a picture a box is: "top left" to "bottom right", "center" or "whole image". */
export function placeOf({ xmin, ymin, xmax, ymax }, width, height) {
  const third = (low, high, size, names) =>
    3 * (high - low) > 2 * size ? null : names[Math.floor((3 * (low + high)) / (2 * size))];
  const row = third(ymin, ymax, height, VERTICAL),
    column = third(xmin, xmax, width, HORIZONTAL);
  if (row === null && column === null) return WHOLE;
  return `${row ?? ""} ${column ?? ""}`.trim() || CENTER;
}

/** A statement as a sentence without its end. The names in it are those of the file. */
export function inWords({ source: place, claim, generator, version, signature, hash, text, ...signed }) {
  const source = words.sources[place] ?? place.toUpperCase();
  if (claim === UNREADABLE) return `something in its ${source} that cannot be read`;
  if (claim === NOT_READ) return `something in its ${source} that was not read (${text})`;
  const details = [source.replace(/ data$/, "")];
  if (signature) details.push(`signature ${signature}${signerOf(signed)}`);
  if (hash === "differs") details.push("but the file was changed after that");
  const maker = `${generator} ${version}`.trim(),
    shown = ["camera", ""].includes(claim) ? text : "";
  return `${words.claims[claim]}${maker && ", "}${maker}${shown && ": "}${shown} (${details.join(", ")})`;
}

/** Whom a certificate names, and that nobody vouches for it: the page knows no trusted ones. */
function signerOf({ signer, trust }) {
  if (trust !== UNKNOWN) return signer && `, signed as ${signer}`;
  return `, signed${signer && ` as ${signer}`} by a certificate that nobody vouches for`;
}

/** What makes a statement, as the beginning of a sentence. */
export const speakerOf = ({ trust }) => (trust === MARK ? "The pixels say" : "The file states");

/** The statement with which a summary begins: the one that is best vouched for, then the one that claims most. */
function leadingStatement(statements) {
  const order = [...Object.keys(words.claims), UNREADABLE, NOT_READ],
    vouched = [MARK, UNKNOWN];
  const rank = ({ claim, trust }) => {
    const isVouched = vouched.includes(trust) && ![UNREADABLE, NOT_READ].includes(claim);
    return (isVouched ? vouched.indexOf(trust) : vouched.length) * order.length + order.indexOf(claim);
  };
  return statements.filter(({ claim }) => claim).sort((one, other) => rank(one) - rank(other))[0];
}

/** A few short sentences: what the file or its watermark states, then what its pixels say. */
function summaryOf(answer) {
  const stated = leadingStatement(answer.provenance);
  const lean = answer.verdict_note ? [answer.verdict_note] : leanInWords(answer),
    [first, ...others] = answer.traces;
  return [
    ...(stated ? [`${speakerOf(stated)}: ${inWords(stated)}.`] : []),
    ...lean,
    ...(first ? [first.text] : []),
    ...(others.length ? [`Also found: ${others.map(({ name }) => name).join(", ")}.`] : []),
    ...strongest(answer),
    answer.artifacts_note,
  ].join(" ");
}

/** The verdict for which an answer's evidence speaks; null if that would mislead, as against a mark or a trace. */
export function leaning({ verdict_note, fake_probability: probability, label, provenance, traces }) {
  if (verdict_note || (label === "uncertain" && isBetween(probability))) return null;
  const likelier = probability > 0.5 ? "fake" : "real",
    others = likelier === "real" ? words.ofGenerators : words.ofCameras;
  const isDenied = provenance.some(({ trust, claim }) => trust === MARK && others.includes(claim));
  return isDenied || traces.some(({ toward }) => toward !== likelier) ? null : likelier;
}

const isBetween = (probability) => NO_LEAN[0] <= probability && probability <= NO_LEAN[1];

function leanInWords(answer) {
  if (answer.label !== "uncertain") return [];
  if (isBetween(answer.fake_probability)) return ['It leans to neither "real" nor "fake".'];
  return leaning(answer) ? [`It leans to "${leaning(answer)}".`] : [];
}

function strongest(answer) {
  const lean = leaning(answer),
    [place] = answer.evidence;
  if (!lean || !place) return [];
  const where = placeOf(place.box, answer.width, answer.height);
  return where === WHOLE
    ? []
    : [`Strongest evidence for "${lean}": ${where}, ${percent(place.share)} of the total.`];
}

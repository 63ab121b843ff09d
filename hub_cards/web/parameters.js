// Parameters of generators, which each writes as text under names of its own, and China's label.
import { MAX_BYTES, checkLength, generatorOf, isOfGrok, statement, unreadable } from "./statement.js";
import words from "./words.js";

const INVOKEAI = ["invokeai_metadata", "sd-metadata", "Dream"], // the newest first
  NAMES = ["parameters", "prompt", "workflow", "AIGC", ...INVOKEAI],
  NEGATIVE = ["negative_prompt", "Negative Prompt"];
const PRODUCERS = ["ContentProducer", "ServiceProvider", "ContentPropagator"];

export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** What JSON holds, also where Python wrote its numbers; nothing of any other text. */
export function parsed(text) {
  try {
    return JSON.parse(text.replace(/\bNaN\b|-?\bInfinity\b/g, "null"));
  } catch {
    return undefined;
  }
}

/** The object that a text is in JSON, or an empty one. */
export function objectIn(text) {
  const value = parsed(text);
  return isObject(value) ? value : {};
}

/** The statement of a label in JSON, by itself or as the value of `AIGC`; nothing of any other text. */
export function labelIn(source, text) {
  try {
    checkLength(text);
  } catch {
    return undefined;
  }
  let value = text;
  for (let depth = 0; depth < 3; depth += 1) {
    // an object, that under the name, and that as a text in it
    if (typeof value === "string") value = parsed(value);
    if (isObject(value) && "AIGC" in value) value = value.AIGC;
  }
  if (!isObject(value) || !words.labelFields.some((name) => name in value)) return undefined;
  const producer = PRODUCERS.map((name) => value[name]).find(Boolean) ?? "",
    degree = String(value.Label ?? "");
  const claim = ["1", "2", "3"].includes(degree) ? `aigc label ${degree}` : "generator";
  return statement(source, claim, { generator: producer, text: JSON.stringify(value) });
}

/** What texts state: parameters, a label, and where there are none of these, the name of a generator. */
export function* statementsOfTexts(source, given) {
  for (const name of NAMES) {
    if (String(given[name] ?? "").length > MAX_BYTES) {
      yield unreadable(source, name, `longer than ${MAX_BYTES} characters`);
    }
  }
  const text = (...names) =>
    names.map((name) => given[name]).find((one) => typeof one === "string" && one && one.length <= MAX_BYTES) ?? "";
  const label = labelIn(source, text("AIGC")),
    found = READERS.map((read) => read(text, given)).filter(Boolean);
  if (label) yield label;
  for (const [generator, version, said] of found) {
    yield statement(source, "parameters", { generator, version, text: said });
  }
  if (label || found.length) return;
  const description = text("Description", "ImageDescription");
  if (isOfGrok(description, text("Author", "Artist"))) {
    yield statement(source, "generator", { generator: words.grok, text: description });
    return;
  }
  const named = ["Software", "Author", "Credit"].map((name) => text(name)).find(generatorOf);
  if (named) yield statement(source, "generator", { generator: generatorOf(named), text: named });
}

const READERS = [automatic1111, fooocus, swarmUI, comfyUI, invokeAI, novelAI, easyDiffusion];

function automatic1111(text) {
  const given = text("parameters");
  if (!/\bSteps: \d+, /.test(given)) return undefined;
  const version = /\bVersion: ([^,\n]+)/.exec(given)?.[1] ?? "";
  return version.startsWith("Fooocus")
    ? ["Fooocus", version.split(" ").slice(1).join(" "), given]
    : ["AUTOMATIC1111", version, given];
}

function fooocus(text) {
  const scheme = objectIn(text("parameters"));
  if (!("base_model" in scheme)) return undefined;
  return ["Fooocus", String(scheme.version ?? "").replace(/^Fooocus/, ""), text("parameters")];
}

function swarmUI(text) {
  const { sui_image_params: said } = objectIn(text("parameters"));
  return isObject(said) && ["SwarmUI", said.swarm_version ?? "", text("parameters")];
}

function comfyUI(text) {
  const isGraph = Object.values(objectIn(text("prompt"))).some((node) => isObject(node) && "class_type" in node);
  return (isGraph || "nodes" in objectIn(text("workflow"))) && ["ComfyUI", "", text("prompt", "workflow")];
}

function invokeAI(text) {
  const given = text(...INVOKEAI);
  return given && ["InvokeAI", objectIn(given).app_version ?? "", given];
}

function novelAI(text) {
  return text("Software") === "NovelAI" && ["NovelAI", text("Source"), text("Description")];
}

function easyDiffusion(text, given) {
  const prompt = text("prompt", "Prompt");
  return prompt && NEGATIVE.some((name) => name in given) && ["Easy Diffusion", "", prompt];
}

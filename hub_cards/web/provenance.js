// What an image file itself states of its making, in the words and the order of tellsign's Python package.
import { exifTexts, iptcText } from "./container.js";

const MAX_BYTES = 1 << 20,
  MAX_CHARACTERS = 200;
// Names that stand for generators of images and nothing else.
const GENERATORS =
  /\b(Ideogram AI|Midjourney|NovelAI|DALL[·-]?E(?: ?\d)?|Adobe Firefly|Stable Diffusion|Google AI|InvokeAI)\b/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const SOURCE_TYPE = /^(?:https?:\/\/cv\.iptc\.org\/newscodes\/digitalsourcetype\/)?(\w+)$/;
const RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
const IPTC_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/";
const XMP_NAMES = {
  [`${IPTC_EXT} DigitalSourceType`]: "type",
  [`${IPTC_EXT} digitalSourceType`]: "type",
  [`${IPTC_EXT} AISystemUsed`]: "system",
  [`${IPTC_EXT} AISystemVersionUsed`]: "version",
  "http://ns.adobe.com/photoshop/1.0/ Credit": "credit",
  "http://ns.adobe.com/xap/1.0/ CreatorTool": "tool",
};
const INVOKEAI = ["invokeai_metadata", "sd-metadata", "Dream"]; // the newest first

/**
 * The statements of a file, C2PA first, and of a watermark in its pixels.
 *
 * `parts` is what `partsOf` found. `manifest` is, where the file has one, c2pa's report as `{report}`, or why there is
 * none: `{unreadable}` or `{notRead}`. `mark` is what `watermarkIn` found.
 */
export function statementsOf(parts, manifest, mark) {
  return [
    ...c2pa(manifest),
    ...iptc(parts.iptc),
    ...xmp(parts.xmp),
    ...exif(parts.exif),
    ...pngTexts(parts),
    ...watermark(mark),
  ];
}

/** A text without control characters, cut to what a statement repeats. */
function short(words) {
  const clean = [...String(words).slice(0, 8 * MAX_CHARACTERS)].slice(0, 4 * MAX_CHARACTERS).join("");
  const letters = [...clean.replace(/[\p{C}\p{Z}]+/gu, " ").trim()];
  return letters.length <= MAX_CHARACTERS ? letters.join("") : letters.slice(0, MAX_CHARACTERS - 1).join("") + "…";
}

function statement(source, claim, { generator = "", version = "", text = "", ...signed } = {}) {
  const said = { source, claim: short(claim), generator: short(generator), version: short(version) };
  return { ...said, signer: "", signature: "", hash: "", trust: "", text: short(text), ...signed };
}

function* watermark(mark) {
  if (!mark) return;
  const text =
    `The pixels repeat the message ${mark.name} (correlation ${mark.correlation.toFixed(2)}). ` +
    "Chance does so in fewer than 1 of 100,000 pictures.";
  yield statement("watermark", "trainedAlgorithmicMedia", { generator: mark.generator, text, trust: "mark" });
}

function* c2pa(manifest) {
  if (!manifest) return;
  const { report, unreadable, notRead } = manifest;
  if (notRead) yield statement("c2pa", "not read", { text: notRead });
  else if (unreadable) yield statement("c2pa", "unreadable", { text: unreadable });
  else {
    try {
      if (report.length > MAX_BYTES) throw new Error(`the report has ${report.length} characters`);
      yield* [...ofManifests(JSON.parse(report))];
    } catch (error) {
      yield statement("c2pa", "unreadable", { text: error.message });
    }
  }
}

/** What the active manifest states, and those of the images that it was made out of, one out of the other. */
function* ofManifests(report) {
  const active = report.manifests[report.active_manifest],
    { success = [], failure = [] } = report.validation_results.activeManifest;
  const [fine, wrong] = [success, failure].map((codes) => codes.map(({ code }) => code));
  const fits = fine.some((code) => code.endsWith("Hash.match")) ? "fits" : "";
  const signed = {
    signer: short(active.signature_info?.issuer ?? ""),
    // Failures of the certificate, such as its age, are no mismatch of what it signed.
    signature: fine.includes("claimSignature.validated") ? "valid" : "invalid",
    hash: wrong.some((code) => code.startsWith("assertion.")) ? "differs" : fits,
  };
  const seen = new Set();
  for (const manifest of lineage(report)) {
    for (const action of actionsOf(manifest)) {
      const agent =
        typeof action.softwareAgent === "string" ? { name: action.softwareAgent } : (action.softwareAgent ?? {});
      const match = SOURCE_TYPE.exec(action.digitalSourceType ?? ""),
        key = JSON.stringify([match?.[1], agent.name ?? ""]);
      if (!match || seen.has(key)) continue;
      seen.add(key);
      const [generator, version] = agent.name ? [agent.name, agent.version ?? ""] : claimGenerator(manifest);
      yield statement("c2pa", match[1], { generator, version, text: action.description ?? "", ...signed });
    }
  }
  const [generator, version] = claimGenerator(active);
  if (!seen.size) yield statement("c2pa", "", { generator, version, ...signed });
}

function* lineage({ manifests, active_manifest: label }) {
  const visited = new Set();
  while (label in manifests && !visited.has(label)) {
    visited.add(label);
    yield manifests[label];
    label = (manifests[label].ingredients ?? []).find((part) => part.relationship === "parentOf")?.active_manifest;
  }
}

const actionsOf = ({ assertions = [] }) =>
  assertions.flatMap(({ label, data }) => (label.startsWith("c2pa.actions") ? (data.actions ?? []) : []));

/** Name and version of the program that wrote a manifest. */
function claimGenerator({ claim_generator_info: infos, claim_generator: named = "" }) {
  if (infos?.length) return [infos[0].name ?? "", infos[0].version ?? ""];
  const slash = named.indexOf("/");
  return slash < 0 ? [named, ""] : [named.slice(0, slash), named.slice(slash + 1)];
}

function* iptc(block) {
  if (!block) return;
  let credit;
  try {
    credit = short(iptcText(block, 2, 110));
  } catch (error) {
    yield statement("iptc", "unreadable", { text: error.message });
    return;
  }
  const match = GENERATORS.exec(credit);
  if (match) yield statement("iptc", "generator", { generator: match[1], text: credit });
}

function* xmp(packet) {
  if (!packet?.length) return;
  let found;
  try {
    found = xmpProperties(packet);
  } catch (error) {
    yield statement("xmp", "unreadable", { text: error.message });
    return;
  }
  const { type = "", system = "", version = "", credit = "", tool = "" } = found;
  const named = [system, credit, tool].find((name) => GENERATORS.test(name));
  const generator = system || (named ? GENERATORS.exec(named)[1] : ""),
    kind = SOURCE_TYPE.exec(type.trim());
  if (kind) yield statement("xmp", kind[1], { generator, version, text: credit });
  else if (generator) yield statement("xmp", "generator", { generator, version, text: named ?? system });
}

/** Those of `XMP_NAMES` in an XMP packet, whether they are attributes or elements. */
function xmpProperties(packet) {
  if (packet.length > MAX_BYTES) throw new Error(`has ${packet.length} bytes`);
  const words = new TextDecoder().decode(packet).replace(/^\0+|\0+$/g, "");
  if (words.includes("<!ENTITY")) throw new Error("declares an entity");
  const tree = new DOMParser().parseFromString(words.trim(), "application/xml");
  if (tree.querySelector("parsererror")) throw new Error("is no XML");
  const found = {},
    nameOf = (node) => XMP_NAMES[`${node.namespaceURI} ${node.localName}`];
  for (const element of tree.querySelectorAll("*")) {
    for (const attribute of element.attributes)
      if (nameOf(attribute) && attribute.value) found[nameOf(attribute)] ??= attribute.value;
    const name = nameOf(element),
      value = element.getAttributeNS(RDF, "resource") || element.textContent.trim();
    if (name && value) found[name] ??= value;
  }
  return found;
}

function* exif(block) {
  if (!block) return;
  let tags;
  try {
    tags = exifTexts(block);
  } catch (error) {
    yield statement("exif", "unreadable", { text: error.message });
    return;
  }
  const texts = { parameters: tags.UserComment ?? "" };
  for (const name of ["Make", "Model", "ImageDescription"]) {
    const match = /^(prompt|workflow):(.*)$/s.exec(tags[name] ?? ""); // as ComfyUI writes WebP
    if (match) texts[match[1]] = match[2];
  }
  const found = [...parameters("exif", texts)];
  yield* found;
  if (found.length) return;
  for (const name of ["Make", "Model", "Software", "ImageDescription", "Artist"]) {
    const words = short(tags[name] ?? ""),
      match = GENERATORS.exec(words);
    if (match) {
      yield statement("exif", "generator", { generator: match[1], text: words });
      return;
    }
  }
  // What xAI writes: a signature, and the number of the picture in place of an artist.
  const { ImageDescription: words = "", Artist = "" } = tags;
  if (words.startsWith("Signature: ") && UUID.test(Artist)) {
    yield statement("exif", "generator", { generator: "Grok (xAI)", text: words });
  }
}

const pngTexts = ({ format, texts }) => (format === "PNG" ? parameters("png_text", texts) : []);

/** Parameters of generators. Each writes them as text under names of its own. */
function* parameters(source, texts) {
  const textOf = (name) => ((texts[name]?.length ?? 0) <= MAX_BYTES ? (texts[name] ?? "") : "");
  const objectOf = (name) => {
    try {
      const value = JSON.parse(textOf(name).replace(/\bNaN\b|-?\bInfinity\b/g, "null")); // as Python writes numbers
      return value && typeof value === "object" && !Array.isArray(value) ? value : {};
    } catch {
      return {};
    }
  };
  for (const name of ["parameters", "prompt", "workflow", ...INVOKEAI]) {
    if ((texts[name]?.length ?? 0) > MAX_BYTES) {
      yield statement(source, "unreadable", { text: `${name}: longer than ${MAX_BYTES} characters` });
    }
  }
  const given = textOf("parameters"),
    scheme = objectOf("parameters");
  if (/\bSteps: \d+, /.test(given)) {
    let [generator, version] = ["AUTOMATIC1111", /\bVersion: ([^,\n]+)/.exec(given)?.[1] ?? ""];
    if (version.startsWith("Fooocus")) [generator, version] = ["Fooocus", version.split(" ").slice(1).join(" ")];
    yield statement(source, "parameters", { generator, version, text: given });
  } else if ("base_model" in scheme) {
    const version = String(scheme.version ?? "").replace(/^Fooocus/, "");
    yield statement(source, "parameters", { generator: "Fooocus", version, text: given });
  }
  const nodes = Object.values(objectOf("prompt"));
  if (
    nodes.some((node) => node && typeof node === "object" && "class_type" in node) ||
    "nodes" in objectOf("workflow")
  ) {
    yield statement(source, "parameters", { generator: "ComfyUI", text: textOf("prompt") || textOf("workflow") });
  }
  const invoke = INVOKEAI.find(textOf);
  if (invoke) {
    const { app_version: version = "" } = objectOf(invoke);
    yield statement(source, "parameters", { generator: "InvokeAI", version, text: textOf(invoke) });
  }
  if (textOf("Software") === "NovelAI") {
    yield statement(source, "parameters", {
      generator: "NovelAI",
      version: textOf("Source"),
      text: textOf("Description"),
    });
  }
}

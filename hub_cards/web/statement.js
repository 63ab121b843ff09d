// A statement, what it may claim, and how one is made of a file's words. `words.js` has what Python gives it.
import words from "./words.js";

export const MAX_BYTES = 1 << 20;
const MAX_CHARACTERS = 200;
const GENERATORS = new RegExp(words.generators),
  PROGRAMS = new Set(words.programs);
const SOURCE_TYPE = /^(?:https?:\/\/cv\.iptc\.org\/newscodes\/digitalsourcetype\/)?(\w+)$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export const utf8 = (bytes) => new TextDecoder().decode(bytes);

/** A text, or the one in bytes, without control characters and cut to what a statement repeats. */
export function short(text) {
  const given = text instanceof Uint8Array ? utf8(text.subarray(0, 16 * MAX_CHARACTERS)) : String(text);
  const clean = [...given.slice(0, 8 * MAX_CHARACTERS)].slice(0, 4 * MAX_CHARACTERS).join("");
  const letters = [...clean.replace(/[\p{C}\p{Z}]+/gu, " ").trim()];
  return letters.length <= MAX_CHARACTERS ? letters.join("") : letters.slice(0, MAX_CHARACTERS - 1).join("") + "…";
}

export function statement(source, claim, { generator = "", version = "", text = "", ...signed } = {}) {
  const { trust = "stated", signer = "", signature = "", hash = "" } = signed;
  const [made, number, said, name] = [generator, version, text, signer].map(short);
  return { source, trust, claim, generator: made, version: number, signer: name, signature, hash, text: said };
}

/** The statement that something is there which cannot be read, with the field and the reason. */
export const unreadable = (source, field, reason) => statement(source, "unreadable", { text: `${field}: ${reason}` });

/** Raises an error if something is too long to be read. */
export function checkLength({ length }) {
  if (length > MAX_BYTES) throw new Error(`has ${length} bytes, ${MAX_BYTES} are read at most`);
}

/** The claim of a digital source type, and the quotation of one that IPTC does not know; one of both is empty. */
export function claimOf(sourceType) {
  const name = sourceType.trim(),
    match = SOURCE_TYPE.exec(name);
  if (match && words.terms.includes(match[1])) return [match[1], ""];
  return ["", name && `not a term of IPTC: "${short(sourceType)}"`];
}

/** The generator that a text names, or nothing. */
export const generatorIn = (text) => GENERATORS.exec(text)?.[1] ?? "";

/** The generator that the name of a program is or holds, or nothing. */
export const generatorOf = (program) => (PROGRAMS.has(program) ? program : generatorIn(program));

/** Whether they are what xAI writes: a signature, and the picture's number in place of an author. */
export const isOfGrok = (description, author) => description.startsWith("Signature: ") && UUID.test(author.trim());

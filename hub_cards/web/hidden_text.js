// Texts that generators hide in the lowest bits of alpha or of the colors, column by column (NovelAI and others).
import { joined, unpackedParts } from "./container.js";
import { isObject, parsed, statementsOfTexts } from "./parameters.js";
import { MAX_BYTES, statement, unreadable, utf8 } from "./statement.js";

/** What begins a hidden text: its channels in RGBA, and whether it is compressed. */
const SIGNATURES = {
  stealth_pnginfo: ["A", [3], false],
  stealth_pngcomp: ["A", [3], true],
  stealth_rgbinfo: ["RGB", [0, 1, 2], false],
  stealth_rgbcomp: ["RGB", [0, 1, 2], true],
};
const SIGNATURE = 15, // its bytes, which 32 bits follow: the length of the text in bits
  HEAD = SIGNATURE + 4;

/** The hidden texts in pixels as they are stored, of a picture that has these channels: as `text`, or a `reason`. */
export async function hiddenTextsIn(pixels, channels) {
  const found = [];
  for (const [field, [name, places, isCompressed]] of Object.entries(SIGNATURES)) {
    if (!channels.includes(name)) continue;
    const head = await bytesIn(pixels, places, 0, HEAD);
    if (utf8(head.subarray(0, SIGNATURE)) === field) {
      found.push({ field, ...(await textBehind(pixels, places, isCompressed, head)) });
    }
  }
  return found;
}

async function textBehind(pixels, places, isCompressed, head) {
  const bits = head.length < HEAD ? Infinity : new DataView(head.buffer).getUint32(SIGNATURE),
    room = Math.max(0, pixels.width * pixels.height * places.length - 8 * head.length);
  if (bits > room) return { reason: `says that it has ${bits} bits, the picture has room for ${room}` };
  if (bits > 8 * MAX_BYTES) return { reason: `has ${bits >> 3} bytes, ${MAX_BYTES} are read at most` };
  const packed = await bytesIn(pixels, places, HEAD, bits >> 3);
  if (!isCompressed) return { text: utf8(packed) };
  try {
    const parts = [];
    for await (const part of unpackedParts(packed, "gzip", MAX_BYTES)) parts.push(part);
    const text = joined(parts);
    return text.length > MAX_BYTES ? { reason: `unpacks to more than ${MAX_BYTES} bytes` } : { text: utf8(text) };
  } catch (error) {
    return { reason: error.message };
  }
}

/** Bytes of the text in the lowest bits of channels, as many as there are. */
async function bytesIn(pixels, places, start, count) {
  const { height } = pixels,
    column = height * places.length,
    first = Math.floor((8 * start) / column),
    last = Math.min(pixels.width, Math.ceil((8 * (start + count)) / column));
  if (first >= last) return new Uint8Array(0);
  const width = last - first,
    levels = await pixels.part(first, 0, width, height);
  const skipped = 8 * start - first * column,
    bytes = new Uint8Array(Math.min(count, (width * column - skipped) >> 3));
  for (let bit = 0; bit < 8 * bytes.length; bit += 1) {
    const place = Math.floor((skipped + bit) / places.length),
      pixel = (place % height) * width + Math.floor(place / height);
    bytes[bit >> 3] = 2 * bytes[bit >> 3] + (levels[4 * pixel + places[(skipped + bit) % places.length]] & 1);
  }
  return bytes;
}

/** What hidden texts state. */
export function* statementsOfHiddenTexts(found) {
  for (const { field, text, reason } of found) {
    if (reason) {
      yield unreadable("hidden_text", field, reason);
      continue;
    }
    const value = parsed(text),
      texts = isObject(value) && !("sui_image_params" in value) ? value : { parameters: text };
    const stated = [...statementsOfTexts("hidden_text", texts)];
    yield* stated.length ? stated : [statement("hidden_text", "parameters", { text })];
  }
}

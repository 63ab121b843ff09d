// What lies around the pixels in an image file: its size, its color profile, and the blocks that may state its making.
import { readExif } from "./exif.js";
import { MAX_BYTES, latin1, utf8 } from "./statement.js";

const SOI = 0xd8,
  SOS = 0xda;
const HEIC = ["heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"];
const begins = (bytes, words) => latin1(bytes.subarray(0, words.length)) === words;

/** Where some words begin in bytes, or -1. */
export function find(bytes, words, from = 0) {
  const codes = Array.from(words, (letter) => letter.charCodeAt(0));
  for (let at = bytes.indexOf(codes[0], from); at >= 0; at = bytes.indexOf(codes[0], at + 1)) {
    if (codes.every((code, index) => bytes[at + index] === code)) return at;
  }
  return -1;
}

/**
 * The parts of an image file. What it has not is not there; a format that is not known here has a `format` of "".
 * `width` and `height` are the stored ones, before EXIF turns them. `exif` is what `readExif` gives, or a `reason` why
 * it cannot. `channels` are those in which a text may be hidden. `levels` is "deep" for more than 8 bits a level of
 * grey, and "palette" for numbers of colors.
 */
export async function partsOf(bytes) {
  const found = { format: "", animated: false, texts: {}, channels: "" };
  try {
    if (bytes[0] === 0xff && bytes[1] === SOI) readJpeg(bytes, found);
    else if (begins(bytes, "\x89PNG\r\n\x1a\n")) await readPng(bytes, found);
    else if (begins(bytes, "RIFF") && begins(bytes.subarray(8), "WEBP")) readWebp(bytes, found);
    else if (begins(bytes, "GIF8")) readGif(bytes, found);
    else if (begins(bytes, "BM")) readBmp(bytes, found);
    else if (begins(bytes.subarray(4), "ftyp")) readBoxes(bytes, found);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    found.isCutOff = true; // a number was to be read behind the end
  }
  if (found.exif) found.exif = exifOf(found.exif);
  found.hasManifest = find(bytes, "jumdc2pa") >= 0 || find(bytes, "dcterms:provenance") >= 0;
  return found;
}

function exifOf(block) {
  try {
    return readExif(begins(block, "Exif\0\0") ? block.subarray(6) : block);
  } catch (error) {
    return { reason: error.message };
  }
}

const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function readJpeg(bytes, found) {
  const whole = view(bytes),
    profile = [];
  found.format = "JPEG";
  found.isCutOff = true;
  for (let at = 2; at + 4 <= bytes.length;) {
    const marker = bytes[at + 1];
    if (bytes[at] !== 0xff || marker === 0xff) {
      at += 1; // what is no marker is skipped, as libjpeg does
      continue;
    }
    if (marker === SOS) {
      found.isCutOff = find(bytes, "\xff\xd9", at) < 0;
      break;
    }
    const length = whole.getUint16(at + 2),
      segment = bytes.subarray(at + 4, at + 2 + length);
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      [found.height, found.width] = [whole.getUint16(at + 5), whole.getUint16(at + 7)];
    } else if (marker === 0xe1 && begins(segment, "Exif\0\0")) found.exif ??= segment;
    else if (marker === 0xe1 && begins(segment, "http://ns.adobe.com/xap/1.0/\0")) found.xmp = segment.subarray(29);
    else if (marker === 0xe2 && begins(segment, "ICC_PROFILE\0")) profile[segment[12]] = segment.subarray(14);
    else if (marker === 0xed && begins(segment, "Photoshop 3.0\0")) found.iptc ??= iptcIn(segment.subarray(14));
    at += 2 + length;
  }
  if (profile.length) found.profile = joined(profile.filter(Boolean));
}

/** IPTC's block in the resources of Photoshop. */
function iptcIn(resources) {
  const numbers = view(resources);
  for (let at = 0; at + 12 <= resources.length && begins(resources.subarray(at), "8BIM");) {
    const kind = numbers.getUint16(at + 4),
      start = at + 6 + 2 * Math.ceil((resources[at + 6] + 1) / 2);
    if (start + 4 > resources.length) break; // damaged, which says nothing of the pixels
    const size = numbers.getUint32(start);
    if (kind === 0x0404) return resources.subarray(start + 4, start + 4 + size);
    at = start + 4 + 2 * Math.ceil(size / 2);
  }
  return undefined;
}

async function readPng(bytes, found) {
  const numbers = view(bytes);
  found.format = "PNG";
  found.isCutOff = true;
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = numbers.getUint32(at),
      kind = latin1(bytes.subarray(at + 4, at + 8));
    const chunk = bytes.subarray(at + 8, at + 8 + length);
    const end = chunk.indexOf(0),
      name = latin1(chunk.subarray(0, Math.max(end, 0)));
    if (kind === "IHDR") {
      [found.width, found.height] = [numbers.getUint32(at + 8), numbers.getUint32(at + 12)];
      const [bits, color] = chunk.subarray(8, 10);
      if (bits === 8) found.channels = { 2: "RGB", 4: "LA", 6: "RGBA" }[color] ?? "";
      if (color === 3 || (color === 0 && bits === 1)) found.levels = "palette";
      else if (color === 0 && bits === 16) found.levels = "deep";
    } else if (kind === "acTL") found.animated = true;
    else if (kind === "eXIf") found.exif = chunk;
    else if (kind === "iCCP") found.profile = await inflated(chunk.subarray(end + 2));
    else if (kind === "tEXt") found.texts[name] = latin1(chunk.subarray(end + 1));
    else if (kind === "zTXt") found.texts[name] = latin1(await inflated(chunk.subarray(end + 2)));
    else if (kind === "iTXt") found.texts[name] = await internationalText(chunk.subarray(end + 1));
    else if (kind === "IEND") {
      found.isCutOff = false;
      break;
    }
    at += 12 + length;
  }
  const xmp = found.texts["XML:com.adobe.xmp"];
  if (xmp) found.xmp = new TextEncoder().encode(xmp);
  const lines = found.texts["Raw profile type exif"]?.split("\n").slice(3).join(""); // as ImageMagick writes it
  if (lines) found.exif ??= Uint8Array.from(lines.match(/../g) ?? [], (digits) => parseInt(digits, 16));
}

/** After its name an iTXt chunk has whether it is compressed, and how, two more names, and the text. */
async function internationalText(chunk) {
  const start = chunk.indexOf(0, chunk.indexOf(0, 2) + 1) + 1;
  return utf8(chunk[0] ? await inflated(chunk.subarray(start)) : chunk.subarray(start));
}

const MAX_INFLATED = 1 << 22;

/** The parts of what is compressed in a format, up to a little more than so many bytes. */
export async function* unpackedParts(bytes, format, most) {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format)).getReader();
  for (let size = 0; size <= most;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
    size += value.length;
  }
}

async function inflated(bytes) {
  const parts = [];
  try {
    for await (const part of unpackedParts(bytes, "deflate", MAX_INFLATED)) parts.push(part);
  } catch {
    /* damaged: what came before it counts */
  }
  return joined(parts);
}

function readWebp(bytes, found) {
  const numbers = view(bytes);
  found.format = "WEBP";
  found.isCutOff = numbers.getUint32(4, true) + 8 > bytes.length;
  for (let at = 12; at + 8 <= bytes.length;) {
    const kind = latin1(bytes.subarray(at, at + 4)),
      length = numbers.getUint32(at + 4, true);
    const chunk = bytes.subarray(at + 8, at + 8 + length),
      inside = view(chunk);
    if (kind === "VP8X" && length >= 10) {
      found.width = 1 + (inside.getUint32(4, true) & 0xffffff);
      found.height = 1 + (inside.getUint32(6, true) >>> 8);
      if (chunk[0] & 0x10) found.channels = "RGBA";
    } else if (kind === "VP8 " && length >= 10) {
      found.width ??= inside.getUint16(6, true) & 0x3fff;
      found.height ??= inside.getUint16(8, true) & 0x3fff;
    } else if (kind === "VP8L" && length >= 5) {
      const sides = inside.getUint32(1, true);
      found.width ??= 1 + (sides & 0x3fff);
      found.height ??= 1 + ((sides >> 14) & 0x3fff);
      if (sides & (1 << 28)) found.channels = "RGBA";
    } else if (kind === "ANIM") found.animated = true;
    else if (kind === "ICCP") found.profile = chunk;
    else if (kind === "EXIF") found.exif = chunk;
    else if (kind === "XMP ") found.xmp = chunk;
    at += 8 + 2 * Math.ceil(length / 2);
  }
}

function readGif(bytes, found) {
  Object.assign(found, { format: "GIF", levels: "palette" });
  [found.width, found.height] = [view(bytes).getUint16(6, true), view(bytes).getUint16(8, true)];
  found.animated = find(bytes, "NETSCAPE2.0") >= 0; // how often it repeats, which only animations say
}

function readBmp(bytes, found) {
  const numbers = view(bytes),
    size = numbers.getUint32(14, true),
    bits = numbers.getUint16(size === 12 ? 24 : 28, true);
  found.format = "BMP";
  if (bits > 8) return;
  const step = size === 12 ? 3 : 4,
    count = (size === 12 ? 0 : numbers.getUint32(46, true)) || 1 << bits,
    palette = bytes.subarray(14 + size, 14 + size + step * count);
  const isGrey = palette.every((level, at) => at % step === 3 || level === Math.floor(at / step));
  if (count === 2 || !isGrey) found.levels = "palette";
}

/** HEIC or AVIF. XMP is found by its ends, and EXIF by how TIFF begins, wherever the boxes have them. */
function readBoxes(bytes, found) {
  const brand = latin1(bytes.subarray(8, 12));
  if (HEIC.includes(brand)) found.format = "HEIC";
  if (!["avif", "avis"].includes(brand)) return;
  found.format = "AVIF";
  found.animated = brand === "avis";
  const start = find(bytes, "<x:xmpmeta"),
    end = find(bytes, "</x:xmpmeta>", Math.max(start, 0));
  if (start >= 0 && end >= 0) found.xmp = bytes.subarray(start, end + 12);
  const exif = ["II*\0\b\0\0\0", "MM\0*\0\0\0\b"].map((head) => find(bytes, head)).find((at) => at >= 0);
  if (exif && find(bytes, "Exif") >= 0) found.exif = bytes.subarray(exif, exif + MAX_BYTES);
}

export function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Whether colors have to be converted: the file has a profile, and that is not sRGB. */
export function hasOtherColors({ profile }) {
  if (!profile) return false;
  return find(profile, "sRGB") < 0 && find(profile, "\0s\0R\0G\0B") < 0;
}

/** The texts of a dataset in IPTC's block, such as Credit (2, 110), joined by spaces. */
export function iptcText(block, record, dataset) {
  const numbers = view(block),
    texts = [];
  for (let at = 0; at + 5 <= block.length && block[at] === 0x1c;) {
    const size = numbers.getUint16(at + 3);
    if (size > 0x7fff) throw new Error("illegal field length in IPTC/NAA file");
    if (block[at + 1] === record && block[at + 2] === dataset) texts.push(utf8(block.subarray(at + 5, at + 5 + size)));
    at += 5 + size;
  }
  return texts.join(" ");
}

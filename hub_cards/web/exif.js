// What a block of EXIF holds.
import { checkLength, latin1, utf8 } from "./statement.js";

const TAGS = {
  0x10e: "ImageDescription",
  0x10f: "Make",
  0x110: "Model",
  0x112: "Orientation",
  0x131: "Software",
  0x13b: "Artist",
  0x201: "ThumbnailOffset",
  0x202: "ThumbnailLength",
  0x8769: "Details",
  0x8825: "Coordinates",
  0x829a: "ExposureTime",
  0x829d: "FNumber",
  0x8827: "ISOSpeedRatings",
  0x9003: "DateTimeOriginal",
  0x9286: "UserComment",
  0x920a: "FocalLength",
  0xa002: "ExifImageWidth",
  0xa003: "ExifImageHeight",
  0xa431: "BodySerialNumber",
  0xa434: "LensModel",
  0xa435: "LensSerialNumber",
  0xc62f: "CameraSerialNumber",
};
const [BYTES, TEXT, UNDEFINED] = [1, 2, 7];
/** By the number of each kind: how many bytes a value has, and how it is read. */
const KINDS = {
  [BYTES]: [1],
  [TEXT]: [1],
  3: [2, (numbers, at, little) => numbers.getUint16(at, little)],
  4: [4, (numbers, at, little) => numbers.getUint32(at, little)],
  5: [8, (numbers, at, little) => numbers.getUint32(at, little) / numbers.getUint32(at + 4, little)],
  [UNDEFINED]: [1],
  9: [4, (numbers, at, little) => numbers.getInt32(at, little)],
  10: [8, (numbers, at, little) => numbers.getInt32(at, little) / numbers.getInt32(at + 4, little)],
  11: [4, (numbers, at, little) => numbers.getFloat32(at, little)],
  12: [8, (numbers, at, little) => numbers.getFloat64(at, little)],
};

/**
 * What a block says: `tags` by their names, the user's `comment`, whether there are `coordinates`, and the `thumbnail`,
 * which is "outside" where it lies outside of the block. `turnedAt` is where the file says that the picture is turned.
 * Raises an error if it is no block of EXIF.
 */
export function readExif(block) {
  checkLength(block);
  const header = latin1(block.subarray(0, 4)),
    little = header[0] === "I";
  if (block.length < 8 || !["II*\0", "MM\0*"].includes(header)) throw new Error("not a TIFF file");
  const read = directoryReader(block, little);
  const { tags: main, next, places } = read(new DataView(block.buffer, block.byteOffset).getUint32(4, little));
  const tags = { ...main, ...(main.Details > 0 && read(main.Details).tags) },
    { UserComment: comment = "" } = tags;
  return {
    tags,
    comment: typeof comment === "string" ? comment : userComment(comment),
    coordinates: main.Coordinates > 0 && read(main.Coordinates).count > 0,
    thumbnail: next > 0 ? thumbnailIn(block, read(next).tags) : undefined,
    turnedAt: main.Orientation > 1 ? block.byteOffset + places.Orientation : undefined,
  };
}

/** Reads a directory: its known `tags` by name, and where they lie, and the `next` directory. */
const directoryReader = (block, little) => (start) => {
  const numbers = new DataView(block.buffer, block.byteOffset, block.byteLength),
    found = { tags: {}, places: {}, count: 0, next: 0 };
  try {
    const end = start + 2 + 12 * numbers.getUint16(start, little);
    for (let at = start + 2; at < end; at += 12, found.count += 1) {
      const name = TAGS[numbers.getUint16(at, little)],
        kind = numbers.getUint16(at + 2, little),
        count = numbers.getUint32(at + 4, little),
        [size, valueAt] = KINDS[kind] ?? [];
      const from = count * size > 4 ? numbers.getUint32(at + 8, little) : at + 8;
      if (!name || !count || !size || from + count * size > block.length) continue;
      const bytes = block.subarray(from, from + count);
      if (valueAt) found.tags[name] = valueAt(numbers, from, little);
      else found.tags[name] = kind === TEXT ? latin1(bytes).replace(/\0$/, "") : bytes;
      found.places[name] = from;
    }
    found.next = numbers.getUint32(end, little);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // cut off: what came before it counts
  }
  return found;
};

function thumbnailIn(block, { ThumbnailOffset: start, ThumbnailLength: length }) {
  if (start === undefined || !length) return undefined;
  return start > 0 && start + length <= block.length ? block.slice(start, start + length) : "outside";
}

/** The text of EXIF's UserComment, which begins with 8 bytes that name its encoding. */
function userComment(comment) {
  const code = latin1(comment.subarray(0, 8)).replace(/\0+$/, ""),
    words = comment.subarray(8);
  if (code === "UNICODE") return new TextDecoder(words[1] === 0 ? "utf-16le" : "utf-16be").decode(words);
  return utf8(comment[0] === 0x7b ? comment : words).replace(/\0+$/, ""); // some write an object without a name
}

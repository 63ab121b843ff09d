// A camera's record in EXIF, and whether it contradicts the picture.
import { centered } from "./pixels.js";
import { short, statement } from "./statement.js";
import words from "./words.js";

const { SAME, OTHER } = words.camera;
const SIDE = 32,
  FINE = 4; // pixels of the drawn picture for one that is compared
const EDITORS = new RegExp(words.editors),
  SERIALS = ["BodySerialNumber", "LensSerialNumber", "CameraSerialNumber"];

/** The statement of a camera's record, or nothing. `likeness` is that of the thumbnail, where there is one. */
export function* cameraRecord({ tags, thumbnail, coordinates }, { width, height, likeness }) {
  const model = short(tags.Model ?? ""),
    exposure = exposureOf(tags);
  let maker = short(tags.Make ?? "");
  if (!maker && !model && exposure.length < 2) return;
  if (maker && model.toLowerCase().startsWith(maker.split(" ")[0].toLowerCase())) maker = "";
  const editor = short(tags.Software ?? "");
  const details = [
    ...contradictions(tags, width, height),
    ...ofThumbnail(thumbnail, likeness),
    exposure.join(", "),
    ...["DateTimeOriginal", "LensModel"].map((name) => short(tags[name] ?? "")),
    EDITORS.test(editor) && `last written by ${editor}`,
    coordinates && "with coordinates",
    SERIALS.some((name) => tags[name]) && "with serial numbers",
  ];
  yield statement("exif", "camera", {
    generator: `${maker} ${model}`.trim(),
    text: details.filter(Boolean).join("; "),
  });
}

function exposureOf(tags) {
  const within = (name, most) => (tags[name] > 0 && tags[name] < most ? Number(tags[name]) : 0),
    general = (value) => String(Number(value.toPrecision(6)));
  const seconds = within("ExposureTime", 1e5),
    aperture = within("FNumber", 1000),
    sensitivity = within("ISOSpeedRatings", 1e7),
    length = within("FocalLength", 1e5);
  return [
    seconds && `${seconds < 0.4 ? fraction(seconds, 8000) : general(seconds)} s`,
    aperture && `f/${general(aperture)}`,
    sensitivity && `ISO ${sensitivity.toFixed(0)}`,
    length && `${general(length)} mm`,
  ].filter(Boolean);
}

/** The nearest fraction to a number below 1 whose denominator is at most a limit, by continued fractions. */
function fraction(number, limit) {
  let [low, lowUnder, high, highUnder] = [0, 1, 1, 0];
  for (let rest = number; ;) {
    const whole = Math.floor(rest),
      under = lowUnder + whole * highUnder;
    if (under > limit || rest === whole) {
      const steps = under > limit ? Math.floor((limit - lowUnder) / highUnder) : whole;
      const [over, below] = [low + steps * high, lowUnder + steps * highUnder];
      const isNearer = Math.abs(high / highUnder - number) <= Math.abs(over / below - number);
      const [first, second] = isNearer ? [high, highUnder] : [over, below];
      return second === 1 ? `${first}` : `${first}/${second}`;
    }
    [low, lowUnder, high, highUnder] = [high, highUnder, low + whole * high, under];
    rest = 1 / (rest - whole);
  }
}

/** Where the size that the record names is not the picture's. */
function contradictions({ ExifImageWidth: wide, ExifImageHeight: high }, width, height) {
  if (!(wide > 0 && high > 0)) return [];
  const isSame = (wide === width && high === height) || (wide === height && high === width);
  return isSame ? [] : [`recorded with ${wide}x${high} pixels, has ${width}x${height}`];
}

function ofThumbnail(thumbnail, likeness) {
  if (thumbnail === "outside") return ["the embedded thumbnail lies outside of the record"];
  if (likeness >= SAME) return ["the embedded thumbnail shows the picture"];
  return likeness < OTHER ? ["the embedded thumbnail shows another picture or another part"] : [];
}

/**
 * The highest correlation of the brightness of a picture and a thumbnail, by quarter turns, whole and without the bars
 * of either. Both are pixels that can be `shrunk`.
 */
export async function likenessOf(picture, thumbnail) {
  const [whole, small] = [await brightness(picture), await brightness(thumbnail)],
    [ratio, other] = [picture, thumbnail].map(({ width, height }) => width / height);
  let best = 0;
  for (const turns of [0, 1, 2, 3]) {
    const power = turns % 2 ? -1 : 1;
    const pairs = [
      [whole, small],
      [whole, await brightness(thumbnail, ratio ** power)],
      [await brightness(picture, other ** power), small],
    ];
    best = Math.max(best, ...pairs.map(([first, second]) => correlation(first, turned(second, turns))));
  }
  return best;
}

/** The brightness of a picture, or of the largest part in its middle with a ratio of width to height, in a square. */
async function brightness(pixels, ratio = pixels.width / pixels.height) {
  const width = Math.max(1, Math.min(pixels.width, Math.round(pixels.height * ratio))),
    height = Math.max(1, Math.min(pixels.height, Math.round(pixels.width / ratio)));
  const [left, top] = [Math.floor((pixels.width - width) / 2), Math.floor((pixels.height - height) / 2)];
  const levels = await pixels.shrunk(left, top, width, height, SIDE * FINE),
    found = new Float64Array(SIDE * SIDE);
  for (let at = 0; at < levels.length / 4; at += 1) {
    const row = Math.floor(at / (SIDE * FINE) / FINE),
      column = Math.floor((at % (SIDE * FINE)) / FINE);
    found[row * SIDE + column] +=
      (0.299 * levels[4 * at] + 0.587 * levels[4 * at + 1] + 0.114 * levels[4 * at + 2]) / FINE ** 2;
  }
  return found;
}

function turned(square, turns) {
  if (!turns) return square;
  const once = square.map((_, at) => square[(at % SIDE) * SIDE + SIDE - 1 - Math.floor(at / SIDE)]);
  return turned(once, turns - 1);
}

/** Pearson's correlation; 1 where one is flat, since nothing can be told then. */
function correlation(first, second) {
  const product = (one, other) => one.reduce((sum, value, at) => sum + value * other[at], 0);
  const [ours, theirs] = [centered(first), centered(second)];
  const powers = [product(ours, ours), product(theirs, theirs)];
  return Math.min(...powers) > SIDE ** 2 ? product(ours, theirs) / Math.sqrt(powers[0] * powers[1]) : 1;
}

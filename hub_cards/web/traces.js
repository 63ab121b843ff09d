// Traces in a file's own pixels, measured and drawn as tellsign's Python package does it.
import { centered } from "./pixels.js";
import words from "./words.js";

const { LOSSLESS } = words.kind;
const { BLOCK, MOST_BLOCKS, LEAST_DEVIATION, MOST_PIXELS, MIDDLE, SIGMA, RADIUS, SCATTER } = words.spectrum;
const { LEAST_BLOCKS, SCALE, GAP, AROUND, RING_COLOR, LEVELS, OF_MORE_BITS, OF_PALETTES, OF_LITTLE_DETAIL } = words.grids;

const WIDE = BLOCK + 2 * RADIUS, // a block with the margin that its blur needs
  COLUMNS = BLOCK / 2 + 1; // the spectrum of a real picture is symmetric
const counted = (count, value) => Float64Array.from({ length: count }, (_, index) => value(index));
const WINDOW = counted(BLOCK, (index) => 0.5 - 0.5 * Math.cos((2 * Math.PI * index) / (BLOCK - 1)));
const KERNEL = counted(2 * RADIUS + 1, (index) => Math.exp(-0.5 * ((index - RADIUS) / SIGMA) ** 2));
const [COSINES, SINES] = [Math.cos, Math.sin].map((wave) =>
  counted(BLOCK / 2, (index) => wave((2 * Math.PI * index) / BLOCK)),
);
const RING = counted(81, (index) => index).reduce((found, index) => {
  const [row, column] = [Math.floor(index / 9) - 4, (index % 9) - 4],
    distance = Math.hypot(row, column);
  return distance >= 2 && distance <= 4 ? [...found, [row, column]] : found;
}, []);

/**
 * The `traces` that a file's pixels show, the reasons why some were not measured in `traces_note`, and the `spectrum`
 * where there are traces. `parts` are the file's; its levels of transparent pixels are those on white.
 */
export async function tracesIn(pixels, { format, levels }) {
  const shown = [],
    reasons = new Set();
  let measured;
  for (const kind of words.traces) {
    const reason = reasonAgainst(kind, pixels, format, levels);
    if (reason) {
      reasons.add(reason);
      continue;
    }
    measured ??= spectrumOf(await greyOf(pixels));
    const strength = strengthOf(kind, measured.spectrum);
    if (measured.blocks < LEAST_BLOCKS) reasons.add(OF_LITTLE_DETAIL);
    else if (strength > kind.threshold) shown.push({ kind, strength });
  }
  const tells = ({ kind: { lift } }) => Math.abs(Math.log(lift));
  shown.sort((one, other) => tells(other) - tells(one));
  const traces = shown.map(({ kind: { name, toward, lift, text }, strength }) => ({
    name,
    toward,
    strength: rounded(strength, 1),
    lift: rounded(lift, lift >= 1 ? 1 : 4),
    box: null,
    text,
  }));
  return { traces, traces_note: [...reasons].join(" "), spectrum: traces.length ? measured.spectrum : undefined };
}

/** The reason why a kind of trace is not measured in a file; nothing where it is. */
function reasonAgainst({ leastSide, ofSmall, ofOthers }, { width, height }, format, levels) {
  if (Math.min(width, height) < leastSide) return ofSmall;
  if (!LOSSLESS.includes(format)) return ofOthers;
  return { deep: OF_MORE_BITS, palette: OF_PALETTES }[levels];
}

const rounded = (value, digits) => Math.round(value * 10 ** digits) / 10 ** digits;

function strengthOf({ frequencies, allPeaks }, spectrum) {
  const peaks = frequencies.map(([row, column]) => peak(spectrum, row, column));
  return allPeaks ? peaks.reduce((sum, value) => sum + value, 0) / peaks.length : Math.max(...peaks);
}

/** How far a frequency stands above all others around it. */
const peak = (spectrum, row, column) =>
  valueAt(spectrum, row, column) - Math.max(...RING.map(([y, x]) => valueAt(spectrum, row + y, column + x)));

function valueAt(spectrum, row, column) {
  const [y, x] = [row, column].map((place) => (place + 2 * BLOCK) % BLOCK);
  return x < COLUMNS ? spectrum[COLUMNS * y + x] : spectrum[COLUMNS * ((BLOCK - y) % BLOCK) + BLOCK - x];
}

/** The brightness of a picture, or of the middle of a very large one, as Pillow's mode "L". */
async function greyOf(pixels) {
  const isLarge = pixels.width * pixels.height > MOST_PIXELS;
  const [width, height] = [pixels.width, pixels.height].map((side) => (isLarge ? Math.min(side, MIDDLE) : side));
  const left = (pixels.width - width) >> 1,
    top = (pixels.height - height) >> 1,
    rows = Math.max(1, Math.floor(2 ** 20 / width));
  const grey = new Uint8Array(width * height);
  for (let row = 0; row < height; row += rows) {
    const levels = await pixels.part(left, top + row, width, Math.min(rows, height - row));
    for (let at = 0; at < levels.length; at += 4) {
      const light = 19595 * levels[at] + 38470 * levels[at + 1] + 7471 * levels[at + 2];
      grey[row * width + at / 4] = (light + 32768) >> 16;
    }
  }
  return { width, height, grey };
}

/** The natural logarithm of the averaged power spectrum of fine detail, in rows of 33, and of how many blocks. */
function spectrumOf({ width, height, grey }) {
  const across = Math.floor(width / BLOCK),
    total = new Float64Array(BLOCK * COLUMNS);
  const scattered = (number) => (number * SCATTER) % 2 ** 32;
  const order = Array.from({ length: across * Math.floor(height / BLOCK) }, (_, number) => number);
  order.sort((one, other) => scattered(one) - scattered(other));
  let blocks = 0;
  for (const number of order) {
    const detail = detailOf({ width, height, grey }, BLOCK * (number % across), BLOCK * Math.floor(number / across));
    if (blocks === MOST_BLOCKS || !detail) continue;
    const power = powerOf(detail),
      mean = power.reduce((sum, value) => sum + value, 0) / power.length;
    power.forEach((value, at) => (total[at] += value / mean));
    blocks += 1;
  }
  return { spectrum: blocks ? total.map((value) => Math.log(value / blocks)) : total, blocks };
}

/** What a blur takes away from a block, less its mean; nothing where the block is of one color. */
function detailOf({ width, height, grey }, left, top) {
  const inside = (place, side) => (place < 0 ? -1 - place : place < side ? place : 2 * side - 1 - place); // mirrored
  const columns = Array.from({ length: WIDE }, (_, x) => inside(left + x - RADIUS, width));
  const narrow = new Float64Array(WIDE * BLOCK),
    detail = new Float64Array(BLOCK * BLOCK),
    weight = KERNEL.reduce((sum, value) => sum + value, 0);
  for (let y = 0; y < WIDE; y += 1) {
    const row = width * inside(top + y - RADIUS, height);
    for (let x = 0; x < BLOCK; x += 1) {
      let sum = 0;
      for (let step = 0; step < KERNEL.length; step += 1) sum += KERNEL[step] * grey[row + columns[x + step]];
      narrow[BLOCK * y + x] = sum / weight;
    }
  }
  for (let at = 0; at < detail.length; at += 1) {
    let sum = 0;
    for (let step = 0; step < KERNEL.length; step += 1) sum += KERNEL[step] * narrow[at + BLOCK * step];
    const row = width * (top + Math.floor(at / BLOCK));
    detail[at] = grey[row + left + (at % BLOCK)] - sum / weight;
  }
  const around = centered(detail),
    square = around.reduce((sum, value) => sum + value ** 2, 0) / around.length;
  return Math.sqrt(square) < LEAST_DEVIATION ? undefined : around;
}

/** The power of each frequency of a block under a Hann window, in rows of 33. */
function powerOf(detail) {
  const real = detail.map((value, at) => value * WINDOW[at % BLOCK] * WINDOW[Math.floor(at / BLOCK)]),
    imaginary = new Float64Array(BLOCK * BLOCK),
    power = new Float64Array(BLOCK * COLUMNS);
  for (let row = 0; row < BLOCK; row += 1) transform(real, imaginary, BLOCK * row, 1);
  for (let column = 0; column < COLUMNS; column += 1) transform(real, imaginary, column, BLOCK);
  for (let at = 0; at < power.length; at += 1) {
    const from = BLOCK * Math.floor(at / COLUMNS) + (at % COLUMNS);
    power[at] = real[from] ** 2 + imaginary[from] ** 2;
  }
  return power;
}

/** The Fourier transform (Cooley and Tukey, 1965), in place, of 64 numbers from a place on, at equal steps. */
function transform(real, imaginary, start, step) {
  const swap = (values, one, other) => ([values[one], values[other]] = [values[other], values[one]]);
  for (let index = 1, reversed = 0; index < BLOCK; index += 1) {
    let bit = BLOCK / 2;
    for (; reversed & bit; bit /= 2) reversed ^= bit;
    reversed ^= bit;
    if (index < reversed)
      for (const values of [real, imaginary]) swap(values, start + step * index, start + step * reversed);
  }
  for (let half = 1; half < BLOCK; half *= 2) {
    for (let index = 0; index < BLOCK; index += 1) {
      if (index & half) continue;
      const at = start + step * index,
        other = at + step * half,
        angle = ((index & (half - 1)) * BLOCK) / 2 / half;
      const re = real[other] * COSINES[angle] + imaginary[other] * SINES[angle],
        im = imaginary[other] * COSINES[angle] - real[other] * SINES[angle];
      real[other] = real[at] - re;
      imaginary[other] = imaginary[at] - im;
      real[at] += re;
      imaginary[at] += im;
    }
  }
}

const kindOf = (name) => words.traces.find((kind) => kind.name === name);

/** What the picture of a trace shows. */
export const captionOf = (name) => kindOf(name).caption;

/** Draws a spectrum, zero in the middle and light for strong, with rings around the peaks of a trace, each enlarged. */
export function drawSpectrum(canvas, spectrum, name) {
  const side = SCALE * BLOCK,
    middle = BLOCK / 2,
    { frequencies } = kindOf(name),
    context = canvas.getContext("2d");
  Object.assign(canvas, { width: (side + GAP) * (frequencies.length + 1) - GAP, height: side });
  Object.assign(context, { strokeStyle: RING_COLOR, lineWidth: 2 });
  const square = (left, count, valueOf, shares) => {
    const values = counted(count * count, (at) => valueOf(Math.floor(at / count), at % count)),
      sorted = values.slice().sort(),
      [low, high] = shares.map((share) => quantile(sorted, share)),
      edge = (cell) => Math.ceil((cell * side) / count - 0.5);
    values.forEach((value, at) => {
      const level = Math.floor(255 * Math.min(1, Math.max(0, (value - low) / Math.max(high - low, 1e-6)))),
        [y, x] = [Math.floor(at / count), at % count];
      context.fillStyle = `rgb(${level} ${level} ${level})`;
      context.fillRect(left + edge(x), edge(y), edge(x + 1) - edge(x), edge(y + 1) - edge(y));
    });
  };
  square(0, BLOCK, (y, x) => valueAt(spectrum, y - middle, x - middle), LEVELS);
  for (const place of frequencies) {
    for (const sign of [1, -1]) {
      const [y, x] = place.map((part) => SCALE * ((sign * part + middle + BLOCK) % BLOCK) + SCALE / 2);
      for (const corner of [0, 1, 2, 3]) {
        context.beginPath(); // the highest frequency is at both ends
        context.arc(x + side * (corner >> 1), y + side * (corner & 1), 3 * SCALE - 1, 0, 2 * Math.PI);
        context.stroke();
      }
    }
  }
  frequencies.forEach(([row, column], number) => {
    const left = (number + 1) * (side + GAP);
    context.fillStyle = "white";
    context.fillRect(left - GAP, 0, GAP, side);
    square(left, 2 * AROUND + 1, (y, x) => valueAt(spectrum, row + y - AROUND, column + x - AROUND), [0, 1]);
    context.strokeRect(left + 1, 1, side - 2, side - 2);
  });
}

function quantile(sorted, share) {
  const place = share * (sorted.length - 1),
    below = Math.floor(place);
  return sorted[below] + (place - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}

// Watermarks that generators' own programs leave in the pixels, read as tellsign's Python package reads them.
import { centered } from "./pixels.js";
import words from "./words.js";

const { LEAST_CORRELATION, LEAST_PIXELS, MOST_PIXELS, BLOCK, STEP } = words.watermark;
const OFFSETS = [256, 1]; // the level of no color, twice, in pictures of 8 bits and of floats

/**
 * The watermark in a picture, with its correlation, or nothing.
 *
 * Rows of the picture are asked for in a strip: `strip(top, count)` gives their RGBA levels.
 */
export async function watermarkIn({ width, height, strip }) {
  const across = Math.floor(width / BLOCK),
    down = Math.floor(height / BLOCK);
  if (width * height < LEAST_PIXELS || !across || !down) return undefined;
  const rows = Math.min(down, Math.max(1, Math.floor(MOST_PIXELS / width / BLOCK))),
    top = Math.floor((down - rows) / 2);
  const readings = blockScores(await strip(top * BLOCK, rows * BLOCK), width, rows);
  const found = words.watermarks.map((mark) => {
    const bits = Array.from(mark.bits, Number);
    const correlations = readings.map((scores) => correlation(bitMeans(scores, bits.length, top * across), bits));
    return { ...mark, correlation: Math.max(...correlations) };
  });
  const best = found.reduce((one, other) => (other.correlation > one.correlation ? other : one));
  return best.correlation < LEAST_CORRELATION ? undefined : best;
}

/** What each block says of its bit, from -1 to 1, in four readings: 8 bits or floats, in the order RGB or BGR. */
function blockScores(levels, width, rows) {
  const across = Math.floor(width / BLOCK),
    readings = Array.from({ length: 4 }, () => new Float64Array(rows * across));
  for (let block = 0; block < rows * across; block += 1) {
    const corner = 4 * BLOCK * (Math.floor(block / across) * width + (block % across));
    const low = [Infinity, Infinity],
      high = [-Infinity, -Infinity];
    for (let quad = 1; quad < 16; quad += 1) {
      // the first coefficient holds no bit
      const at = corner + 8 * ((quad >> 2) * width + (quad & 3)),
        under = at + 4 * width;
      const [red, green, blue] = [0, 1, 2].map(
        (color) => levels[at + color] + levels[at + color + 4] + levels[under + color] + levels[under + color + 4],
      );
      for (const [order, first, last] of [
        [0, red, blue],
        [1, blue, red],
      ]) {
        const chroma = 0.246 * (last - (0.299 * first + 0.587 * green + 0.114 * last));
        low[order] = Math.min(low[order], chroma);
        high[order] = Math.max(high[order], chroma);
      }
    }
    readings.forEach((scores, reading) => {
      const [order, offset] = [reading >> 1, OFFSETS[reading & 1]];
      const largest = Math.max(Math.abs(low[order] + offset), Math.abs(high[order] + offset));
      scores[block] = -Math.sin((2 * Math.PI * largest) / STEP);
    });
  }
  return readings;
}

/** The mean score of each bit of a message. The first block has a number in the whole picture. */
function bitMeans(scores, length, first) {
  const totals = new Float64Array(length),
    counts = new Float64Array(length);
  scores.forEach((score, index) => {
    totals[(first + index) % length] += score;
    counts[(first + index) % length] += 1;
  });
  return totals.map((total, bit) => total / Math.max(1, counts[bit]));
}

/** Pearson's correlation; near 0 where the means hardly differ. */
function correlation(means, bits) {
  const [ours, theirs] = [centered(means), centered(bits)];
  const product = ours.reduce((sum, value, bit) => sum + value * theirs[bit], 0);
  return product / Math.max(Math.hypot(...ours), 1e-3) / Math.hypot(...theirs);
}

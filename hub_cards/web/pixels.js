// Pictures brought to the state that the model learned from, bit by bit as Python brings them there: resized as
// PyTorch does, and stored once as JPEG, as libjpeg does. What the browser's canvas does differs between browsers.
// A picture here has a width, a height, and data: RGBA levels of 8 bits, whose alpha nothing looks at.

/** Rounds as Python does: a half goes to the even neighbour. */
export function halfToEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

/** Values less their mean. */
export function centered(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - mean);
}

const clamp = (level) => (level < 0 ? 0 : level > 255 ? 255 : level);

function cubic(distance) {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? -0.5 * (((x - 5) * x + 8) * x - 4) : 0;
}

/**
 * The antialiased bicubic weights of each new pixel: from which old one on, how many, and whole numbers of at most 16
 * bits, in rows of equal length, with how many binary digits they have.
 */
function weightsOf(from, to) {
  const scale = from / to,
    stretch = Math.max(scale, 1),
    support = 2 * stretch;
  const rows = Array.from({ length: to }, (_, place) => {
    const center = scale * (place + 0.5);
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const count = Math.min(Math.trunc(center + support + 0.5), from) - first;
    const weights = Array.from({ length: count }, (_, index) => cubic((index + first - center + 0.5) / stretch));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
  const largest = rows.reduce((most, row) => Math.max(most, ...row.weights), 0);
  let digits = 0;
  while (digits < 22 && Math.trunc(0.5 + largest * 2 ** (digits + 1)) < 2 ** 15) digits += 1;
  const length = rows.reduce((most, row) => Math.max(most, row.weights.length), 0),
    weights = new Int32Array(length * to);
  for (const [place, row] of rows.entries()) {
    weights.set(
      row.weights.map((weight) => weight * 2 ** digits + 0.5 * Math.sign(weight)),
      length * place,
    );
  }
  const firsts = Int32Array.from(rows, (row) => row.first),
    counts = Int32Array.from(rows, (row) => row.weights.length);
  return { firsts, counts, weights, length, digits };
}

/** A picture of another size. Its rows are asked for in strips: `strip(top, count)` gives their RGBA levels. */
export async function resized({ width, height, strip }, newWidth, newHeight) {
  const narrow = { width: newWidth, height, data: new Uint8ClampedArray(4 * newWidth * height) };
  const across = weightsOf(width, newWidth),
    stripHeight = Math.max(1, Math.floor(2 ** 20 / width));
  for (let top = 0; top < height; top += stripHeight) {
    const count = Math.min(stripHeight, height - top),
      levels = await strip(top, count);
    for (let y = 0; y < count; y += 1) narrowRow(levels, 4 * width * y, across, narrow.data, 4 * newWidth * (top + y));
  }
  return shortened(narrow, newHeight);
}

function narrowRow(levels, start, { firsts, counts, weights, length, digits }, target, to) {
  const half = 1 << (digits - 1);
  for (let x = 0; x < firsts.length; x += 1) {
    const last = x * length + counts[x];
    let red = half,
      green = half,
      blue = half,
      from = start + 4 * firsts[x];
    for (let index = x * length; index < last; index += 1) {
      const weight = weights[index];
      red = (red + Math.imul(weight, levels[from])) | 0;
      green = (green + Math.imul(weight, levels[from + 1])) | 0;
      blue = (blue + Math.imul(weight, levels[from + 2])) | 0;
      from += 4;
    }
    target[to] = red >> digits;
    target[to + 1] = green >> digits;
    target[to + 2] = blue >> digits;
    to += 4;
  }
}

function shortened({ width, height, data }, newHeight) {
  const { firsts, counts, weights, length, digits } = weightsOf(height, newHeight),
    row = 4 * width;
  const result = new Uint8ClampedArray(row * newHeight),
    sums = new Int32Array(row);
  for (let y = 0; y < newHeight; y += 1) {
    sums.fill(1 << (digits - 1));
    for (let index = 0; index < counts[y]; index += 1) {
      const weight = weights[length * y + index],
        from = row * (firsts[y] + index);
      for (let x = 0; x < row; x += 1) sums[x] = (sums[x] + Math.imul(weight, data[from + x])) | 0;
    }
    for (let x = 0; x < row; x += 1) result[y * row + x] = sums[x] >> digits;
  }
  return { width, height: newHeight, data: result };
}

// The tables of the JPEG standard, annex K.1.
const LUMA = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
  87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
  72, 92, 95, 98, 112, 100, 103, 99,
];
const CHROMA = Array(64).fill(99);
[17, 18, 24, 47, 18, 21, 26, 66, 24, 26, 56, 99, 47, 66].forEach((step, at) => (CHROMA[8 * (at >> 2) + (at & 3)] = step));

/** A table for a quality of 50 and more. */
const steps = (table, quality) =>
  Int32Array.from(table, (step) => Math.min(255, Math.max(1, Math.floor((step * (200 - 2 * quality) + 50) / 100))));

/** A picture after it was stored as JPEG of a quality from 50 on, with chroma 4:2:0, and read again. */
export function storedAsJpeg({ width, height, data }, quality) {
  const wide = 16 * Math.ceil(width / 16),
    high = 16 * Math.ceil(height / 16);
  const [luma, blue, red] = [0, 1, 2].map(() => new Uint8Array(wide * high));
  for (let y = 0; y < high; y += 1) {
    for (let x = 0; x < wide; x += 1) {
      const from = 4 * (Math.min(y, height - 1) * width + Math.min(x, width - 1)),
        to = y * wide + x;
      const r = data[from],
        g = data[from + 1],
        b = data[from + 2];
      luma[to] = (19595 * r + 38470 * g + 7471 * b + 32768) >> 16;
      blue[to] = (-11059 * r - 21709 * g + 32768 * b + 8421375) >> 16;
      red[to] = (32768 * r - 27439 * g - 5329 * b + 8421375) >> 16;
    }
  }
  const colors = [blue, red].map((plane) => halved(plane, wide, high, Math.ceil(height / 2)));
  quantize(luma, wide, steps(LUMA, quality));
  for (const plane of colors) quantize(plane, wide / 2, steps(CHROMA, quality));
  return joined(luma, wide, colors, width, height);
}

/** A plane of half the sides. Below the last row that the picture has it repeats that. */
function halved(plane, wide, high, rows) {
  const half = wide / 2,
    result = new Uint8Array((half * high) / 2);
  for (let y = 0; y < high / 2; y += 1) {
    const from = 2 * wide * Math.min(y, rows - 1);
    for (let x = 0; x < half; x += 1) {
      const at = from + 2 * x;
      result[y * half + x] = (plane[at] + plane[at + 1] + plane[at + wide] + plane[at + wide + 1] + 1 + (x & 1)) >> 2;
    }
  }
  return result;
}

/** Each block of 8 x 8 becomes what its rounded cosine coefficients stand for. */
function quantize(plane, wide, table) {
  const block = new Int32Array(64);
  for (let top = 0; top < plane.length; top += 8 * wide) {
    for (let left = top; left < top + wide; left += 8) {
      for (let y = 0; y < 8; y += 1)
        for (let x = 0; x < 8; x += 1) block[8 * y + x] = plane[left + y * wide + x] - 128;
      for (let row = 0; row < 64; row += 8) toCosines(block, row, 1, 11);
      for (let column = 0; column < 8; column += 1) toCosines(block, column, 8, 15);
      for (let index = 0; index < 64; index += 1) {
        const step = table[index],
          size = Math.floor((Math.abs(block[index]) + 4 * step) / (8 * step)) * step;
        block[index] = block[index] < 0 ? -size : size;
      }
      for (let column = 0; column < 8; column += 1) fromCosines(block, column, 8, 11);
      for (let row = 0; row < 64; row += 8) fromCosines(block, row, 1, 18);
      for (let y = 0; y < 8; y += 1)
        for (let x = 0; x < 8; x += 1) plane[left + y * wide + x] = clamp(block[8 * y + x] + 128);
    }
  }
}

// Eight levels to cosine coefficients and back with 11 multiplications (Loeffler, Ligtenberg and Moschytz, 1989), in
// numbers of 13 binary digits, as in libjpeg's jfdctint.c and jidctint.c.
function toCosines(block, at, step, digits) {
  const half = 1 << (digits - 1);
  const sum0 = block[at] + block[at + 7 * step],
    sum1 = block[at + step] + block[at + 6 * step],
    sum2 = block[at + 2 * step] + block[at + 5 * step],
    sum3 = block[at + 3 * step] + block[at + 4 * step];
  const part7 = block[at] - block[at + 7 * step],
    part6 = block[at + step] - block[at + 6 * step],
    part5 = block[at + 2 * step] - block[at + 5 * step],
    part4 = block[at + 3 * step] - block[at + 4 * step];
  const outer = sum0 + sum3,
    inner = sum1 + sum2,
    outer2 = sum0 - sum3,
    inner2 = sum1 - sum2;
  const turned = (inner2 + outer2) * 4433;
  block[at] = (((outer + inner) << 13) + half) >> digits;
  block[at + 4 * step] = (((outer - inner) << 13) + half) >> digits;
  block[at + 2 * step] = (turned + outer2 * 6270 + half) >> digits;
  block[at + 6 * step] = (turned - inner2 * 15137 + half) >> digits;
  const all = (part4 + part5 + part6 + part7) * 9633;
  const z1 = (part4 + part7) * -7373,
    z2 = (part5 + part6) * -20995;
  const z3 = (part4 + part6) * -16069 + all,
    z4 = (part5 + part7) * -3196 + all;
  block[at + 7 * step] = (part4 * 2446 + z1 + z3 + half) >> digits;
  block[at + 5 * step] = (part5 * 16819 + z2 + z4 + half) >> digits;
  block[at + 3 * step] = (part6 * 25172 + z2 + z3 + half) >> digits;
  block[at + step] = (part7 * 12299 + z1 + z4 + half) >> digits;
}

function fromCosines(block, at, step, digits) {
  const half = 1 << (digits - 1);
  const turned = (block[at + 2 * step] + block[at + 6 * step]) * 4433;
  const even2 = turned - block[at + 6 * step] * 15137,
    even3 = turned + block[at + 2 * step] * 6270;
  const even0 = (block[at] + block[at + 4 * step]) << 13,
    even1 = (block[at] - block[at + 4 * step]) << 13;
  const all = (block[at + 7 * step] + block[at + 5 * step] + block[at + 3 * step] + block[at + step]) * 9633;
  const z1 = (block[at + 7 * step] + block[at + step]) * -7373,
    z2 = (block[at + 5 * step] + block[at + 3 * step]) * -20995;
  const z3 = (block[at + 7 * step] + block[at + 3 * step]) * -16069 + all,
    z4 = (block[at + 5 * step] + block[at + step]) * -3196 + all;
  const odd0 = block[at + 7 * step] * 2446 + z1 + z3,
    odd1 = block[at + 5 * step] * 16819 + z2 + z4;
  const odd2 = block[at + 3 * step] * 25172 + z2 + z3,
    odd3 = block[at + step] * 12299 + z1 + z4;
  block[at] = (even0 + even3 + odd3 + half) >> digits;
  block[at + 7 * step] = (even0 + even3 - odd3 + half) >> digits;
  block[at + step] = (even1 + even2 + odd2 + half) >> digits;
  block[at + 6 * step] = (even1 + even2 - odd2 + half) >> digits;
  block[at + 2 * step] = (even1 - even2 + odd1 + half) >> digits;
  block[at + 5 * step] = (even1 - even2 - odd1 + half) >> digits;
  block[at + 3 * step] = (even0 - even3 + odd0 + half) >> digits;
  block[at + 4 * step] = (even0 - even3 - odd0 + half) >> digits;
}

/** Luma and the planes of half its sides as a picture. Colors are weighted 3 to 1 between neighbours. */
function joined(luma, wide, colors, width, height) {
  const data = new Uint8ClampedArray(4 * width * height),
    half = wide / 2;
  const columns = Math.ceil(width / 2),
    rows = Math.ceil(height / 2);
  const [blue, red] = colors.map(() => new Int32Array(columns));
  for (let y = 0; y < height; y += 1) {
    const near = half * (y >> 1),
      far = half * Math.min(rows - 1, Math.max(0, (y >> 1) + (y & 1 ? 1 : -1)));
    for (let x = 0; x < columns; x += 1) {
      blue[x] = 3 * colors[0][near + x] + colors[0][far + x];
      red[x] = 3 * colors[1][near + x] + colors[1][far + x];
    }
    for (let x = 0; x < width; x += 1) {
      const here = x >> 1,
        beside = Math.min(columns - 1, Math.max(0, here + (x & 1 ? 1 : -1))),
        round = x & 1 ? 7 : 8;
      const cb = ((3 * blue[here] + blue[beside] + round) >> 4) - 128;
      const cr = ((3 * red[here] + red[beside] + round) >> 4) - 128;
      const level = luma[y * wide + x],
        to = 4 * (y * width + x);
      data[to] = level + ((91881 * cr + 32768) >> 16);
      data[to + 1] = level + ((-22554 * cb - 46802 * cr + 32768) >> 16);
      data[to + 2] = level + ((116130 * cb + 32768) >> 16);
    }
  }
  return { width, height, data };
}

// Pictures read through a canvas. Some browsers change what a page reads there, against fingerprinting.

const SIDE = 1024, // as many pixels as a strip of a large picture
  PARTS = [
    [0, 0, SIDE, SIDE],
    [400, 203, 223, 225],
    [496, 7, 32, 32],
  ];

/** Ways to read all of a canvas, as RGBA levels. Fewer browsers change what the second gives. */
const READERS = [
  (context) => context.getImageData(0, 0, context.canvas.width, context.canvas.height).data,
  async ({ canvas }) => {
    const frame = new VideoFrame(canvas, { timestamp: 0 }),
      levels = new Uint8ClampedArray(4 * canvas.width * canvas.height);
    try {
      await frame.copyTo(levels, { format: "RGBA" });
    } finally {
      frame.close();
    }
    return levels;
  },
];

/**
 * The pixels of an opened picture, by default on white where it is transparent. `read` is one of the readers.
 */
export class Pixels {
  constructor(bitmap, read, background = "white") {
    Object.assign(this, { bitmap, read, background, width: bitmap.width, height: bitmap.height });
  }

  part = (left, top, width, height) => this.drawn([left, top, width, height], width, height);

  /** A part in a small square. */
  shrunk = (left, top, width, height, side) => this.drawn([left, top, width, height], side, side);

  async drawn(place, width, height) {
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    Object.assign(context, { fillStyle: this.background, imageSmoothingQuality: "high" });
    context.fillRect(0, 0, width, height);
    context.drawImage(this.bitmap, ...place, 0, 0, width, height);
    return this.read(context);
  }

  strip = (top, count) => this.part(0, top, this.width, count);
}

/**
 * The first reader that gives what was drawn, found with a picture whose levels are known.
 *
 * Noise may spare smooth places or rough ones, and small canvases or large ones. It may change few levels, by one. So
 * the picture has a rough half and a smooth one, parts of several sizes are read, and each level counts.
 */
export async function trueReader() {
  const known = roughAndSmooth(),
    bitmap = await createImageBitmap(known);
  try {
    for (const read of READERS) if (await isTrue(new Pixels(bitmap, read), known.data)) return read;
  } finally {
    bitmap.close();
  }
  throw new Error(
    "this browser's pixels cannot be trusted. Protection against fingerprinting is the usual cause: " +
      "switch it off for this page, or use another browser",
  );
}

function roughAndSmooth() {
  const picture = new ImageData(SIDE, SIDE);
  let random = 1;
  for (let at = 0; at < picture.data.length; at += 1) {
    const column = (at >> 2) % SIDE,
      row = Math.floor(at / (4 * SIDE));
    random = (Math.imul(random, 1664525) + 1013904223) | 0;
    const smooth = [column >> 2, row >> 2, (column + row) >> 3][at % 4];
    picture.data[at] = at % 4 === 3 ? 255 : column < SIDE / 2 ? random >>> 24 : smooth;
  }
  return picture;
}

async function isTrue(pixels, levels) {
  for (const [left, top, width, height] of PARTS) {
    const read = await pixels.part(left, top, width, height).catch(() => []);
    for (let row = 0; row < height; row += 1) {
      const from = 4 * (SIDE * (top + row) + left);
      const drawn = levels.subarray(from, from + 4 * width);
      if (!drawn.every((level, at) => level === read[4 * width * row + at])) return false;
    }
  }
  return true;
}

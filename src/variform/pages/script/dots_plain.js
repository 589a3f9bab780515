// Dots with plain arrays: discs at quarters of a pixel, from the last to the first, so that nothing is computed that
// lies under dots which let no light through.

/**
 * @import { Drawn, Place } from "./dots.js"
 */

export const PARTS = 4; // places of a disc within a pixel, each way
const DENSE = 252; // of 255: what lies under it cannot be seen
const RED_BLUE = 0xff00ff;

export class Plain {
  /** @type {string | null} */
  _key = null;

  /** @type {Drawn["table"] | null} */
  _table = null;

  constructor() {
    this.canvas = document.createElement("canvas");
  }

  /**
   * @param {Drawn} drawn
   * @param {Place} place
   */
  paint(drawn, place) {
    const { w, h, radius } = place;
    const key = [w, h, radius].join("|");
    if (key !== this._key) this._measure(w, h, radius);
    if (key !== this._key || drawn.table !== this._table) this._mix(drawn.table);
    this._key = key;
    this._table = drawn.table;
    this.pixels.fill(0);
    this._splat(drawn, place);
    this._show(w, h);
    return this.canvas;
  }

  /**
   * The pixels of a disc at each part of a pixel: their offsets and how much of them it covers.
   *
   * @param {number} w
   * @param {number} h
   * @param {number} radius
   */
  _measure(w, h, radius) {
    const reach = Math.ceil(radius + 0.5) + 1;
    this.margin = reach;
    this.width = w + 2 * reach;
    this.pixels = new Int32Array(this.width * (h + 2 * reach)); // alpha, blue, green, red; multiplied by alpha
    /** @type {number[]} */
    const offsets = [];
    /** @type {number[]} */
    const shares = [];
    this.starts = new Int32Array(PARTS * PARTS + 1);
    for (let part = 0; part < PARTS * PARTS; part++) {
      const x0 = ((part % PARTS) + 0.5) / PARTS;
      const y0 = (Math.floor(part / PARTS) + 0.5) / PARTS;
      for (let y = -reach; y <= reach; y++) {
        for (let x = -reach; x <= reach; x++) {
          const share = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(x + 0.5 - x0, y + 0.5 - y0)));
          if (share < 1 / 255) continue;
          offsets.push(y * this.width + x);
          shares.push(share);
        }
      }
      this.starts[part + 1] = offsets.length;
    }
    this.offsets = Int32Array.from(offsets);
    this.shares = Float32Array.from(shares);
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, { width: w, height: h });
    this.picture = new ImageData(w, h);
    this.shown = new Int32Array(this.picture.data.buffer);
  }

  /**
   * Each colour at each of these pixels.
   *
   * @param {Drawn["table"]} table
   */
  _mix(table) {
    const { length } = this.offsets;
    this.inks = new Int32Array(length * table.length);
    table.forEach(([red, green, blue, opacity], colour) => {
      for (let at = 0; at < length; at++) {
        const alpha = this.shares[at] * opacity;
        const [r, g, b] = [red, green, blue].map((value) => Math.round(value * alpha));
        this.inks[colour * length + at] = (Math.round(255 * alpha) << 24) | (b << 16) | (g << 8) | r;
      }
    });
  }

  /**
   * @param {Drawn} drawn
   * @param {Place} place
   */
  _splat({ xy, colours }, { w, h, left, top, scale }) {
    const { pixels, offsets, starts, inks, width, margin } = this;
    const { length } = offsets;
    for (let i = colours.length - 1; i >= 0; i--) {
      const x = Math.floor((left + xy[2 * i] * scale) * PARTS);
      const y = Math.floor((top - xy[2 * i + 1] * scale) * PARTS);
      const isIn = x >= 0 && y >= 0 && x < PARTS * w && y < PARTS * h;
      if (!isIn) continue;
      const base = (Math.floor(y / PARTS) + margin) * width + Math.floor(x / PARTS) + margin;
      const part = (y % PARTS) * PARTS + (x % PARTS);
      const ink = colours[i] * length;
      for (let at = starts[part]; at < starts[part + 1]; at++) {
        const pixel = base + offsets[at];
        const under = pixels[pixel];
        const left = 255 - (under >>> 24); // what still shows of what lies below
        if (left <= 255 - DENSE) continue;
        pixels[pixel] = (under + shaded(inks[ink + at], left + 1)) | 0;
      }
    }
  }

  // A canvas takes colours that are not multiplied by alpha.
  /**
   * @param {number} w
   * @param {number} h
   */
  _show(w, h) {
    const { pixels, shown, width, margin } = this;
    for (let row = 0; row < h; row++) {
      let from = (row + margin) * width + margin;
      for (let to = row * w; to < (row + 1) * w; to++, from++) {
        const pixel = pixels[from];
        const alpha = pixel >>> 24;
        shown[to] = alpha === 0 || alpha === 255 ? pixel : divided(pixel, alpha);
      }
    }
    this.canvas.getContext("2d").putImageData(this.picture, 0, 0);
  }
}

/**
 * A colour times a share of 256, all four parts at once.
 *
 * @param {number} colour
 * @param {number} share
 */
const shaded = (colour, share) =>
  (Math.imul((colour >>> 8) & RED_BLUE, share) & ~RED_BLUE) | ((Math.imul(colour & RED_BLUE, share) >>> 8) & RED_BLUE);

/**
 * @param {number} pixel
 * @param {number} alpha
 */
function divided(pixel, alpha) {
  const factor = 255 / alpha;
  const red = Math.min(255, (pixel & 255) * factor + 0.5);
  const green = Math.min(255, ((pixel >>> 8) & 255) * factor + 0.5);
  const blue = Math.min(255, ((pixel >>> 16) & 255) * factor + 0.5);
  return (alpha << 24) | (blue << 16) | (green << 8) | red;
}

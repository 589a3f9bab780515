// The dots of a map: many small discs, some of them faint, in few colours. Two painters give the same picture: one with
// plain arrays, which is the faster one where WebGL is computed by the processor, and WebGL itself.

import { Gpu } from "./dots_gpu.js";
import { Plain } from "./dots_plain.js";
import { partsOf } from "./theme.js";

export const OPACITY = 0.8;
const FAINT = 0.12;
const SLOW = 12; // milliseconds of a picture: beyond them WebGL is tried
const WARM = 4; // slow pictures before that, as a script is slow at first
const REST = 4; // times what a slow picture took: until then the next one is the last one, moved
const SETTLED = 90; // milliseconds after which a hand rests
const MARGIN = 0.12; // of the longer side: what is painted beyond the edges of a picture that will be moved

/**
 * What is drawn, the last on top of the others: places in the plane, and of each its colour, as a place in `table`.
 *
 * @typedef {object} Drawn
 * @property {Float32Array} xy
 * @property {Uint16Array} colours
 * @property {[number, number, number, number][]} table red, green, blue in 0 to 255, and opacity
 */

/**
 * Where it is drawn, in pixels of the screen: (x, y) stands at (left + x scale, top - y scale).
 *
 * @typedef {object} Place
 * @property {number} w
 * @property {number} h
 * @property {number} left
 * @property {number} top
 * @property {number} scale
 * @property {number} radius of a disc
 * @property {number} [wide] w + h without what lies beyond the edges
 */

/** @typedef {"auto" | "plain" | "webgl"} Wanted what is faster and not always exact, or every picture by one of them */

/**
 * Those that stand out lie on top of those that do not.
 *
 * @param {Float32Array} points x and y of one after the other; what has none is not drawn
 * @param {ArrayLike<number> | null} places of the colours in shades; null for the first
 * @param {string[]} shades
 * @param {Uint8Array | null} stands which stand out; null for all
 * @returns {Drawn}
 */
export function drawnOf(points, places, shades, stands) {
  const count = points.length / 2;
  const xy = new Float32Array(2 * count);
  const colours = new Uint16Array(count);
  let at = 0;
  for (const isOut of stands ? [0, 1] : [1]) {
    for (let i = 0; i < count; i++) {
      if (stands && stands[i] !== isOut) continue;
      if (!Number.isFinite(points[2 * i])) continue;
      xy[2 * at] = points[2 * i];
      xy[2 * at + 1] = points[2 * i + 1];
      colours[at] = (places?.[i] ?? 0) + (isOut ? shades.length : 0);
      at++;
    }
  }
  const coloured = (/** @type {number} */ opacity) =>
    shades.map((shade) => /** @type {Drawn["table"][0]} */ ([...partsOf(shade), opacity]));
  const table = [...coloured(FAINT), ...coloured(OPACITY)];
  return { xy: xy.subarray(0, 2 * at), colours: colours.subarray(0, at), table };
}

/** @typedef {{ canvas: HTMLCanvasElement, place: Place, isExact: boolean }} Painted what is on a canvas, and where */

export class Dots {
  /** @type {Wanted} */
  wanted = "auto";

  /** @type {{ drawn: Drawn, canvas: HTMLCanvasElement, place: Place, took: number, end: number } | null} */
  _last = null;

  /** The least that a picture with arrays took of late. */
  _least = Infinity;

  /** How many pictures were slow. */
  _slow = 0;

  /** How many pictures were painted. */
  painted = 0;

  /** @param {() => void} again the dots are to be painted anew, now that the hand rests */
  constructor(again = () => {}) {
    this.again = again;
    this.plain = new Plain();
    /** @type {Gpu | null} */
    this.gpu = null;
    this.painter = "plain";
  }

  /**
   * The dots at a place. Where that takes long and a hand moves them, the last picture will do for moments between: it
   * is moved and scaled.
   *
   * @param {Drawn} drawn
   * @param {Place} place
   * @returns {Painted}
   */
  paint(drawn, place) {
    clearTimeout(this._waiting);
    const last = this._last;
    const isSlow = this.wanted === "auto" && last !== null && last.took > SLOW;
    const isAlike = isSlow && last.drawn === drawn && last.place.wide === place.w + place.h;
    if (isAlike && performance.now() < last.end + REST * last.took) {
      this._waiting = setTimeout(this.again, SETTLED);
      return { canvas: last.canvas, place: last.place, isExact: false };
    }
    const begin = performance.now();
    const margin = isSlow ? Math.round(MARGIN * Math.max(place.w, place.h)) : 0;
    const wider = withMargin(place, margin);
    const canvas = this._exactly(drawn, wider);
    const end = performance.now();
    this.painted++;
    this._last = { drawn, canvas, place: wider, took: end - begin, end };
    return { canvas, place: wider, isExact: true };
  }

  /**
   * @param {Drawn} drawn
   * @param {Place} place
   */
  _exactly(drawn, place) {
    const isGpu = this.wanted === "webgl" || (this.wanted === "auto" && this.painter === "webgl");
    const made = isGpu ? this._byGpu(drawn, place) : null;
    if (made) return made;
    this.painter = "plain";
    const begin = performance.now();
    const canvas = this.plain.paint(drawn, place);
    const took = performance.now() - begin;
    this._least = Math.min(this._least, took);
    if (took > SLOW && ++this._slow === WARM && this.wanted === "auto") this._compare(drawn, place);
    return canvas;
  }

  // WebGL is kept where it is clearly the faster one, which it is not where the processor has to compute it.
  /**
   * @param {Drawn} drawn
   * @param {Place} place
   */
  _compare(drawn, place) {
    this.gpu = Gpu.made();
    if (!this.gpu || this.gpu.isSoftware) return;
    let least = Infinity;
    for (let round = 0; round < WARM; round++) {
      const begin = performance.now();
      if (!this.gpu.paint(drawn, place)) return;
      this.gpu.finish();
      least = Math.min(least, performance.now() - begin);
    }
    if (2 * least < this._least) this.painter = "webgl";
  }

  /**
   * @param {Drawn} drawn
   * @param {Place} place
   */
  _byGpu(drawn, place) {
    this.gpu ??= Gpu.made();
    const canvas = this.gpu?.paint(drawn, place) ?? null;
    if (canvas) this.painter = "webgl";
    return canvas;
  }
}

/**
 * A place with more of the plane on all sides.
 *
 * @param {Place} place
 * @param {number} margin pixels
 * @returns {Place}
 */
function withMargin(place, margin) {
  const { w, h, left, top } = place;
  return { ...place, w: w + 2 * margin, h: h + 2 * margin, left: left + margin, top: top + margin, wide: w + h };
}

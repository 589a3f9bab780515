// What part of a plane a map shows: where its places stand on the screen, and how zooming and panning change that.

/**
 * @import { Region, Zoom } from "./types.js"
 */

const ROOM = { left: 34, right: 10, top: 10, bottom: 26 }; // for the axes
const SPACE = 1.12; // how much longer than the data the sides are
const EDGE = 0.06; // of a side: what is as near to it is moved into view
export const MOST_ZOOM = 400;

export class Frame {
  /**
   * @param {number} w
   * @param {number} h
   * @param {[number, number]} middle the place in the plane that stands in the middle of the room
   * @param {number} scale pixels of a unit of the plane
   */
  constructor(w, h, middle, scale) {
    this.w = w;
    this.h = h;
    this.middle = middle;
    this.scale = scale;
    this.centre = [(ROOM.left + w - ROOM.right) / 2, (ROOM.top + h - ROOM.bottom) / 2];
  }

  /**
   * The frame that shows all points, x and y with one scale.
   *
   * @param {Float32Array} points x and y of one after the other
   * @param {number} w
   * @param {number} h
   */
  static around(points, w, h) {
    const [x0, x1] = extent(points, 0);
    const [y0, y1] = extent(points, 1);
    const across = (w - ROOM.left - ROOM.right) / ((x1 - x0) * SPACE || 1);
    const up = (h - ROOM.top - ROOM.bottom) / ((y1 - y0) * SPACE || 1);
    return new Frame(w, h, [(x0 + x1) / 2, (y0 + y1) / 2], Math.min(across, up));
  }

  /**
   * The place in the plane of a place on the screen, whose y leads downwards.
   *
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]}
   */
  toPlane(x, y) {
    const { middle, centre, scale } = this;
    return [middle[0] + (x - centre[0]) / scale, middle[1] - (y - centre[1]) / scale];
  }

  /**
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]}
   */
  toScreen(x, y) {
    const { middle, centre, scale } = this;
    return [centre[0] + (x - middle[0]) * scale, centre[1] - (y - middle[1]) * scale];
  }

  /** What of the plane is on the screen. */
  get box() {
    const [x0, y1] = this.toPlane(0, 0);
    const [x1, y0] = this.toPlane(this.w, this.h);
    return { x0, x1, y0, y1 };
  }

  /**
   * What of the plane is on the screen between the axes.
   *
   * @returns {Region}
   */
  get inner() {
    const [x0, y1] = this.toPlane(ROOM.left, 0);
    const [x1, y0] = this.toPlane(this.w, this.h - ROOM.bottom);
    return [x0, y0, x1, y1];
  }

  /**
   * The frame of a part, which never leaves this one.
   *
   * @param {Zoom | null} zoom null for all of it
   */
  part(zoom) {
    if (!zoom) return this;
    const { w, h, centre } = this;
    const scale = this.scale * zoom.by;
    const within = (/** @type {number} */ value, /** @type {number} */ middle, before = 0, after = 0) => {
      const slack = 1 / this.scale - 1 / scale;
      return Math.max(middle - before * slack, Math.min(middle + after * slack, value));
    };
    const x = within(zoom.x, this.middle[0], centre[0], w - centre[0]);
    const y = within(zoom.y, this.middle[1], h - centre[1], centre[1]);
    return new Frame(w, h, [x, y], scale);
  }

  /**
   * Another zoom, under which what stands at a place on the screen stays there.
   *
   * @param {Zoom | null} zoom
   * @param {number} factor
   * @param {[number, number]} place
   */
  zoomed(zoom, factor, [left, top]) {
    const by = Math.min(MOST_ZOOM, (zoom?.by ?? 1) * factor);
    if (by < 1.001) return null;
    const [x, y] = this.part(zoom).toPlane(left, top);
    const scale = this.scale * by;
    return this._kept(by, x - (left - this.centre[0]) / scale, y + (top - this.centre[1]) / scale);
  }

  /**
   * The zoom after a hand has moved the map by some pixels.
   *
   * @param {Zoom | null} zoom
   * @param {number} right
   * @param {number} down
   */
  panned(zoom, right, down) {
    if (!zoom) return null;
    const { middle, scale } = this.part(zoom);
    return this._kept(zoom.by, middle[0] - right / scale, middle[1] + down / scale);
  }

  /**
   * The zoom that shows a place of the plane, as it is where the place is in view.
   *
   * @param {Zoom | null} zoom
   * @param {[number, number]} place
   */
  showing(zoom, place) {
    if (!zoom) return null;
    const { w, h } = this;
    const [x, y] = this.part(zoom).toScreen(...place);
    const isInView = x > ROOM.left + EDGE * w && x < w - EDGE * w && y > EDGE * h && y < h - ROOM.bottom - EDGE * h;
    return isInView ? zoom : this._kept(zoom.by, ...place);
  }

  /**
   * @param {number} by
   * @param {number} x
   * @param {number} y
   * @returns {Zoom}
   */
  _kept(by, x, y) {
    const { middle } = this.part({ by, x, y });
    return { by, x: middle[0], y: middle[1] };
  }
}

/**
 * The least and the greatest value of points (x, y, x, y, ...) along an axis; 0 and 0 where there is none.
 *
 * @param {Float32Array} points
 * @param {0 | 1} axis
 */
export function extent(points, axis) {
  let low = Infinity;
  let high = -Infinity;
  for (let at = axis; at < points.length; at += 2) {
    if (points[at] < low) low = points[at];
    if (points[at] > high) high = points[at];
  }
  return low <= high ? [low, high] : [0, 0];
}

const digits = (/** @type {number} */ value) => Number(value.toPrecision(7));

/**
 * How a zoom stands in the address.
 *
 * @param {Zoom | null} zoom
 */
export const writeZoom = (zoom) => (zoom ? [zoom.by, zoom.x, zoom.y].map(digits).join(",") : "");

/**
 * @param {string} text
 * @returns {Zoom | undefined}
 */
export function readZoom(text) {
  const [by, x, y, ...more] = text.split(",").map(Number);
  const isZoom = by > 1 && by <= MOST_ZOOM && Number.isFinite(x) && Number.isFinite(y) && !more.length;
  return isZoom ? { by, x, y } : undefined;
}

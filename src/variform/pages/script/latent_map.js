// The map: a plane of latent space with the data on it. What stands still is drawn once, what moves on a second canvas.

/**
 * @import { Hand, Look, Marks, Point, World } from "./types.js"
 */

import { prepare, ticks } from "./canvas.js";
import { densityOf } from "./geometry.js";
import { drawDesigns } from "./marks.js";
import { shown } from "./text.js";
import { hexOf, Theme } from "./theme.js";
import { Tooltip } from "./tooltip.js";

const ROOM = { left: 34, right: 10, top: 10, bottom: 26 }; // for the axes
const TURN = 2 * Math.PI;
const FOG = 96; // cells of the fog along a side
const REACH = { mouse: 9, touch: 20 }; // pixels within which the pointer is on an example

export class LatentMap {
  /** @type {string | null} */
  _key = null;

  /**
   * Where pictures of examples stand.
   *
   * @type {{ i: number, x: number, y: number, w: number, h: number }[]}
   */
  _pictures = [];

  /** @type {Uint8Array | null} */
  _inside = null;

  /**
   * @param {HTMLElement} host
   * @param {World} world
   * @param {Hand} on
   */
  constructor(host, world, on) {
    this.host = host;
    this.world = world;
    this.on = on;
    this.still = document.createElement("canvas");
    this.moving = document.createElement("canvas");
    this.still.className = "still";
    this.moving.className = "moving";
    this.still.setAttribute("aria-hidden", "true");
    host.classList.add("map");
    host.append(this.still, this.moving);
    /** @type {Look | null} */
    this.look = null;
    this.tip = new Tooltip(host, world.examples, world.designs.aspect);
    this._listen();
  }

  _listen() {
    const { moving, on } = this;
    const here = (/** @type {PointerEvent} */ event) => {
      const frame = moving.getBoundingClientRect();
      const place = this.toPlane(event.clientX - frame.left, event.clientY - frame.top);
      return this.look.plane.at(place, on.about());
    };
    moving.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "mouse" && !event.buttons) return;
      this._hover(event);
      on.follow(here(event));
    });
    moving.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "mouse") return;
      this.tip.hide();
      on.leave();
    });
    moving.addEventListener("pointerdown", (event) => {
      moving.focus({ preventScroll: true });
      if (event.pointerType === "mouse") return;
      moving.setPointerCapture(event.pointerId);
      this._hover(event);
      on.follow(here(event));
    });
    moving.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.tip.hide();
    });
    moving.addEventListener("blur", () => this.tip.hide());
    moving.addEventListener("pointerup", (event) => {
      if (event.button !== 0) return;
      if (event.pointerType === "mouse") on.choose(here(event));
      else on.keep(here(event));
    });
  }

  /** @param {PointerEvent} event */
  _hover(event) {
    const frame = this.moving.getBoundingClientRect();
    const reach = event.pointerType === "mouse" ? REACH.mouse : REACH.touch;
    this.tell(this.exampleAt(event.clientX - frame.left, event.clientY - frame.top, reach));
  }

  /**
   * Say what is known of an example beside it; -1 for none.
   *
   * @param {number} i
   */
  tell(i) {
    if (i < 0) this.tip.hide();
    else this.tip.show(i, this.on.describe, this._placeOf(i));
  }

  /**
   * The example at a place on the screen: the picture there, or the nearest dot; -1 for none.
   *
   * @param {number} x
   * @param {number} y
   * @param {number} reach
   */
  exampleAt(x, y, reach) {
    if (!this.points) return -1;
    if (this.look.marks === "pictures") {
      const isIn = (/** @type {{ x: number, y: number, w: number, h: number }} */ box) =>
        x >= box.x && x <= box.x + box.w && y >= box.y && y <= box.y + box.h;
      return this._pictures.find(isIn)?.i ?? -1;
    }
    let found = -1;
    let least = reach * reach;
    for (let i = 0; i < this.world.cloud.count; i++) {
      const [left, top] = this._placeOf(i);
      const square = (left - x) ** 2 + (top - y) ** 2;
      if (square >= least || !this._isShown(i)) continue;
      found = i;
      least = square;
    }
    return found;
  }

  /**
   * Whether an example is not faint.
   *
   * @param {number} i
   */
  _isShown(i) {
    const { colour, only, inside } = this.look;
    const isIn = !inside || inside[i] === 1;
    return isIn && (only < 0 || colour.group(i) === only);
  }

  /**
   * What stands still; draws only what has changed.
   *
   * @param {Look} look
   */
  show(look) {
    const { clientWidth: w, clientHeight: h } = this.host;
    if (!w || !h) return;
    const { plane, colour, marks, fog, only, inside, study, validity, about } = look;
    const off = validity ? plane.at([0, 0], about).join(",") : ""; // what the plane leaves as it is
    const seen = [marks, fog, only, study !== null, off];
    const key = [w, h, Theme.dark, plane.names, colour?.name, ...seen, devicePixelRatio].join("|");
    this.look = look;
    if (key === this._key && plane === this._plane && inside === this._inside) return;
    this._key = key;
    this._inside = inside;
    this._plane = plane;
    this.w = w;
    this.h = h;
    this._locate();
    this._drawStill();
  }

  _locate() {
    const { cloud } = this.world;
    this.points = new Float32Array(2 * cloud.count);
    for (let i = 0; i < cloud.count; i++) this.points.set(this.look.plane.place(cloud.means, i * cloud.dim), 2 * i);
    const [x0, x1] = this._extent(0);
    const [y0, y1] = this._extent(1);
    const width = this.w - ROOM.left - ROOM.right;
    const height = this.h - ROOM.top - ROOM.bottom;
    this.scale = Math.min(width / ((x1 - x0) * 1.12 || 1), height / ((y1 - y0) * 1.12 || 1));
    this.middle = [(x0 + x1) / 2, (y0 + y1) / 2];
    this.centre = [ROOM.left + width / 2, ROOM.top + height / 2];
    const [left, top] = this.toPlane(0, 0);
    const [right, bottom] = this.toPlane(this.w, this.h);
    this.box = { x0: left, x1: right, y0: bottom, y1: top };
  }

  /** @param {0 | 1} axis */
  _extent(axis) {
    let low = Infinity;
    let high = -Infinity;
    for (let at = axis; at < this.points.length; at += 2) {
      low = Math.min(low, this.points[at]);
      high = Math.max(high, this.points[at]);
    }
    return [low, high];
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

  /** @param {number} i an example */
  _placeOf(i) {
    return this.toScreen(this.points[2 * i], this.points[2 * i + 1]);
  }

  _drawStill() {
    const context = prepare(this.still, this.w, this.h);
    context.fillStyle = Theme.colours.lit;
    context.fillRect(0, 0, this.w, this.h);
    if (this.look.fog) this._drawFog(context);
    this._drawAxes(context);
    if (this.look.marks === "pictures") this._drawPictures(context);
    else this._drawDots(context);
    if (this.look.study) drawDesigns(context, this.look.study, (z) => this.toScreen(...this.look.plane.place(z)));
    prepare(this.moving, this.w, this.h);
  }

  /** @param {CanvasRenderingContext2D} context */
  _drawFog(context) {
    const opacity = this.look.validity ? this._invalid() : this._empty();
    const small = document.createElement("canvas");
    small.width = FOG;
    small.height = FOG;
    const picture = new ImageData(FOG, FOG);
    const [r, g, b] = hexOf(Theme.colours.fog);
    for (let row = 0; row < FOG; row++) {
      for (let column = 0; column < FOG; column++) {
        picture.data.set([r, g, b, 255 * opacity[row * FOG + column]], 4 * ((FOG - 1 - row) * FOG + column));
      }
    }
    small.getContext("2d").putImageData(picture, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, this.w, this.h);
  }

  // How empty of data each cell of the fog is, in [0, 1].
  _empty() {
    return densityOf(this.points, this.box, FOG).map((density) => {
      const t = Math.max(0, Math.min(1, (density - 0.01) / 0.16));
      return 1 - t * t * (3 - 2 * t);
    });
  }

  // How likely the design at the middle of each cell is invalid.
  _invalid() {
    const { plane, validity, about } = this.look;
    const { x0, x1, y0, y1 } = this.box;
    return Float32Array.from({ length: FOG * FOG }, (_, at) => {
      const x = x0 + ((x1 - x0) * ((at % FOG) + 0.5)) / FOG;
      const y = y0 + ((y1 - y0) * (Math.floor(at / FOG) + 0.5)) / FOG;
      return 1 - validity.probability(plane.at([x, y], about));
    });
  }

  /** @param {CanvasRenderingContext2D} context */
  _drawAxes(context) {
    const { soft, line } = Theme.colours;
    context.font = Theme.font(11);
    context.fillStyle = soft;
    context.strokeStyle = line;
    context.lineWidth = 1;
    this._drawTicksAcross(context);
    if (this.look.plane.second) this._drawTicksUp(context);
    const [first, second] = this.look.plane.names;
    context.font = Theme.font(11.5, 600);
    context.textBaseline = "middle";
    context.textAlign = "right";
    context.fillText(first, this.w - 10, this.h - 33);
    context.textAlign = "left";
    if (second) context.fillText(second, 10, 14);
  }

  /** @param {CanvasRenderingContext2D} context */
  _drawTicksAcross(context) {
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (const value of ticks(this.box.x0, this.box.x1, Math.max(3, Math.round(this.w / 110)))) {
      const x = Math.round(this.toScreen(value, 0)[0]) + 0.5;
      if (x < 30 || x > this.w - 10) continue;
      context.beginPath();
      context.moveTo(x, this.h - 22);
      context.lineTo(x, this.h - 18);
      context.stroke();
      context.fillText(shown(value), x, this.h - 7);
    }
  }

  /** @param {CanvasRenderingContext2D} context */
  _drawTicksUp(context) {
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const value of ticks(this.box.y0, this.box.y1, Math.max(3, Math.round(this.h / 110)))) {
      const y = Math.round(this.toScreen(0, value)[1]) + 0.5;
      if (y < 22 || y > this.h - 26) continue;
      context.beginPath();
      context.moveTo(30, y);
      context.lineTo(34, y);
      context.stroke();
      context.fillText(shown(value), 27, y);
    }
  }

  /** @param {CanvasRenderingContext2D} context */
  _drawDots(context) {
    const { cloud } = this.world;
    const { colour } = this.look;
    const radius = Math.max(1.6, Math.min(3.4, 3.9 - Math.log10(cloud.count) / 2 + this.w / 1500));
    context.lineWidth = 0;
    for (let pass = 0; pass < 2; pass++) {
      for (let i = 0; i < cloud.count; i++) {
        if ((pass === 1) !== this._isShown(i)) continue;
        const [x, y] = this._placeOf(i);
        context.globalAlpha = pass === 0 ? 0.12 : 0.8;
        context.fillStyle = colour ? colour.of(i) : Theme.colours.accent;
        context.beginPath();
        context.arc(x, y, radius, 0, TURN);
        context.fill();
      }
    }
    context.globalAlpha = 1;
  }

  /**
   * Thumbnails where there is room for them: the first in the seeded order of the rows takes the place.
   *
   * @param {CanvasRenderingContext2D} context
   */
  _drawPictures(context) {
    const { designs, examples, order } = this.world;
    const { colour } = this.look;
    const side = Math.max(20, Math.min(44, this.w / 22)) * (designs.lines ? 1.5 : 1);
    const [w, h] = designs.aspect >= 1 ? [side, side / designs.aspect] : [side * designs.aspect, side];
    const step = [w + 5, h + 5];
    const taken = new Set();
    this._pictures = [];
    for (const i of order) {
      if (!this._isShown(i)) continue;
      const [x, y] = this._placeOf(i);
      const cell = [Math.round(x / step[0]), Math.round(y / step[1])];
      const name = cell.join(" ");
      if (taken.has(name)) continue;
      taken.add(name);
      const left = Math.round(cell[0] * step[0] - w / 2);
      const top = Math.round(cell[1] * step[1] - h / 2);
      if (left < 36 || top < 22 || left + w > this.w - 4 || top + h > this.h - 24) continue;
      examples.draw(context, i, { x: left, y: top, w, h });
      this._pictures.push({ i, x: left, y: top, w, h });
      if (!colour) continue;
      context.strokeStyle = colour.of(i);
      context.lineWidth = 2;
      context.strokeRect(left - 1, top - 1, w + 2, h + 2);
    }
  }

  /**
   * What moves: the point, its nearest example, pins and a way.
   *
   * @param {Marks} marks
   */
  mark({ z, near = -1, pins = [], way = null }) {
    if (!this.points) return;
    const context = this.moving.getContext("2d");
    const where = (/** @type {Point} */ point) => this.toScreen(...this.look.plane.place(point));
    context.clearRect(0, 0, this.w, this.h);
    if (way) drawWay(context, way.map(where));
    if (near >= 0) drawNearest(context, where(z), this._placeOf(near));
    pins.forEach((pin, i) => {
      drawPin(context, where(pin), String(i + 1));
    });
    drawPoint(context, where(z));
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number][]} places
 */
function drawWay(context, places) {
  const { card, accent } = Theme.colours;
  context.beginPath();
  for (const [x, y] of places) context.lineTo(x, y);
  context.lineJoin = "round";
  outlined(context, card, 6, accent);
}

/**
 * A line to the nearest example, with a ring about it.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number]} from
 * @param {[number, number]} to
 */
function drawNearest(context, from, to) {
  context.strokeStyle = Theme.colours.ink;
  context.globalAlpha = 0.55;
  context.lineWidth = 1;
  context.setLineDash([3, 3]);
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
  context.setLineDash([]);
  context.globalAlpha = 1;
  context.lineWidth = 2;
  context.beginPath();
  context.arc(...to, 6, 0, TURN);
  context.stroke();
}

/**
 * A ring with four short lines outwards.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number]} place
 */
function drawPoint(context, [x, y]) {
  const { card, second } = Theme.colours;
  context.beginPath();
  context.arc(x, y, 8, 0, TURN);
  for (const side of [-1, 1]) {
    context.moveTo(x + 8 * side, y);
    context.lineTo(x + 14 * side, y);
    context.moveTo(x, y + 8 * side);
    context.lineTo(x, y + 14 * side);
  }
  outlined(context, card, 5, second);
}

/**
 * The path in a colour, with a wider line in another one behind it.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {string} behind
 * @param {number} width
 * @param {string} colour
 */
function outlined(context, behind, width, colour) {
  context.strokeStyle = behind;
  context.lineWidth = width;
  context.stroke();
  context.strokeStyle = colour;
  context.lineWidth = 2.5;
  context.stroke();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number]} place
 * @param {string} text
 */
function drawPin(context, [x, y], text) {
  const { ink, card } = Theme.colours;
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x - 4, y - 8);
  context.lineTo(x + 4, y - 8);
  context.closePath();
  context.arc(x, y - 15, 9, 0, TURN);
  context.fillStyle = ink;
  context.strokeStyle = card;
  context.lineWidth = 2;
  context.stroke();
  context.fill();
  context.fillStyle = card;
  context.font = Theme.font(11, 700);
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, x, y - 14.5);
}

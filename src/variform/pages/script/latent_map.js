// The map: a plane of latent space with the data on it. What stands still is drawn once, what moves on a second canvas.

/**
 * @import { Plane } from "./geometry.js"
 * @import { Drawn } from "./dots.js"
 * @import { Gesture, Hand, Look, Marks, Place, Point, Region, Tool, World, Zoom } from "./types.js"
 */

import { prepare, ticks } from "./canvas.js";
import { Dots, drawnOf } from "./dots.js";
import { Frame } from "./frame.js";
import { densityOf, Picture } from "./geometry.js";
import { Gestures } from "./gestures.js";
import { drawDesigns } from "./marks.js";
import { cornersOf, lassoOf, rectangleOf } from "./region.js";
import { shown } from "./text.js";
import { hexOf, Theme } from "./theme.js";
import { Tooltip } from "./tooltip.js";

const TURN = 2 * Math.PI;
const FOG = 96; // cells of the fog along a side
const FINER = 4; // times as many pixels: smoothed once, not in every frame
const REACH = { mouse: 9, touch: 20 }; // pixels within which the pointer is on an example
const AXES = { left: 35, bottom: 23 }; // what they and their numbers take
const MOST_RINGS = 400; // about examples that are found

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
  _chosen = null;

  /** @type {Drawn | null} */
  _drawn = null;

  /** What the dots depend on beside their places. @type {unknown[]} */
  _drawnOf = [];

  /** @type {HTMLCanvasElement | null} */
  _fog = null;

  /** What the fog depends on beside its plane. @type {string | null} */
  _room = null;

  /** @type {Plane | null} */
  _plane = null;

  /** Of what is being selected, its corners on the screen. @type {Place[]} */
  _corners = [];

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
    this.dots = new Dots(() => this._paintAgain());
    this.tip = new Tooltip(host, world.examples, world.designs.aspect);
    this._listen();
  }

  _listen() {
    const { moving } = this;
    new Gestures(moving, this._gesture());
    moving.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.tip.hide();
    });
    moving.addEventListener("blur", () => this.tip.hide());
  }

  /** @returns {Gesture} */
  _gesture() {
    const { on } = this;
    const here = (/** @type {[number, number]} */ place) => this.look.plane.at(this.toPlane(...place), on.about());
    /** @type {Gesture} */
    const plain = {
      hover: (place, isTouch) => {
        this.tell(this.exampleAt(...place, isTouch ? REACH.touch : REACH.mouse));
        on.follow(here(place));
      },
      leave: () => {
        this.tip.hide();
        on.leave();
      },
      click: (place) => on.choose(here(place)),
      tap: (place) => on.keep(here(place)),
    };
    if (!on.zoom) return plain;
    const zoom = () => this.look.zoom ?? null;
    return {
      ...plain,
      isWhole: () => zoom() === null,
      whole: () => on.whole(),
      zoom: (factor, place) => this._zoom(this.whole.zoomed(zoom(), factor, place)),
      pan: (right, down) => this._zoom(this.whole.panned(zoom(), right, down)),
      tool: () => on.tool?.() ?? "move",
      draw: (way, tool) => this._drawSelecting(way.length && tool !== "lasso" ? cornersOf(onScreen(way)) : way),
      select: (way, tool) => {
        this._drawSelecting([]);
        on.select(this._regionOf(way, tool));
      },
    };
  }

  // What the hand does next before the next frame begins where this leads.
  /** @param {Zoom | null} zoom */
  _zoom(zoom) {
    this.tip.hide();
    this.look = { ...this.look, zoom };
    this.frame = this.whole.part(zoom);
    this.on.zoom(zoom);
  }

  /**
   * What a way on the screen selects; null where it goes round nothing.
   *
   * @param {Place[]} way
   * @param {Tool} tool
   * @returns {Region | null}
   */
  _regionOf(way, tool) {
    const places = way.map((place) => this.toPlane(...place));
    if (tool === "lasso") return lassoOf(places);
    const region = rectangleOf(places[0], places.at(-1));
    return region[2] > region[0] && region[3] > region[1] ? region : null;
  }

  /** @param {Place[]} corners on the screen; none where nothing is being selected */
  _drawSelecting(corners) {
    this._corners = corners;
    if (this._marks) this.mark(this._marks);
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
    const cells = this.look.plane.cellsOf(this.world.cloud);
    return cells.nearest(...this.toPlane(x, y), reach / this.scale, (i) => this._isShown(i));
  }

  /**
   * Whether an example is not faint.
   *
   * @param {number} i
   */
  _isShown(i) {
    return !this.look.chosen || this.look.chosen[i] === 1;
  }

  /** @param {[number, number]} place on the screen */
  _isBetweenAxes([x, y]) {
    return x > AXES.left && x < this.w && y > 0 && y < this.h - AXES.bottom;
  }

  /**
   * What stands still; draws only what has changed.
   *
   * @param {Look} look
   */
  show(look) {
    const { clientWidth: w, clientHeight: h } = this.host;
    if (!w || !h) return;
    const { plane, colour, marks, fog, chosen, study, validity, about, zoom, selection } = look;
    const off = validity ? plane.at([0, 0], about).join(",") : ""; // what the plane leaves as it is
    const room = [w, h, Theme.dark, plane.names, off, validity !== null].join("|");
    const part = [zoom?.by, zoom?.x, zoom?.y, selection];
    const seen = [marks, fog, study !== null, ...part];
    const key = [room, colour?.name, ...seen, devicePixelRatio].join("|");
    this.look = look;
    if (key === this._key && plane === this._plane && chosen === this._chosen) return;
    this.points = plane.placesOf(this.world.cloud);
    if (room !== this._room || plane !== this._plane) this._fog = null;
    this._key = key;
    this._room = room;
    this._chosen = chosen;
    this._plane = plane;
    this.w = w;
    this.h = h;
    this.whole = Frame.around(plane.isCurved ? Float32Array.from(plane.lines()[0].flat()) : this.points, w, h);
    this.frame = this.whole.part(zoom ?? null);
    this._drawStill();
  }

  /** All of the plane that can be shown. */
  get box() {
    return this.whole.box;
  }

  get scale() {
    return this.frame.scale;
  }

  /**
   * The place in the plane of a place on the screen.
   *
   * @param {number} x
   * @param {number} y
   */
  toPlane(x, y) {
    return this.frame.toPlane(x, y);
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  toScreen(x, y) {
    return this.frame.toScreen(x, y);
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
    context.save();
    context.beginPath();
    context.rect(AXES.left, 0, this.w - AXES.left, this.h - AXES.bottom);
    context.clip();
    for (const line of this.look.plane.lines())
      drawLine(
        context,
        line.map((place) => this.toScreen(...place)),
      );
    if (this.look.marks === "pictures") this._drawPictures(context);
    else this._drawDots(context);
    if (this.look.study) drawDesigns(context, this.look.study, (z) => this.toScreen(...this.look.plane.place(z)));
    if (this.look.selection) this._drawSelection(context);
    context.restore();
    prepare(this.moving, this.w, this.h);
  }

  /** @param {CanvasRenderingContext2D} context */
  _drawSelection(context) {
    const corners = cornersOf(this.look.selection).map((place) => this.toScreen(...place));
    drawRegion(context, corners);
  }

  // The fog is that of all of the plane, so that it means the same whatever part is shown.
  /** @param {CanvasRenderingContext2D} context */
  _drawFog(context) {
    this._fog ??= this._pictureOfFog();
    const { x0, x1, y0, y1 } = this.box;
    const [left, top] = this.toScreen(x0, y1);
    const [right, bottom] = this.toScreen(x1, y0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "low";
    context.drawImage(this._fog, left, top, right - left, bottom - top);
  }

  _pictureOfFog() {
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
    return smoothed(small, FINER * FOG);
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
    if (!(this.look.plane instanceof Picture)) {
      this._drawTicksAcross(context);
      if (this.look.plane.second) this._drawTicksUp(context);
    }
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
    const { x0, x1 } = this.frame.box;
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (const value of ticks(x0, x1, Math.max(3, Math.round(this.w / 110)))) {
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
    const { y0, y1 } = this.frame.box;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const value of ticks(y0, y1, Math.max(3, Math.round(this.h / 110)))) {
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
    const { frame, still, w } = this;
    const ratio = still.width / w;
    const place = {
      w: still.width,
      h: still.height,
      left: ratio * (frame.centre[0] - frame.middle[0] * frame.scale),
      top: ratio * (frame.centre[1] + frame.middle[1] * frame.scale),
      scale: ratio * frame.scale,
      radius: Math.round(4 * ratio * this._radius) / 4,
    };
    const { canvas, place: painted, isExact } = this.dots.paint(this._dotsToDraw(), place);
    const larger = place.scale / painted.scale;
    const [x, y] = [place.left - painted.left * larger, place.top - painted.top * larger];
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.imageSmoothingEnabled = !isExact;
    context.drawImage(canvas, x, y, painted.w * larger, painted.h * larger);
    context.restore();
  }

  // The hand rests.
  _paintAgain() {
    this._key = null;
    this.show(this.look);
    this.mark(this._marks);
  }

  // Of a dot, in pixels: the smaller the more there are, the larger the nearer one looks.
  get _radius() {
    const usual = Math.max(1.6, Math.min(3.4, 3.9 - Math.log10(this.world.cloud.count) / 2 + this.w / 1500));
    return usual * Math.min(2, (this.scale / this.whole.scale) ** 0.2);
  }

  _dotsToDraw() {
    const { colour, chosen } = this.look;
    const depends = [this.points, colour?.places, colour?.shades, chosen, Theme.dark];
    if (!this._drawn || depends.some((value, k) => value !== this._drawnOf[k])) {
      this._drawnOf = depends;
      this._drawn = drawnOf(this.points, colour?.places ?? null, colour?.shades ?? [Theme.colours.accent], chosen);
    }
    return this._drawn;
  }

  /**
   * Thumbnails where there is room for them: the first in the seeded order of the rows takes the place. The places move
   * with the plane.
   *
   * @param {CanvasRenderingContext2D} context
   */
  _drawPictures(context) {
    const { designs, examples, order } = this.world;
    const { colour } = this.look;
    const side = Math.max(20, Math.min(44, this.w / 22)) * (designs.lines ? 1.5 : 1);
    const [w, h] = designs.aspect >= 1 ? [side, side / designs.aspect] : [side * designs.aspect, side];
    const step = [w + 5, h + 5];
    const [across, down] = this.toScreen(0, 0);
    const taken = new Set();
    this._pictures = [];
    for (const i of order) {
      if (!this._isShown(i)) continue;
      const [x, y] = this._placeOf(i);
      if (!Number.isFinite(x)) continue;
      const cell = [Math.round((x - across) / step[0]), Math.round((y - down) / step[1])];
      const name = cell.join(" ");
      if (taken.has(name)) continue;
      taken.add(name);
      const left = Math.round(across + cell[0] * step[0] - w / 2);
      const top = Math.round(down + cell[1] * step[1] - h / 2);
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
   * What moves: the point, its nearest example, pins, a way, and what is found.
   *
   * @param {Marks} marks
   */
  mark(marks) {
    const { z, near = -1, pins = [], way = null, found = [] } = marks;
    this._marks = marks;
    if (!this.points) return;
    const context = this.moving.getContext("2d");
    const where = (/** @type {Point} */ point) => this.toScreen(...this.look.plane.place(point));
    context.clearRect(0, 0, this.w, this.h);
    if (way) drawWay(context, way.map(where));
    const rings = found.map((i) => this._placeOf(i)).filter((place) => this._isBetweenAxes(place));
    for (const place of rings.slice(0, MOST_RINGS)) drawRing(context, place);
    if (this._corners.length) drawRegion(context, this._corners);
    if (near >= 0) drawNearest(context, where(z), this._placeOf(near));
    pins.forEach((pin, i) => {
      drawPin(context, where(pin), String(i + 1));
    });
    drawPoint(context, where(z));
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Place[]} places
 */
function drawLine(context, places) {
  context.strokeStyle = Theme.colours.line;
  context.lineWidth = 1;
  context.beginPath();
  for (const [x, y] of places) context.lineTo(x, y);
  context.stroke();
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
 * A ring about an example that is found.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number]} place
 */
function drawRing(context, place) {
  const { card, accent } = Theme.colours;
  context.beginPath();
  context.arc(...place, 6, 0, TURN);
  outlined(context, card, 4, accent);
}

/**
 * A square picture with more pixels.
 *
 * @param {HTMLCanvasElement} picture
 * @param {number} side
 */
function smoothed(picture, side) {
  const larger = document.createElement("canvas");
  larger.width = side;
  larger.height = side;
  const context = larger.getContext("2d");
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, side, side);
  return larger;
}

/**
 * The rectangle between the first and the last place of a way.
 *
 * @param {Place[]} way
 */
function onScreen(way) {
  const [[ax, ay], [bx, by]] = [way[0], way.at(-1)];
  return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Place[]} corners
 */
function drawRegion(context, corners) {
  const { accent } = Theme.colours;
  context.beginPath();
  for (const corner of corners) context.lineTo(...corner);
  context.closePath();
  context.strokeStyle = accent;
  context.fillStyle = accent;
  context.lineWidth = 1.5;
  context.globalAlpha = 0.08;
  context.fill();
  context.globalAlpha = 1;
  context.setLineDash([5, 3]);
  context.stroke();
  context.setLineDash([]);
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

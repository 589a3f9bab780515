// Curves and outlines: rows whose values are points of a line in a plane.

/**
 * @import { Box, Line } from "./types.js"
 */

import { ticks } from "./canvas.js";
import { shown } from "./text.js";
import { Theme } from "./theme.js";
import { t } from "./words.js";

const MARGINS = { left: 50, right: 18, top: 8, bottom: 34 }; // for the axes of a plot

/**
 * How a line is drawn.
 *
 * @typedef {object} Pen
 * @property {string} colour
 * @property {number} width
 * @property {boolean} [filled] whether what a closed line encloses has the colour, faintly
 */

export class Lines {
  /** @param {Line} line */
  constructor(line) {
    const [x0, x1, y0, y1] = line.box;
    this.line = line;
    this.width = x1 - x0 || 1;
    this.height = y1 - y0 || 1;
    this.isEqual = line.scale === "equal";
    this.aspect = this.isEqual ? Math.max(0.4, Math.min(2.5, this.width / this.height)) : 1.6;
  }

  /**
   * The points of a design, x and y of one after another.
   *
   * @param {ArrayLike<number>} values
   */
  points(values) {
    const { x, places, y } = this.line;
    return Float64Array.from({ length: 2 * y.length }, (_, at) => {
      const k = at >> 1;
      if (at % 2) return values[y[k]];
      return x ? values[x[k]] : places[k];
    });
  }

  /**
   * Where x and y lie in a box on the screen, whose y leads downwards: with one scale where both have one.
   *
   * @param {Box} box
   */
  frame({ x, y, w, h }) {
    const [x0, x1, y0, y1] = this.line.box;
    let across = w / this.width;
    let up = h / this.height;
    if (this.isEqual) across = up = Math.min(across, up);
    const middle = [(x0 + x1) / 2, (y0 + y1) / 2];
    return {
      across,
      up,
      x: (/** @type {number} */ value) => x + w / 2 + (value - middle[0]) * across,
      y: (/** @type {number} */ value) => y + h / 2 - (value - middle[1]) * up,
      range: [middle[0] - w / 2 / across, middle[0] + w / 2 / across, middle[1] - h / 2 / up, middle[1] + h / 2 / up],
    };
  }

  /**
   * The line of a design; missing points leave it open.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {ArrayLike<number>} values
   * @param {Box} box
   * @param {Pen} pen
   */
  draw(context, values, box, { colour, width, filled = false }) {
    const frame = this.frame(box);
    const points = this.points(values);
    context.save();
    context.beginPath();
    context.rect(box.x - 2, box.y - 2, box.w + 4, box.h + 4);
    context.clip();
    context.beginPath();
    let isDrawing = false;
    let isWhole = true;
    for (let at = 0; at < points.length; at += 2) {
      const isThere = Number.isFinite(points[at]) && Number.isFinite(points[at + 1]);
      if (isThere && isDrawing) context.lineTo(frame.x(points[at]), frame.y(points[at + 1]));
      else if (isThere) context.moveTo(frame.x(points[at]), frame.y(points[at + 1]));
      isDrawing = isThere;
      isWhole &&= isThere;
    }
    if (this.line.closed && isWhole) context.closePath();
    if (filled && this.line.closed) this._fill(context, colour);
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.stroke();
    context.restore();
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} colour
   */
  _fill(context, colour) {
    context.fillStyle = colour;
    context.globalAlpha = 0.12;
    context.fill();
    context.globalAlpha = 1;
  }

  /**
   * How high a plot is that is so wide.
   *
   * @param {number} w
   * @param {number} most without its axes
   */
  heightOf(w, most) {
    const { left, right, top, bottom } = MARGINS;
    const inside = (w - left - right) / (this.isEqual ? this.width / this.height : 1.8);
    return Math.round(Math.max(80, Math.min(most, inside)) + top + bottom);
  }

  /**
   * A design with its axes, and over it another one to compare it with.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {ArrayLike<number>} values
   * @param {ArrayLike<number> | null} other
   * @param {{ w: number, h: number }} size
   * @param {Float32Array | null} spread the standard deviation of each value
   */
  plot(context, values, other, { w, h }, spread = null) {
    const { accent, second } = Theme.colours;
    const { left, right, top, bottom } = MARGINS;
    const box = { x: left, y: top, w: w - left - right, h: h - top - bottom };
    context.clearRect(0, 0, w, h);
    this._axes(context, box);
    this.draw(context, values, box, { colour: accent, width: 2.5, filled: true });
    if (other) this.draw(context, other, box, { colour: second, width: 1.5 });
    if (!spread) return;
    for (const way of [-1, 1]) this.draw(context, this._moved(values, spread, way), box, { colour: accent, width: 1 });
  }

  /**
   * The line moved upwards by what its points spread, or downwards.
   *
   * @param {ArrayLike<number>} values
   * @param {Float32Array} spread
   * @param {number} way
   */
  _moved(values, spread, way) {
    const moved = Float32Array.from(values);
    for (const column of this.line.y) moved[column] += way * spread[column];
    return moved;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Box} box
   */
  _axes(context, box) {
    const { soft, line } = Theme.colours;
    const frame = this.frame(box);
    const [x0, x1, y0, y1] = frame.range;
    const [unitOfX, unitOfY] = this.line.axes;
    context.font = Theme.font(11);
    context.fillStyle = soft;
    context.strokeStyle = line;
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const value of ticks(y0, y1, Math.max(2, box.h / 40))) {
      const y = Math.round(frame.y(value)) + 0.5;
      segment(context, [box.x, y], [box.x + box.w, y]);
      context.fillText(shown(value), box.x - 6, y);
    }
    const bottom = box.y + box.h;
    context.textAlign = "center";
    context.textBaseline = "top";
    if (this.line.scale !== "unknown") {
      for (const value of ticks(x0, x1, Math.max(2, box.w / 70))) {
        const x = Math.round(frame.x(value)) + 0.5;
        segment(context, [x, bottom], [x, bottom + 4]);
        context.fillText(shown(value), x, bottom + 6);
      }
    }
    const words = this.line.scale === "unknown" ? t`places x are not known` : unitOfX;
    context.fillText(words, box.x + box.w / 2, bottom + 19);
    if (!unitOfY) return;
    context.textAlign = "left";
    context.fillText(unitOfY, 2, bottom + 19);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number]} from
 * @param {[number, number]} to
 */
function segment(context, from, to) {
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}

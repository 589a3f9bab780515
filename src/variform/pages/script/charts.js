// Charts with two axes of numbers, on a canvas.

/**
 * @import { Box } from "./types.js"
 */

import { prepare, ticks } from "./canvas.js";
import { shown } from "./text.js";
import { Theme } from "./theme.js";

const DASHES = [[], [7, 4], [2, 3]];

/**
 * How the curve at i looks: a colour of the palette, and when these are used up dashes.
 *
 * @param {number} i
 */
export function strokeOf(i) {
  const { palette } = Theme;
  const dashes = DASHES[Math.floor(i / palette.length) % DASHES.length];
  return { colour: palette[i % palette.length], dashes };
}

/**
 * The least and the greatest of numbers, with some room; what is not finite is left out.
 *
 * @param {Iterable<number>} values
 * @returns {[number, number]}
 */
export function rangeOf(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  const room = 0.06 * (high - low) || Math.abs(low) / 10 || 1;
  return [low - room, high + room];
}

export class Chart {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number} w
   * @param {number} h
   * @param {{ x: [number, number], y: [number, number], across: string, up: string }} axes ranges and names
   */
  constructor(canvas, w, h, { x, y, across, up }) {
    this.context = prepare(canvas, w, h);
    this.x = x;
    this.y = y;
    /** @type {Box} */
    this.box = { x: 58, y: 24, w: w - 70, h: h - 66 };
    this.context.clearRect(0, 0, w, h);
    this._frame(across, up);
  }

  /**
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]}
   */
  place(x, y) {
    const { box } = this;
    const right = (x - this.x[0]) / (this.x[1] - this.x[0]);
    const up = (y - this.y[0]) / (this.y[1] - this.y[0]);
    return [box.x + right * box.w, box.y + (1 - up) * box.h];
  }

  /**
   * @param {string} across
   * @param {string} up
   */
  _frame(across, up) {
    const { context, box } = this;
    const { soft, line } = Theme.colours;
    context.font = Theme.font(11);
    context.fillStyle = soft;
    context.strokeStyle = line;
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const value of ticks(...this.y, Math.max(2, Math.round(box.h / 48)))) {
      const y = Math.round(this.place(this.x[0], value)[1]) + 0.5;
      if (y < box.y - 1 || y > box.y + box.h + 1) continue;
      this._line([box.x, y], [box.x + box.w, y]);
      context.fillText(shown(value), box.x - 7, y);
    }
    context.textBaseline = "top";
    context.textAlign = "center";
    for (const value of ticks(...this.x, Math.max(2, Math.round(box.w / 80)))) {
      const x = Math.round(this.place(value, this.y[0])[0]) + 0.5;
      if (x < box.x - 1 || x > box.x + box.w + 1) continue;
      this._line([x, box.y + box.h], [x, box.y + box.h + 4]);
      context.fillText(shown(value), x, box.y + box.h + 8);
    }
    context.font = Theme.font(11.5, 600);
    context.fillText(across, box.x + box.w / 2, box.y + box.h + 25);
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    context.fillText(up, 8, 13);
  }

  /**
   * @param {[number, number]} from
   * @param {[number, number]} to
   */
  _line(from, to) {
    this.context.beginPath();
    this.context.moveTo(...from);
    this.context.lineTo(...to);
    this.context.stroke();
  }

  /**
   * A band between two curves of which the first point stands at x = 1.
   *
   * @param {Float32Array} low
   * @param {Float32Array} high
   * @param {string} colour
   */
  band(low, high, colour) {
    const { context } = this;
    const known = Array.from(low.keys()).filter((i) => Number.isFinite(low[i]) && Number.isFinite(high[i]));
    context.beginPath();
    for (const i of known) context.lineTo(...this.place(i + 1, low[i]));
    for (const i of known.reverse()) context.lineTo(...this.place(i + 1, high[i]));
    context.closePath();
    context.globalAlpha = 0.15;
    context.fillStyle = colour;
    context.fill();
    context.globalAlpha = 1;
  }

  /**
   * A line through points; it begins anew after one that is not finite.
   *
   * @param {[number, number][]} points
   * @param {string} colour
   * @param {number[]} dashes
   */
  line(points, colour, dashes = [], width = 2) {
    const { context } = this;
    let isDrawing = false;
    context.beginPath();
    for (const point of points) {
      const isKnown = point.every(Number.isFinite);
      if (isKnown && isDrawing) context.lineTo(...this.place(...point));
      else if (isKnown) context.moveTo(...this.place(...point));
      isDrawing = isKnown;
    }
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.setLineDash(dashes);
    context.stroke();
    context.setLineDash([]);
  }

  /**
   * @param {[number, number]} point
   * @param {string} colour
   * @param {number} radius
   */
  dot(point, colour, radius, opacity = 1) {
    const { context } = this;
    if (!point.every(Number.isFinite)) return;
    context.globalAlpha = opacity;
    context.beginPath();
    context.arc(...this.place(...point), radius, 0, 2 * Math.PI);
    context.fillStyle = colour;
    context.fill();
    context.globalAlpha = 1;
  }

  /**
   * Draw what may lie outside of the axes, and is cut off there.
   *
   * @param {() => void} draw
   */
  within(draw) {
    const { context, box } = this;
    context.save();
    context.beginPath();
    context.rect(box.x, box.y, box.w, box.h);
    context.clip();
    draw();
    context.restore();
  }

  /**
   * @param {string} words
   * @param {[number, number]} point
   * @param {string} colour
   */
  words(words, point, colour) {
    const { context, box } = this;
    const [x, y] = this.place(...point);
    context.font = Theme.font(11);
    context.fillStyle = colour;
    context.textAlign = "left";
    context.textBaseline = "bottom";
    const left = Math.min(x, box.x + box.w - context.measureText(words).width);
    const bottom = Math.max(box.y + 12, y - 3);
    context.strokeStyle = Theme.colours.paper;
    context.lineWidth = 4;
    context.strokeText(words, left, bottom);
    context.fillText(words, left, bottom);
  }
}

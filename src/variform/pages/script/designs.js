// Designs: how one example looks: an image, a row of a table, a curve or an outline.

/**
 * @import { Box, Column, EventOfData, RowsOfData, Sheet } from "./types.js"
 */

import { bytesOf, floatsOf } from "./bytes.js";
import { tileOf } from "./canvas.js";
import { Lines } from "./lines.js";
import { float32Text, shown } from "./text.js";
import { Theme } from "./theme.js";
import { t } from "./words.js";

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
const within = (value, low, high) => Math.max(low, Math.min(high, value));

/**
 * A box with a margin on all sides.
 *
 * @param {Box} box
 * @param {number} margin
 */
const inset = ({ x, y, w, h }, margin) => ({ x: x + margin, y: y + margin, w: w - 2 * margin, h: h - 2 * margin });

export class Designs {
  /** @param {EventOfData} event */
  constructor(event) {
    this.event = event;
    this.kind = event.kind;
    this.size = event.shape.reduce((product, side) => product * side, 1);
    this.columns = event.columns ?? [];
    this.lines = event.line ? new Lines(event.line) : null; // of curves and outlines
    this.aspect = this.lines?.aspect ?? 1;
    this.lows = [event.range[0]].flat(); // of an image one a channel
    this.highs = [event.range[1]].flat();
    this.low = this.lows[0];
    this.high = this.highs[0];
    this.channels = event.shape[0]; // of an image, as are height and width
    this.height = event.shape[1];
    this.width = event.shape[2];
    if (this.kind === "image") this.aspect = this.width / this.height;
    this.areWide = this.kind !== "image";
    this.areAllReal = this.columns.every(({ kind }) => kind === "real");
  }

  /**
   * The numbers of the design at i of many.
   *
   * @param {Float32Array} values
   * @param {number} i
   */
  part(values, i) {
    return values.subarray(i * this.size, (i + 1) * this.size);
  }

  /**
   * Many designs, ready to be drawn one by one.
   *
   * @param {Float32Array} values
   * @param {number} count
   * @returns {Sheet}
   */
  sheet(values, count = values.length / this.size) {
    if (this.kind !== "image") return { draw: (context, i, box) => this._glyph(context, this.part(values, i), box) };
    const across = Math.max(1, Math.ceil(Math.sqrt(count)));
    const canvas = document.createElement("canvas");
    canvas.width = across * this.width;
    canvas.height = Math.max(1, Math.ceil(count / across)) * this.height;
    const picture = new ImageData(canvas.width, canvas.height);
    for (let i = 0; i < count; i++) {
      const left = (i % across) * this.width;
      const top = Math.floor(i / across) * this.height;
      this._pixels(picture, this.part(values, i), left, top);
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
    return { draw: tileOf(canvas, across, this.width, this.height) };
  }

  /**
   * The real examples, or evaluated designs: of images one picture, else values.
   *
   * @param {Pick<RowsOfData, "values" | "picture">} rows
   * @returns {Promise<Sheet & { values: Float32Array | null }>}
   */
  async examples(rows) {
    if (this.kind !== "image") {
      const values = floatsOf(rows.values);
      return { ...this.sheet(values), values };
    }
    const { data, type, across, width, height } = rows.picture;
    const picture = await createImageBitmap(new Blob([bytesOf(data)], { type }));
    return { draw: tileOf(picture, across, width, height), values: null };
  }

  /**
   * @param {ImageData} picture
   * @param {Float32Array} values
   * @param {number} left
   * @param {number} top
   */
  _pixels(picture, values, left, top) {
    const area = this.width * this.height;
    // Grey thrice, the second of two channels twice, or the first three.
    const shown = this.channels > 2 ? [0, 1, 2] : [0, this.channels - 1, this.channels - 1];
    const factors = shown.map((channel) => 255 / (this.highs[channel] - this.lows[channel] || 1));
    for (let row = 0; row < this.height; row++) {
      let at = 4 * ((top + row) * picture.width + left);
      for (let column = 0; column < this.width; column++, at += 4) {
        const place = row * this.width + column;
        for (let colour = 0; colour < 3; colour++) {
          const channel = shown[colour];
          const value = values[place + channel * area];
          picture.data[at + colour] = (value - this.lows[channel]) * factors[colour] + 0.5; // clamped by its type
        }
        picture.data[at + 3] = 255;
      }
    }
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Float32Array} values
   * @param {Box} box
   */
  _glyph(context, values, box) {
    const { panel, accent } = Theme.colours;
    context.fillStyle = panel;
    context.fillRect(box.x, box.y, box.w, box.h);
    if (this.lines) this.lines.draw(context, values, inset(box, 3), { colour: accent, width: box.w > 160 ? 2 : 1.4 });
    else this._bars(context, values, inset(box, 3));
  }

  /**
   * One bar a column, from the least to the greatest value of the data.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {Float32Array} values
   * @param {Box} box
   */
  _bars(context, values, { x, y, w, h }) {
    const count = Math.min(this.size, Math.max(1, Math.floor(h / 3)));
    const step = h / count;
    const height = Math.max(1, step - 1);
    for (let k = 0; k < count; k++) {
      const share = this.share(k, values[k]);
      context.fillStyle = Theme.colours.line;
      context.fillRect(x, y + k * step, w, height);
      if (share === null) continue;
      context.fillStyle = Theme.colours.accent;
      context.fillRect(x, y + k * step, Math.max(1, w * share), height);
    }
  }

  /**
   * Where a value lies between the least and the greatest of its column, in [0, 1]; null for a missing one.
   *
   * @param {number} column
   * @param {number} value
   */
  share(column, value) {
    if (!Number.isFinite(value)) return null;
    const { low, high } = this.columns[column];
    return high > low ? within((value - low) / (high - low), 0, 1) : 0.5;
  }

  /**
   * A value of a column as a table holds it: whole numbers and categories are rounded.
   *
   * @param {number} column
   * @param {number} value
   */
  tidy(column, value) {
    const { kind, categories, whole, low, high } = this.columns[column];
    if (!Number.isFinite(value)) return Number.NaN;
    if (categories.length) return within(Math.round(value), 0, categories.length - 1);
    if (kind === "count") return Math.max(0, Math.round(value));
    if (this.areAllReal) return value;
    const rounded = whole ? Math.round(value) : value;
    return kind === "real" || kind === "positive" ? rounded : within(rounded, low, high);
  }

  /**
   * @param {number} column
   * @param {number} value
   */
  text(column, value) {
    const { categories, low, high, whole, kind } = this.columns[column];
    const tidy = this.tidy(column, value);
    if (!Number.isFinite(tidy)) return t`missing`;
    if (categories.length) return categories[tidy];
    if (whole && kind !== "real") return shown(tidy, 1);
    return shown(tidy, (high - low) / 500 || 0);
  }

  /**
   * The design as rows of a .csv file.
   *
   * @param {Float32Array} values
   */
  cells(values) {
    if (this.kind !== "image") {
      const row = this.columns.map((column, k) => this._cell(column, this.tidy(k, values[k])));
      return [this.columns.map(({ full }) => full), row];
    }
    const numbered = Array.from({ length: this.channels }, (_, channel) => `channel ${channel + 1}`);
    const names = { 1: ["value"], 3: ["red", "green", "blue"] }[this.channels] ?? numbered;
    const area = this.width * this.height;
    /** @type {(string | number)[][]} */
    const rows = [["row", "column", ...names]];
    for (let i = 0; i < area; i++) {
      const pixel = names.map((_, channel) => float32Text(values[channel * area + i]));
      rows.push([Math.floor(i / this.width), i % this.width, ...pixel]);
    }
    return rows;
  }

  /**
   * @param {Column} column
   * @param {number} value
   */
  _cell({ categories }, value) {
    const isCategory = categories.length && Number.isFinite(value);
    return isCategory ? categories[value] : float32Text(value);
  }
}

// Pictures of examples: those that stand in the page, and of the others what the model makes of their posterior means.

/**
 * @import { Box, ColourColumn, Condition, Draw, Point, Sheet } from "./types.js"
 * @import { Designs } from "./designs.js"
 */

import { numbersOf } from "./colouring.js";
import { Theme } from "./theme.js";

const MOST_KEPT = 400; // pictures that were decoded

export class Thumbnails {
  /** Of examples without a picture in the page. @type {Map<number, Sheet | null>} */
  _made = new Map();

  /**
   * @param {Draw} draw the picture at a place of those in the page
   * @param {number[] | null} rows the examples that have one, in order; null for all
   * @param {number} count of examples
   * @param {(i: number) => Sheet | Promise<Sheet> | null} rebuilt what the model makes of an example
   * @param {() => void} ready a picture has come that was asked for
   */
  constructor(draw, rows, count, rebuilt, ready) {
    this.inPage = draw;
    this.rebuilt = rebuilt;
    this.ready = ready;
    this.places = rows ? new Int32Array(count).fill(-1) : null;
    rows?.forEach((i, at) => {
      this.places[i] = at;
    });
  }

  /**
   * Whether the picture of an example is that of its own.
   *
   * @param {number} i
   */
  isReal(i) {
    return !this.places || this.places[i] >= 0;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} i an example
   * @param {Box} box
   */
  draw(context, i, box) {
    if (this.isReal(i)) {
      this.inPage(context, this.places ? this.places[i] : i, box);
      return;
    }
    const sheet = this._sheetOf(i);
    if (sheet) sheet.draw(context, 0, box);
    else {
      context.fillStyle = Theme.colours.panel;
      context.fillRect(box.x, box.y, box.w, box.h);
    }
  }

  /** @param {number} i */
  _sheetOf(i) {
    if (this._made.has(i)) return this._made.get(i);
    if (this._made.size >= MOST_KEPT) this._made.clear();
    const made = this.rebuilt(i);
    if (!(made instanceof Promise)) {
      this._made.set(i, made);
      return made;
    }
    this._made.set(i, null);
    made.then((sheet) => {
      this._made.set(i, sheet);
      this.ready();
    });
    return null;
  }
}

/**
 * What a conditional model was given of an example; null where the page does not know all of it.
 *
 * @param {Condition[]} conditions
 * @param {ColourColumn[]} columns
 * @param {number} i an example
 */
export function contextOf(conditions, columns, i) {
  /** @type {number[]} */
  const context = [];
  for (const { name, categories, shift, scale } of conditions) {
    const kind = categories.length ? "category" : "number";
    const column = columns.find((one) => one.name === name && one.kind === kind);
    if (!column) return null;
    const value = numbersOf(column)[i];
    if (categories.length) context.push(...categories.map((_, k) => (k === value ? 1 : 0)));
    else context.push((value - shift) / scale);
  }
  return Float32Array.from(context);
}

// What a conditional model was told in training, counted by cells as in conditions.py: of each condition a category, or
// an interval of a number about low + i * step.

/**
 * @import { Condition, Counted } from "./types.js"
 */

import { shown } from "./text.js";
import { t } from "./words.js";

/** @param {number} count */
const counted = (count) => count.toLocaleString("en");

export class Occupancy {
  /**
   * @param {Counted} counts
   * @param {Condition[]} conditions
   */
  constructor({ rows, few, low, high, step, cells, counts }, conditions) {
    this.rows = rows;
    this.few = few;
    this.low = low;
    this.high = high;
    this.step = step;
    this.cells = cells;
    this.counts = counts;
    this.conditions = conditions;
  }

  /**
   * Of each condition a number in its own unit, or the number of a category.
   *
   * @param {Float32Array} context
   */
  values(context) {
    let start = 0;
    return this.conditions.map(({ categories, shift, scale }) => {
      const part = context.slice(start, start + (categories.length || 1));
      start += part.length;
      return categories.length ? part.indexOf(1) : part[0] * scale + shift;
    });
  }

  /**
   * @param {number} k a condition
   * @param {number} value
   */
  cell(k, value) {
    return this.step[k] ? Math.floor((value - this.low[k]) / this.step[k] + 0.5) : value;
  }

  /**
   * How many training rows are near in the conditions at `places`, all together.
   *
   * @param {number[]} values
   * @param {number[]} places
   */
  near(values, places = values.map((_, k) => k)) {
    const own = values.map((value, k) => this.cell(k, value));
    const reach = this.step.map((step) => (step ? 1 : 0));
    const isNear = (/** @type {number[]} */ cell) => places.every((k) => Math.abs(cell[k] - own[k]) <= reach[k]);
    return this.cells.reduce((sum, cell, i) => (isNear(cell) ? sum + this.counts[i] : sum), 0);
  }

  /**
   * @param {number} k a condition
   * @param {number} value
   */
  isOutside(k, value) {
    const error = 1e-5 * (this.high[k] - this.low[k]);
    return this.step[k] > 0 && (value < this.low[k] - error || value > this.high[k] + error);
  }

  /**
   * What must be said of a context; empty where training rows enough are near.
   *
   * @param {Float32Array} context
   */
  remark(context) {
    const values = this.values(context);
    const count = this.near(values);
    const outside = [...values.keys()].filter((k) => this.isOutside(k, values[k]));
    if (!outside.length && count >= this.few) return "";
    const ranges = outside.map((k) => this._range(k)).join("");
    const [near, all] = [counted(count), counted(this.rows)];
    const alone = this._alone(values);
    if (count === 1)
      return ranges + t`${near} of ${all} training rows is near this condition${alone}: what is decoded is a guess.`;
    return ranges + t`${near} of ${all} training rows are near this condition${alone}: what is decoded is a guess.`;
  }

  /** @param {number} k a condition */
  _range(k) {
    const { name } = this.conditions[k];
    return `${t`${name} lies outside the data, which go from ${shown(this.low[k])} to ${shown(this.high[k])}.`} `;
  }

  /** @param {number[]} values */
  _alone(values) {
    if (values.length < 2) return "";
    const alone = this.conditions.map(({ name }, k) => t`${counted(this.near(values, [k]))} near ${name}`);
    return `; ${t`alone, ${alone.join(", ")}`}`;
  }
}

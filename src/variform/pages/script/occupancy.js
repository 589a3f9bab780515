// What a conditional model was told in training, counted by cells.

import { shown } from "./text.js";

// What a conditional model was told in training, counted by cells as in conditions.py: of each condition a category, or an
// interval of a number about low + i * step.
export class Occupancy {
  constructor(counted, conditions) {
    Object.assign(this, counted, { conditions });
  }

  // Of each condition a number in its own unit, or the number of a category.
  values(context) {
    let start = 0;
    return this.conditions.map(({ categories, shift, scale }) => {
      const part = context.slice(start, start + (categories.length || 1));
      start += part.length;
      return categories.length ? part.indexOf(1) : part[0] * scale + shift;
    });
  }

  cell(k, value) {
    return this.step[k] ? Math.floor((value - this.low[k]) / this.step[k] + 0.5) : value;
  }

  // How many training rows are near in the conditions at `places`, all together.
  near(values, places = values.map((_, k) => k)) {
    const own = values.map((value, k) => this.cell(k, value));
    let sum = 0;
    this.cells.forEach((cell, i) => {
      if (places.every((k) => Math.abs(cell[k] - own[k]) <= (this.step[k] ? 1 : 0))) sum += this.counts[i];
    });
    return sum;
  }

  isOutside(k, value) {
    const error = 1e-5 * (this.high[k] - this.low[k]);
    return this.step[k] > 0 && (value < this.low[k] - error || value > this.high[k] + error);
  }

  // What must be said of a context; empty where training rows enough are near.
  remark(context) {
    const values = this.values(context);
    const count = this.near(values);
    const outside = values.flatMap((value, k) => (this.isOutside(k, value) ? [k] : []));
    if (!outside.length && count >= this.few) return "";
    const ranges = outside.map(
      (k) =>
        `${this.conditions[k].name} lies outside the data, which go from ${shown(this.low[k])} to ${shown(this.high[k])}. `,
    );
    const alone = values.map(
      (_, k) => `${this.near(values, [k]).toLocaleString("en")} near ${this.conditions[k].name}`,
    );
    const apart = values.length > 1 ? `; alone, ${alone.join(", ")}` : "";
    return `${ranges.join("")}${count.toLocaleString("en")} of ${this.rows.toLocaleString("en")} training rows ${count === 1 ? "is" : "are"} near this condition${apart}: what is decoded is a guess.`;
  }
}

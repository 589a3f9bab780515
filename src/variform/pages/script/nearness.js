// How near the examples are to a point: in latent space, and of a conditional model in its conditions too.

/**
 * @import { ColourColumn, Condition } from "./types.js"
 */

import { numbersOf } from "./colouring.js";
import { Cloud } from "./geometry.js";

export class Nearness {
  /**
   * @param {Cloud} cloud the posterior means
   * @param {Condition[]} conditions
   * @param {ColourColumn[]} columns what is known of the examples, conditions among it
   */
  constructor(cloud, conditions, columns) {
    this.latent = cloud;
    this.numbers = [];
    this.categories = [];
    let start = 0;
    for (const { name, categories, shift, scale } of conditions) {
      const size = categories.length;
      const kind = size ? "category" : "number";
      const column = columns.find((one) => one.name === name && one.kind === kind);
      if (column && size) this.categories.push({ start, size, values: numbersOf(column) });
      else if (column) {
        const values = Float32Array.from(numbersOf(column), (value) => (value - shift) / scale);
        this.numbers.push({ start, values });
      }
      start += size || 1;
    }
    this.cloud = this.numbers.length ? this._widened() : cloud;
    this.groups = this.categories.length ? this._groups() : null;
  }

  /**
   * The nearest example among those of the categories that are given, or of all where none has these. Its distance
   * counts numbers that are given like further latents, in standard deviations.
   *
   * @param {ArrayLike<number>} z
   * @param {Float32Array} context
   */
  nearest(z, context) {
    const place = [...Array.from(z), ...this.numbers.map(({ start }) => context[start])];
    if (this.groups) {
      const group = this._group(({ start, size }) => context.subarray(start, start + size).indexOf(1));
      const found = this.cloud.nearest(place, this.groups, group);
      if (found.index >= 0) return found;
    }
    const found = this.cloud.nearest(place);
    return found.index < 0 ? this.latent.nearest(z) : found;
  }

  /** @param {number} distance of `nearest` */
  strangeness(distance) {
    return this.cloud.strangeness(distance);
  }

  get limit() {
    return this.cloud.limit;
  }

  _widened() {
    const { count, dim, means } = this.latent;
    const width = dim + this.numbers.length;
    const places = new Float32Array(count * width);
    for (let i = 0; i < count; i++) {
      places.set(means.subarray(i * dim, (i + 1) * dim), i * width);
      this.numbers.forEach(({ values }, k) => {
        places[i * width + dim + k] = values[i];
      });
    }
    return new Cloud(places, width);
  }

  _groups() {
    return Int32Array.from({ length: this.latent.count }, (_, i) => this._group(({ values }) => values[i]));
  }

  /**
   * One number for a category of each condition, where -1 is none.
   *
   * @param {(condition: { start: number, size: number, values: ArrayLike<number> }) => number} categoryOf
   */
  _group(categoryOf) {
    return this.categories.reduce((group, one) => group * (one.size + 1) + categoryOf(one) + 1, 0);
  }
}

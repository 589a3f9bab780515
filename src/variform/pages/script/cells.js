// Places in a plane by the cells of a grid: which of them lie about a place is known without a look at all of them.

import { extent } from "./frame.js";

const PER_CELL = 4; // places in a cell, on the average

export class Cells {
  /** @param {Float32Array} points x and y of one after the other; what has none is left out */
  constructor(points) {
    this.points = points;
    const [x0, x1] = extent(points, 0);
    const [y0, y1] = extent(points, 1);
    const count = points.length / 2;
    this.side = Math.max(1, Math.round(Math.sqrt(count / PER_CELL)));
    this.low = [x0, y0];
    this.steps = [(x1 - x0) / this.side || 1, (y1 - y0) / this.side || 1];
    this.starts = new Int32Array(this.side * this.side + 1);
    const cells = new Int32Array(count);
    for (let i = 0; i < count; i++) {
      cells[i] = Number.isFinite(points[2 * i]) ? this._cell(points[2 * i], points[2 * i + 1]) : -1;
      if (cells[i] >= 0) this.starts[cells[i] + 1]++;
    }
    for (let cell = 0; cell < this.side * this.side; cell++) this.starts[cell + 1] += this.starts[cell];
    const next = this.starts.slice();
    this.order = new Int32Array(this.starts[this.side * this.side]);
    for (let i = 0; i < count; i++) if (cells[i] >= 0) this.order[next[cells[i]]++] = i;
  }

  /**
   * @param {number} value
   * @param {0 | 1} axis
   */
  _line(value, axis) {
    const line = Math.floor((value - this.low[axis]) / this.steps[axis]);
    return Math.max(0, Math.min(this.side - 1, line));
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  _cell(x, y) {
    return this._line(y, 1) * this.side + this._line(x, 0);
  }

  /**
   * The nearest of the places that are wanted, nearer than `reach`; of two that are as near the first. -1 for none.
   *
   * @param {number} x
   * @param {number} y
   * @param {number} reach
   * @param {(i: number) => boolean} isWanted
   */
  nearest(x, y, reach, isWanted) {
    let found = -1;
    let least = reach * reach;
    const [left, right] = [this._line(x - reach, 0), this._line(x + reach, 0)];
    for (let row = this._line(y - reach, 1); row <= this._line(y + reach, 1); row++) {
      const end = this.starts[row * this.side + right + 1];
      for (let at = this.starts[row * this.side + left]; at < end; at++) {
        const i = this.order[at];
        const square = (this.points[2 * i] - x) ** 2 + (this.points[2 * i + 1] - y) ** 2;
        const isNearer = square < least || (square === least && i < found);
        if (!isNearer || !isWanted(i)) continue;
        found = i;
        least = square;
      }
    }
    return found;
  }
}

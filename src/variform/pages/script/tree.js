// A k-d tree (Friedman, Bentley and Finkel 1977): the nearest of many points without a look at all of them.

const LEAF = 16; // points in a cell that is not parted any more

export class Tree {
  /**
   * @param {Float32Array} points one after another; those with a coordinate that is not finite are left out
   * @param {number} dim
   */
  constructor(points, dim) {
    this.points = points;
    this.dim = dim;
    const every = new Int32Array(points.length / dim).map((_, i) => i);
    this.order = every.filter((i) => isKnown(points, i * dim, dim));
    let cells = 1;
    while (this.order.length > LEAF * cells) cells *= 2;
    this.leaves = cells; // cells are numbered as in a heap: the children of k are 2 k and 2 k + 1
    this.axis = new Int32Array(cells);
    this.wall = new Float32Array(cells);
    this._part(1, 0, this.order.length);
  }

  /**
   * @param {number} cell
   * @param {number} low
   * @param {number} high
   */
  _part(cell, low, high) {
    if (cell >= this.leaves) return;
    const middle = (low + high) >> 1;
    const axis = this._widest(low, high);
    if (high > low) this._select(low, high - 1, middle, axis);
    this.axis[cell] = axis;
    this.wall[cell] = middle < high ? this.points[this.order[middle] * this.dim + axis] : 0;
    this._part(2 * cell, low, middle);
    this._part(2 * cell + 1, middle, high);
  }

  /**
   * The axis along which the points of a cell lie furthest apart.
   *
   * @param {number} low
   * @param {number} high
   */
  _widest(low, high) {
    let best = 0;
    let most = -1;
    for (let k = 0; k < this.dim; k++) {
      let least = Infinity;
      let greatest = -Infinity;
      for (let at = low; at < high; at++) {
        const value = this.points[this.order[at] * this.dim + k];
        if (value < least) least = value;
        if (value > greatest) greatest = value;
      }
      if (greatest - least <= most) continue;
      most = greatest - least;
      best = k;
    }
    return best;
  }

  /**
   * Put the points in such an order that none before `middle` is greater along an axis, and none behind is less
   * (Hoare 1961).
   *
   * @param {number} low
   * @param {number} high
   * @param {number} middle
   * @param {number} axis
   */
  _select(low, high, middle, axis) {
    const { order, points, dim } = this;
    while (low < high) {
      const pivot = points[order[(low + high) >> 1] * dim + axis];
      let left = low;
      let right = high;
      while (left <= right) {
        while (points[order[left] * dim + axis] < pivot) left++;
        while (points[order[right] * dim + axis] > pivot) right--;
        if (left > right) break;
        const moved = order[left];
        order[left] = order[right];
        order[right] = moved;
        left++;
        right--;
      }
      if (middle <= right) high = right;
      else if (middle >= left) low = left;
      else return;
    }
  }

  /**
   * The nearest point to z among those that `isWanted` takes, by its number and its squared distance; of two that are
   * as near the first. -1 where there is none.
   *
   * @param {ArrayLike<number>} z begins at `start`
   * @param {((i: number, square: number) => boolean) | null} isWanted
   */
  nearest(z, start = 0, isWanted = null) {
    this._z = z;
    this._start = start;
    this._isWanted = isWanted;
    this._offsets = new Float64Array(this.dim); // from z to the cell, along each axis
    this._index = -1;
    this._least = Infinity;
    this._visit(1, 0, this.order.length, 0);
    return { index: this._index, square: this._least };
  }

  /**
   * @param {number} cell
   * @param {number} low
   * @param {number} high
   * @param {number} away the squared distance of the cell
   */
  _visit(cell, low, high, away) {
    if (cell >= this.leaves) {
      this._look(low, high);
      return;
    }
    const middle = (low + high) >> 1;
    const axis = this.axis[cell];
    const beyond = this._z[this._start + axis] - this.wall[cell];
    const near = beyond < 0 ? 0 : 1;
    if (near) this._visit(2 * cell + 1, middle, high, away);
    else this._visit(2 * cell, low, middle, away);
    const before = this._offsets[axis];
    const other = away - before * before + beyond * beyond;
    if (!(other <= this._least * (1 + 1e-9))) return;
    this._offsets[axis] = beyond;
    if (near) this._visit(2 * cell, low, middle, other);
    else this._visit(2 * cell + 1, middle, high, other);
    this._offsets[axis] = before;
  }

  /**
   * @param {number} low
   * @param {number} high
   */
  _look(low, high) {
    const { points, order, dim } = this;
    for (let at = low; at < high; at++) {
      const i = order[at];
      let square = 0;
      for (let k = 0, from = i * dim; k < dim; k++, from++) {
        const step = points[from] - this._z[this._start + k];
        square += step * step;
      }
      const isNearer = square < this._least || (square === this._least && i < this._index);
      if (!isNearer || (this._isWanted && !this._isWanted(i, square))) continue;
      this._least = square;
      this._index = i;
    }
  }
}

/**
 * @param {Float32Array} points
 * @param {number} start
 * @param {number} dim
 */
function isKnown(points, start, dim) {
  for (let k = 0; k < dim; k++) if (!Number.isFinite(points[start + k])) return false;
  return true;
}

// Geometry of the latent space: planes, neighbours, where the data are, and ways through them. No drawing.

/**
 * @import { Latents, Pca, Point } from "./types.js"
 */

import { Cells } from "./cells.js";
import { Tree } from "./tree.js";
import { t } from "./words.js";

// A plane through latent space: of its points p = place(z), and z = at(p, about) leaves all else as it is in `about`.
export class Plane {
  /** @type {Float32Array | null} */
  _places = null;

  /** @type {Cells | null} */
  _cells = null;

  /**
   * @param {ArrayLike<number>} first an axis of length 1
   * @param {ArrayLike<number> | null} second another one, at a right angle to it; null in one dimension
   * @param {ArrayLike<number>} centre what stands at (0, 0)
   * @param {string[]} names of the axes
   */
  constructor(first, second, centre, names) {
    this.dim = first.length;
    this.first = first;
    this.second = second;
    this.centre = centre;
    this.names = names;
    this.isCurved = false;
  }

  /**
   * Lines that are drawn below the examples; the first goes round all that can be shown.
   *
   * @returns {[number, number][][]}
   */
  lines() {
    return [];
  }

  /**
   * The plane that is shown first, by its name: "pca", or the numbers of two latents.
   *
   * @param {Latents} latents
   * @param {Pca | null} pca
   */
  static first({ dim, order }, pca) {
    if (dim < 3) return "0,1";
    return pca ? "pca" : `${order[0]},${order[1]}`;
  }

  /**
   * @param {string} name
   * @param {Latents} latents
   * @param {Pca | null} pca
   */
  static isKnown(name, { dim }, pca) {
    if (name === "pca") return pca !== null;
    if (dim < 3) return name === "0,1";
    const latents = name.split(",").map(Number);
    const areLatents = latents.every((k) => Number.isInteger(k) && k >= 0 && k < dim);
    return areLatents && latents.length === 2 && latents[0] !== latents[1];
  }

  /**
   * @param {string} name one that is known
   * @param {Latents} latents
   * @param {Pca | null} pca
   */
  static named(name, { dim }, pca) {
    if (name === "pca") return Plane.ofPca(pca);
    const [a, b] = name.split(",").map(Number);
    return Plane.ofLatents(dim, a, b);
  }

  /**
   * @param {number} dim
   * @param {number} a
   * @param {number} b
   */
  static ofLatents(dim, a, b) {
    const unit = (/** @type {number} */ k) => Float64Array.from({ length: dim }, (_, i) => (i === k ? 1 : 0));
    const centre = new Float64Array(dim);
    if (dim === 1) return new Plane(unit(a), null, centre, [`z${a + 1}`, ""]);
    return new Plane(unit(a), unit(b), centre, [`z${a + 1}`, `z${b + 1}`]);
  }

  /** @param {Pca} pca */
  static ofPca({ axes, centre, shares }) {
    const names = shares.map((share, i) => t`PC${i + 1} of the posterior means (${Math.round(100 * share)}%)`);
    return new Plane(axes[0], axes[1], centre, names);
  }

  /**
   * @param {ArrayLike<number>} z
   * @param {number} start where the point begins in z
   * @returns {[number, number]}
   */
  place(z, start = 0) {
    let x = 0;
    let y = 0;
    for (let k = 0; k < this.dim; k++) {
      const offset = z[start + k] - this.centre[k];
      x += offset * this.first[k];
      if (this.second) y += offset * this.second[k];
    }
    return [x, y];
  }

  /**
   * x and y of all examples, one after the other.
   *
   * @param {Cloud} cloud always the same one
   */
  placesOf(cloud) {
    this._places ??= this._placed(cloud);
    return this._places;
  }

  /** @param {Cloud} cloud */
  _placed(cloud) {
    const places = new Float32Array(2 * cloud.count);
    for (let i = 0; i < cloud.count; i++) places.set(this.place(cloud.means, i * cloud.dim), 2 * i);
    return places;
  }

  /** @param {Cloud} cloud always the same one */
  cellsOf(cloud) {
    this._cells ??= new Cells(this.placesOf(cloud));
    return this._cells;
  }

  /**
   * The point at a step along an axis or against it.
   *
   * @param {Point} z
   * @param {[number, number]} towards
   * @param {number} step
   */
  beside(z, towards, step) {
    const [x, y] = this.place(z);
    return this.at([x + step * towards[0], y + step * towards[1]], z);
  }

  /**
   * @param {[number, number]} place
   * @param {ArrayLike<number>} about
   */
  at([x, y], about) {
    const [x0, y0] = this.place(about);
    const z = new Float32Array(this.dim);
    for (let k = 0; k < this.dim; k++) {
      const up = this.second ? (y - y0) * this.second[k] : 0;
      z[k] = about[k] + (x - x0) * this.first[k] + up;
    }
    return z;
  }
}

// A picture of neighbours instead of a plane, such as that of t-SNE: only examples have a place in it. Another point
// stands where the nearest of them stands, and a place is the point of the example that stands nearest to it.
export class Picture extends Plane {
  /**
   * @param {string} name
   * @param {Float32Array} places x and y of the examples; not finite where one has none
   * @param {Cloud} cloud
   */
  constructor(name, places, cloud) {
    super(new Float32Array(cloud.dim), new Float32Array(cloud.dim), new Float32Array(cloud.dim), [
      t`${name} 1, no distance`,
      t`${name} 2, no distance`,
    ]);
    this._places = places;
    this.cloud = cloud;
    this.tree = new Tree(places, 2);
  }

  /**
   * @param {ArrayLike<number>} z
   * @param {number} start where the point begins in z
   * @returns {[number, number]}
   */
  place(z, start = 0) {
    const i = this._exampleAt(z, start);
    return [this._places[2 * i], this._places[2 * i + 1]];
  }

  /**
   * @param {ArrayLike<number>} z
   * @param {number} start
   */
  _exampleAt(z, start) {
    const hasPlace = (/** @type {number} */ i) => Number.isFinite(this._places[2 * i]);
    return this.cloud.tree.nearest(z, start, hasPlace).index;
  }

  /** @param {[number, number]} place */
  at(place) {
    return this.cloud.point(this.tree.nearest(place).index);
  }

  /**
   * The nearest example on that side, within an eighth of a turn; z itself where there is none.
   *
   * @param {Point} z
   * @param {[number, number]} towards
   * @param {number} step how far at least
   */
  beside(z, towards, step) {
    const [x, y] = this.place(z);
    const isBeside = (/** @type {number} */ i) => {
      const [right, up] = [this._places[2 * i] - x, this._places[2 * i + 1] - y];
      const along = right * towards[0] + up * towards[1];
      return along >= step && along >= Math.abs(right * towards[1] - up * towards[0]);
    };
    const { index } = this.tree.nearest([x, y], 0, isBeside);
    return index < 0 ? z : this.cloud.point(index);
  }
}

// The posterior means.
export class Cloud {
  /** @type {number[] | null} */
  _usual = null;

  /** @type {Tree | null} */
  _tree = null;

  /**
   * @param {Float32Array} means one after another
   * @param {number} dim
   */
  constructor(means, dim) {
    this.means = means;
    this.dim = dim;
    this.count = means.length / dim;
  }

  /** @param {number} i */
  point(i) {
    return this.means.slice(i * this.dim, (i + 1) * this.dim);
  }

  /**
   * The squared distance of the row i from a point, which begins at `start` in z.
   *
   * @param {number} i
   * @param {ArrayLike<number>} z
   */
  squared(i, z, start = 0) {
    let sum = 0;
    for (let k = 0, at = i * this.dim; k < this.dim; k++, at++) {
      const step = this.means[at] - z[start + k];
      sum += step * step;
    }
    return sum;
  }

  /**
   * The row whose posterior mean is nearest to z; with `groups` only among the rows of one group.
   *
   * @param {ArrayLike<number>} z
   * @param {ArrayLike<number> | null} groups
   */
  nearest(z, groups = null, group = 0) {
    const isWanted = groups && ((/** @type {number} */ i) => groups[i] === group);
    const { index, square } = this.tree.nearest(z, 0, isWanted);
    return { index, distance: Math.sqrt(square) };
  }

  /** By which neighbours are found. */
  get tree() {
    this._tree ??= new Tree(this.means, this.dim);
    return this._tree;
  }

  /** The point that is nearest to the middle of them all: one that looks like something. */
  middle() {
    const sum = new Float32Array(this.dim);
    for (let i = 0; i < this.count; i++) {
      for (let k = 0; k < this.dim; k++) sum[k] += this.means[i * this.dim + k] / this.count;
    }
    return this.point(this.nearest(sum).index);
  }

  /**
   * Distances from points to their nearest neighbour at another place, sorted: what is usual among the data themselves.
   *
   * @returns {number[]}
   */
  get usual() {
    this._usual ??= this._distances();
    return this._usual;
  }

  _distances() {
    const step = Math.max(1, Math.floor(this.count / 300));
    const found = [];
    for (let i = 0; i < this.count; i += step) {
      const { square } = this.tree.nearest(this.means, i * this.dim, (_, away) => away > 0);
      found.push(Math.sqrt(square));
    }
    return found.filter(Number.isFinite).sort((a, b) => a - b);
  }

  /** The distance that 99 of 100 examples have to their nearest neighbour, or less. */
  get limit() {
    return this.usual[Math.floor(0.99 * (this.usual.length - 1))] ?? 0;
  }

  /**
   * How far a distance to the nearest example is out of the usual: 1 at the limit. Where all examples lie at one place,
   * every other place is far from them.
   *
   * @param {number} distance
   */
  strangeness(distance) {
    return distance ? distance / this.limit : 0;
  }

  /**
   * Rows evenly from all of them.
   *
   * @param {number} most
   */
  spread(most) {
    const count = Math.min(most, this.count);
    const step = (this.count - 1) / Math.max(1, count - 1);
    return Int32Array.from({ length: count }, (_, i) => Math.round(i * step));
  }
}

/**
 * The share of the data's usual density at each cell of a grid over [x0, x1] x [y0, y1]: 1 where points are dense.
 *
 * @param {Float32Array} points x and y of one after another
 * @param {{ x0: number, x1: number, y0: number, y1: number }} box
 * @param {number} size of the grid
 */
export function densityOf(points, box, size) {
  const counts = countsOf(points, box, size);
  const count = points.length / 2;
  const narrower = Math.max(0.6, Math.min(1.6, (600 / Math.max(count, 1)) ** (1 / 6)));
  const smooth = blurred(counts, size, Math.max(1.2, 0.055 * size * narrower));
  const own = new Float32Array(counts.reduce((sum, value) => sum + value, 0));
  let at = 0;
  counts.forEach((value, i) => {
    own.fill(smooth[i], at, at + value);
    at += value;
  });
  const usual = own.sort()[Math.floor(own.length / 2)] ?? 1;
  return smooth.map((value) => Math.min(1, value / usual));
}

/**
 * How many points lie in each cell.
 *
 * @param {Float32Array} points
 * @param {{ x0: number, x1: number, y0: number, y1: number }} box
 * @param {number} size
 */
function countsOf(points, { x0, x1, y0, y1 }, size) {
  const counts = new Float32Array(size * size);
  for (let at = 0; at < points.length; at += 2) {
    const column = Math.floor(((points[at] - x0) / (x1 - x0)) * size);
    const row = Math.floor(((points[at + 1] - y0) / (y1 - y0)) * size);
    const isInside = column >= 0 && column < size && row >= 0 && row < size;
    if (isInside) counts[row * size + column] += 1;
  }
  return counts;
}

/**
 * A square grid after a Gaussian of a width, along its rows and then along its columns.
 *
 * @param {Float32Array} values
 * @param {number} size
 * @param {number} width
 */
function blurred(values, size, width) {
  const reach = Math.ceil(3 * width);
  const kernel = Float32Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-(((i - reach) / width) ** 2) / 2));
  const total = kernel.reduce((a, b) => a + b, 0);
  const along = (/** @type {Float32Array} */ from, /** @type {number} */ step, /** @type {number} */ next) => {
    const to = new Float32Array(from.length);
    for (let line = 0; line < size; line++) {
      for (let i = 0; i < size; i++) {
        let sum = 0;
        const low = Math.max(0, i - reach);
        const high = Math.min(size - 1, i + reach);
        for (let j = low; j <= high; j++) sum += kernel[j - i + reach] * from[line * next + j * step];
        to[line * next + i * step] = sum / total;
      }
    }
    return to;
  };
  return along(along(values, 1, size), size, 1);
}

/**
 * The point at a share of the straight way from a to b.
 *
 * @param {ArrayLike<number>} a
 * @param {ArrayLike<number>} b
 * @param {number} share
 */
export const between = (a, b, share) => Float32Array.from(a, (value, k) => value + (b[k] - value) * share);

/**
 * @param {ArrayLike<number>} a
 * @param {ArrayLike<number>} b
 */
export const distanceOf = (a, b) => Math.sqrt(squareOf(a, b));

/**
 * @param {ArrayLike<number>} a
 * @param {ArrayLike<number>} b
 */
function squareOf(a, b) {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k] - b[k]) ** 2;
  return sum;
}

/**
 * Points from a to b, evenly spaced along the way.
 *
 * @param {Point} a
 * @param {Point} b
 * @param {number} steps
 * @param {typeof between} at the point at a share of the way
 */
export function straightWay(a, b, steps, at = between) {
  return Array.from({ length: steps }, (_, i) => at(a, b, i / (steps - 1)));
}

/**
 * The way from a to b along the data: the path through posterior means with the least sum of distances to the fourth
 * power (Hwang, Damelin and Hero 2016), which takes many short steps where the data are dense; then smoothed.
 *
 * @param {Cloud} cloud
 * @param {Point} a
 * @param {Point} b
 * @param {number} steps
 */
export function wayAlongData(cloud, a, b, steps, most = 1500) {
  const means = Array.from(cloud.spread(most), (i) => cloud.point(i));
  let way = evenly(shortestPath([a, ...means, b]), 60);
  for (let round = 0; round < 12; round++) way = way.map((_, i) => smoothed(way, i));
  return evenly(way, steps);
}

/**
 * A point of a way, pulled halfway to the middle of its neighbours; the ends stay.
 *
 * @param {Point[]} way
 * @param {number} i
 */
function smoothed(way, i) {
  if (i === 0 || i === way.length - 1) return way[i];
  return way[i].map((value, k) => (way[i - 1][k] + 2 * value + way[i + 1][k]) / 4);
}

/**
 * The path from the first to the last of the points whose steps have the least sum of fourth powers (Dijkstra 1959).
 *
 * @param {Point[]} points
 */
function shortestPath(points) {
  const count = points.length;
  const cost = new Float64Array(count).fill(Infinity);
  const before = new Int32Array(count).fill(-1);
  const isDone = new Uint8Array(count);
  cost[0] = 0;
  for (;;) {
    const at = cheapest(cost, isDone);
    if (at < 0 || at === count - 1) break;
    isDone[at] = 1;
    for (let i = 0; i < count; i++) {
      if (isDone[i]) continue;
      const found = cost[at] + squareOf(points[at], points[i]) ** 2;
      if (found >= cost[i]) continue;
      cost[i] = found;
      before[i] = at;
    }
  }
  const path = [];
  for (let i = count - 1; i >= 0; i = before[i]) path.unshift(points[i]);
  return path;
}

/**
 * The place of the least cost that is finite and not done; -1 for none.
 *
 * @param {Float64Array} cost
 * @param {Uint8Array} isDone
 */
function cheapest(cost, isDone) {
  let best = -1;
  let least = Infinity;
  for (let i = 0; i < cost.length; i++) {
    if (isDone[i] || cost[i] >= least) continue;
    best = i;
    least = cost[i];
  }
  return best;
}

/**
 * `steps` points at equal distances along a line through `points`.
 *
 * @param {Point[]} points
 * @param {number} steps
 */
function evenly(points, steps) {
  const lengths = [0];
  for (let i = 1; i < points.length; i++) lengths.push(lengths[i - 1] + distanceOf(points[i], points[i - 1]));
  const whole = lengths[lengths.length - 1];
  let piece = 1;
  return Array.from({ length: steps }, (_, i) => {
    const at = (whole * i) / (steps - 1);
    while (piece < points.length - 1 && lengths[piece] < at) piece++;
    const length = lengths[piece] - lengths[piece - 1];
    const share = length ? (at - lengths[piece - 1]) / length : 0;
    return between(points[piece - 1], points[piece], share);
  });
}

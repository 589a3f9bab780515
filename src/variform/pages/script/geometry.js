// Geometry of the latent space: planes, neighbours, where the data are, and ways through them. No drawing.

// A plane through latent space: of its points p = place(z), and z = at(p, about) leaves all else as it is in `about`.
export class Plane {
  constructor(dim, first, second, centre, names) {
    Object.assign(this, { dim, first, second, centre, names });
  }

  // The plane that is shown first, by its name: "pca", or the numbers of two latents.
  static first({ dim, order }, pca) {
    if (dim < 3) return "0,1";
    return pca ? "pca" : `${order[0]},${order[1]}`;
  }

  static isKnown(name, { dim }, pca) {
    if (name === "pca") return pca !== null;
    if (dim < 3) return name === "0,1";
    const latents = name.split(",").map(Number);
    const areLatents = latents.every((k) => Number.isInteger(k) && k >= 0 && k < dim);
    return areLatents && latents.length === 2 && latents[0] !== latents[1];
  }

  static named(name, { dim }, pca) {
    if (name === "pca") return Plane.ofPca(dim, pca);
    const [a, b] = name.split(",").map(Number);
    return Plane.ofLatents(dim, a, b);
  }

  static ofLatents(dim, a, b) {
    const unit = (k) => Float64Array.from({ length: dim }, (_, i) => (i === k ? 1 : 0));
    const second = dim > 1 ? unit(b) : null;
    return new Plane(dim, unit(a), second, new Float64Array(dim), [`z${a + 1}`, second ? `z${b + 1}` : ""]);
  }

  static ofPca(dim, pca) {
    const names = pca.shares.map((share, i) => `PC${i + 1} of the posterior means (${Math.round(100 * share)}%)`);
    return new Plane(
      dim,
      Float64Array.from(pca.axes[0]),
      Float64Array.from(pca.axes[1]),
      Float64Array.from(pca.centre),
      names,
    );
  }

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

  at([x, y], about) {
    const [x0, y0] = this.place(about);
    const z = new Float32Array(this.dim);
    for (let k = 0; k < this.dim; k++) {
      z[k] = about[k] + (x - x0) * this.first[k] + (this.second ? (y - y0) * this.second[k] : 0);
    }
    return z;
  }
}

export class Cloud {
  constructor(means, dim) {
    Object.assign(this, { means, dim, count: means.length / dim });
  }

  point(i) {
    return this.means.slice(i * this.dim, (i + 1) * this.dim);
  }

  squared(i, z, start = 0) {
    let sum = 0;
    for (let k = 0, at = i * this.dim; k < this.dim; k++, at++) {
      const step = this.means[at] - z[start + k];
      sum += step * step;
    }
    return sum;
  }

  // The row whose posterior mean is nearest to z; with `groups` only among the rows of one group.
  nearest(z, groups = null, group = 0) {
    let best = -1;
    let least = Infinity;
    for (let i = 0; i < this.count; i++) {
      if (groups && groups[i] !== group) continue;
      const square = this.squared(i, z);
      if (square < least) [least, best] = [square, i];
    }
    return { index: best, distance: Math.sqrt(least) };
  }

  // The point that is nearest to the middle of them all: one that looks like something.
  middle() {
    const sum = new Float32Array(this.dim);
    for (let i = 0; i < this.count; i++)
      for (let k = 0; k < this.dim; k++) sum[k] += this.means[i * this.dim + k] / this.count;
    return this.point(this.nearest(sum).index);
  }

  // Distances from points to their nearest neighbour at another place, sorted: what is usual among the data themselves.
  get usual() {
    if (!this._usual) {
      const step = Math.max(1, Math.floor(this.count / 300));
      const found = [];
      for (let i = 0; i < this.count; i += step) {
        let least = Infinity;
        for (let j = 0; j < this.count; j++)
          least = Math.min(least, this.squared(j, this.means, i * this.dim) || Infinity);
        found.push(Math.sqrt(least));
      }
      this._usual = found.filter(Number.isFinite).sort((a, b) => a - b);
    }
    return this._usual;
  }

  // The distance that 99 of 100 examples have to their nearest neighbour, or less.
  get limit() {
    return this.usual[Math.floor(0.99 * (this.usual.length - 1))] ?? 0;
  }

  // How far a distance to the nearest example is out of the usual: 1 at the limit. Where all examples lie at one place,
  // every other place is far from them.
  strangeness(distance) {
    return distance ? distance / this.limit : 0;
  }

  spread(most) {
    const count = Math.min(most, this.count);
    return Int32Array.from({ length: count }, (_, i) => Math.round((i * (this.count - 1)) / Math.max(1, count - 1)));
  }
}

// The share of the data's usual density at each cell of a grid over [x0, x1] x [y0, y1]: 1 where points are dense.
export function densityOf(points, box, size) {
  const counts = new Float32Array(size * size);
  const count = points.length / 2;
  for (let i = 0; i < count; i++) {
    const column = Math.floor(((points[2 * i] - box.x0) / (box.x1 - box.x0)) * size);
    const row = Math.floor(((points[2 * i + 1] - box.y0) / (box.y1 - box.y0)) * size);
    if (column >= 0 && column < size && row >= 0 && row < size) counts[row * size + column] += 1;
  }
  const width = Math.max(1.2, 0.055 * size * Math.max(0.6, Math.min(1.6, (600 / Math.max(count, 1)) ** (1 / 6))));
  const smooth = blurred(counts, size, width);
  const own = [];
  for (let i = 0; i < counts.length; i++) for (let k = 0; k < counts[i]; k++) own.push(smooth[i]);
  own.sort((a, b) => a - b);
  const middle = own.length ? own[Math.floor(own.length / 2)] : 1;
  for (let i = 0; i < smooth.length; i++) smooth[i] = Math.min(1, smooth[i] / middle);
  return smooth;
}

function blurred(values, size, width) {
  const reach = Math.ceil(3 * width);
  const kernel = Float32Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-(((i - reach) / width) ** 2) / 2));
  const total = kernel.reduce((a, b) => a + b, 0);
  const pass = (from, stride, other) => {
    const to = new Float32Array(from.length);
    for (let line = 0; line < size; line++) {
      for (let i = 0; i < size; i++) {
        let sum = 0;
        const low = Math.max(0, i - reach);
        const high = Math.min(size - 1, i + reach);
        for (let j = low; j <= high; j++) sum += kernel[j - i + reach] * from[line * other + j * stride];
        to[line * other + i * stride] = sum / total;
      }
    }
    return to;
  };
  return pass(pass(values, 1, size), size, 1);
}

export const between = (a, b, share) => Float32Array.from(a, (value, k) => value + (b[k] - value) * share);

export function distanceOf(a, b) {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k] - b[k]) ** 2;
  return Math.sqrt(sum);
}

// Points from a to b, evenly spaced along the way.
export function straightWay(a, b, steps) {
  return Array.from({ length: steps }, (_, i) => between(a, b, i / (steps - 1)));
}

// The way from a to b along the data: the path through posterior means with the least sum of distances to the fourth
// power (Hwang, Damelin and Hero 2016), which takes many short steps where the data are dense; then smoothed.
export function wayAlongData(cloud, a, b, steps, most = 1500) {
  const chosen = cloud.spread(most);
  const count = chosen.length + 2;
  const points = [a, ...Array.from(chosen, (i) => cloud.point(i)), b];
  const cost = new Float64Array(count).fill(Infinity);
  const before = new Int32Array(count).fill(-1);
  const done = new Uint8Array(count);
  cost[0] = 0;
  for (;;) {
    let at = -1;
    for (let i = 0; i < count; i++) if (!done[i] && (at < 0 || cost[i] < cost[at])) at = i;
    if (at < 0 || at === count - 1 || cost[at] === Infinity) break;
    done[at] = 1;
    const from = points[at];
    for (let i = 0; i < count; i++) {
      if (done[i]) continue;
      const to = points[i];
      let square = 0;
      for (let k = 0; k < from.length; k++) square += (from[k] - to[k]) ** 2;
      const found = cost[at] + square * square;
      if (found < cost[i]) [cost[i], before[i]] = [found, at];
    }
  }
  const path = [];
  for (let i = count - 1; i >= 0; i = before[i]) path.unshift(points[i]);
  let way = evenly(path, 60);
  for (let round = 0; round < 12; round++) {
    way = way.map((z, i) =>
      i === 0 || i === way.length - 1 ? z : z.map((value, k) => (way[i - 1][k] + 2 * value + way[i + 1][k]) / 4),
    );
  }
  return evenly(way, steps);
}

// `steps` points at equal distances along a line through `points`.
function evenly(points, steps) {
  const lengths = [0];
  for (let i = 1; i < points.length; i++) lengths.push(lengths[i - 1] + distanceOf(points[i], points[i - 1]));
  const whole = lengths.at(-1);
  let piece = 1;
  return Array.from({ length: steps }, (_, i) => {
    const at = (whole * i) / (steps - 1);
    while (piece < points.length - 1 && lengths[piece] < at) piece++;
    const length = lengths[piece] - lengths[piece - 1];
    return between(points[piece - 1], points[piece], length ? (at - lengths[piece - 1]) / length : 0);
  });
}

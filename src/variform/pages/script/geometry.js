// Geometry of the latent space: planes, neighbours, where the data are, and ways through them. No drawing.

// A plane through latent space: of its points p = place(z), and z = at(p, about) leaves all else as it is in `about`.
class Plane {
  constructor(dim, first, second, centre, names) {
    Object.assign(this, { dim, first, second, centre, names });
  }

  static ofLatents(dim, a, b) {
    const unit = (k) => Float64Array.from({ length: dim }, (_, i) => (i === k ? 1 : 0));
    const second = dim > 1 ? unit(b) : null;
    return new Plane(dim, unit(a), second, new Float64Array(dim), [`z${a + 1}`, second ? `z${b + 1}` : ""]);
  }

  static ofPca(dim, pca) {
    const names = pca.shares.map((share, i) => `PC${i + 1} of the posterior means (${Math.round(100 * share)}%)`);
    return new Plane(dim, Float64Array.from(pca.axes[0]), Float64Array.from(pca.axes[1]), Float64Array.from(pca.centre), names);
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

class Cloud {
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

  // Distances from points to their nearest neighbour at another place, sorted: what is usual among the data themselves.
  get usual() {
    if (!this._usual) {
      const step = Math.max(1, Math.floor(this.count / 300));
      const found = [];
      for (let i = 0; i < this.count; i += step) {
        let least = Infinity;
        for (let j = 0; j < this.count; j++) least = Math.min(least, this.squared(j, this.means, i * this.dim) || Infinity);
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

// What a conditional model was told in training, counted by cells as in conditions.py: of each condition a category, or an
// interval of a number about low + i * step.
class Occupancy {
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
    const ranges = outside.map((k) => `${this.conditions[k].name} lies outside the data, which go from ${shown(this.low[k])} to ${shown(this.high[k])}. `);
    const alone = values.map((_, k) => `${this.near(values, [k]).toLocaleString("en")} near ${this.conditions[k].name}`);
    const apart = values.length > 1 ? `; alone, ${alone.join(", ")}` : "";
    return `${ranges.join("")}${count.toLocaleString("en")} of ${this.rows.toLocaleString("en")} training rows ${count === 1 ? "is" : "are"} near this condition${apart}: what is decoded is a guess.`;
  }
}

// The share of the data's usual density at each cell of a grid over [x0, x1] x [y0, y1]: 1 where points are dense.
function densityOf(points, box, size) {
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

const between = (a, b, share) => Float32Array.from(a, (value, k) => value + (b[k] - value) * share);

function distanceOf(a, b) {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k] - b[k]) ** 2;
  return Math.sqrt(sum);
}

// Points from a to b, evenly spaced along the way.
function straightWay(a, b, steps) {
  return Array.from({ length: steps }, (_, i) => between(a, b, i / (steps - 1)));
}

// The way from a to b along the data: the path through posterior means with the least sum of distances to the fourth
// power (Hwang, Damelin and Hero 2016), which takes many short steps where the data are dense; then smoothed.
function wayAlongData(cloud, a, b, steps, most = 1500) {
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

// The quantile of N(0, 1), by Acklam's rational approximation; its relative error is below 1.2e-9.
function normalQuantile(share) {
  const a = [-3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2, 1.38357751867269e2, -3.066479806614716e1, 2.506628277459239];
  const b = [-5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1, -1.328068155288572e1, 1];
  const c = [-7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838, -2.549732539343734, 4.374664141464968, 2.938163982698783];
  const d = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1];
  const polynomial = (coefficients, x) => coefficients.reduce((sum, value) => sum * x + value, 0);
  if (share > 0.97575) return -normalQuantile(1 - share);
  if (share < 0.02425) {
    const x = Math.sqrt(-2 * Math.log(share));
    return polynomial(c, x) / polynomial(d, x);
  }
  const x = share - 0.5;
  return (x * polynomial(a, x * x)) / polynomial(b, x * x);
}

// Uniform numbers in (0, 1) from a seed: the generator mulberry32.
function uniforms(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

function normals(count, seed) {
  const next = uniforms(seed);
  return Float32Array.from({ length: count }, () => normalQuantile(next()));
}

// The steps of a payload, those of the table in lowering.py.

/**
 * @import { Engine, Step, Values } from "./types.js"
 */

/** @param {number[]} numbers */
export const product = (numbers) => numbers.reduce((a, b) => a * b, 1);

// ---- functions of one number

/**
 * The distribution function of N(0, 1), to 1e-7: Abramowitz and Stegun (1964), 7.1.26.
 *
 * @param {number} x
 */
function normalCdf(x) {
  const t = 1 / (1 + (0.3275911 * Math.abs(x)) / Math.SQRT2);
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = (series * Math.exp((-x * x) / 2)) / 2;
  return x > 0 ? 1 - tail : tail;
}

/** @param {number} x */
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** @param {number} x */
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

/**
 * Halves go to the even number.
 *
 * @param {number} x
 */
const rounded = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/**
 * NaN stays.
 *
 * @param {number} x
 */
function atLeastHalf(x) {
  if (Number.isNaN(x)) return x;
  return x >= 0.5 ? 1 : 0;
}

/** @type {Record<string, (x: number) => number>} */
const FUNCTIONS = {
  relu: (x) => Math.max(x, 0),
  tanh: Math.tanh,
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  "leaky-relu": (x) => (x > 0 ? x : 0.01 * x),
  gelu: (x) => x * normalCdf(x),
  silu: (x) => x * sigmoid(x),
  softplus,
  sigmoid,
  exp: Math.exp,
  log1p: Math.log1p,
  square: (x) => x * x,
  sqrt: Math.sqrt,
  round: rounded,
  step: atLeastHalf,
  "is-zero": (x) => (x === 0 ? 1 : 0),
  "is-missing": (x) => (Number.isNaN(x) ? 1 : 0),
};

/**
 * @param {number} x
 * @param {[number, number]} bounds
 */
const within = (x, [least, most]) => Math.min(Math.max(x, least), most);

/**
 * The mean level of a discretised logistic; from 64 levels on by the integral that the sum over them is nearly.
 *
 * @param {number} rawLocation
 * @param {number} logScale
 * @param {Step} step
 */
function logisticMean(rawLocation, logScale, { count: levels, locations, log_scales: logScales }) {
  const scale = Math.exp(within(logScale, logScales));
  const location = within(sigmoid(rawLocation), locations);
  const edge = 0.5 / levels;
  if (levels >= 64) {
    const integral = softplus((location - edge) / scale) - softplus((location - 1 + edge) / scale);
    return (levels * scale * integral) / (levels - 1);
  }
  let total = 0;
  for (let level = 1; level < levels; level++) total += sigmoid((location - level / levels) / scale);
  return total / (levels - 1);
}

/**
 * The variance of its levels, in which nothing cancels.
 *
 * @param {number} rawLocation
 * @param {number} logScale
 * @param {Step} step
 */
function logisticVariance(rawLocation, logScale, { count: levels, locations, log_scales: logScales }) {
  const scale = Math.exp(within(logScale, logScales));
  const location = within(sigmoid(rawLocation), locations);
  let total = 0;
  let passed = 0;
  for (let level = 1; level < levels; level++) {
    const distance = (location - level / levels) / scale;
    const below = sigmoid(-distance);
    total += sigmoid(distance) * (below + 2 * passed);
    passed += below;
  }
  return total / (levels - 1) ** 2;
}

/**
 * The mean level of a law over levels by their logits, in [0, 1].
 *
 * @param {Float32Array} logits
 */
function meanLevel(logits) {
  const greatest = logits[likeliest(logits)];
  let total = 0;
  let sum = 0;
  for (let k = 0; k < logits.length; k++) {
    const share = Math.exp(logits[k] - greatest);
    total += share;
    sum += share * k;
  }
  return sum / total / (logits.length - 1);
}

/**
 * The variance of the level, likewise.
 *
 * @param {Float32Array} logits
 */
function levelVariance(logits) {
  const greatest = logits[likeliest(logits)];
  const mean = meanLevel(logits);
  let total = 0;
  let sum = 0;
  for (let k = 0; k < logits.length; k++) {
    const share = Math.exp(logits[k] - greatest);
    total += share;
    sum += share * (k / (logits.length - 1) - mean) ** 2;
  }
  return sum / total;
}

/**
 * What a law over levels has for a value, by the word of a step.
 *
 * @type {Record<string, (logits: Float32Array) => number>}
 */
const OF_LEVELS = { mean: meanLevel, variance: levelVariance, likeliest };

/**
 * The same of a discretised logistic.
 *
 * @type {Record<string, (rawLocation: number, logScale: number, step: Step) => number>}
 */
const OF_LOGISTIC = { logistic: logisticMean, "logistic-variance": logisticVariance };

/** @param {Float32Array} logits */
function likeliest(logits) {
  let best = 0;
  for (let k = 1; k < logits.length; k++) {
    if (logits[k] > logits[best]) best = k;
  }
  return best;
}

// ---- steps

/** @type {Record<string, (step: Step, h: Values, engine: Engine) => Values>} */
export const STEPS = {
  dense({ layer }, h, { products }) {
    products.inputs(layer, h.data.length, h.count).set(h.data);
    const sums = products.run(layer, 1, layer.inputs, h.count);
    const data = new Float32Array(h.count * layer.outputs);
    for (let i = 0; i < h.count; i++) {
      const outputs = sums.subarray(i * layer.row, i * layer.row + layer.outputs);
      data.set(outputs, i * layer.outputs);
    }
    return { ...h, data, shape: [layer.outputs] };
  },

  // What each pixel of the output sees is gathered; then all pixels are one product.
  convolve(step, h, { products }) {
    const { layer, kernel, stride, padding } = step;
    const [channels, ...sides] = h.shape;
    const grid = sides.map((side, k) => Math.floor((side + 2 * padding[k] - kernel[k]) / stride[k]) + 1);
    const plane = product(sides);
    const pixels = product(grid);
    const data = new Float32Array(h.count * layer.outputs * pixels);
    step.map ??= windows(grid, sides, step);
    for (let i = 0; i < h.count; i++) {
      const image = h.data.subarray(i * channels * plane, (i + 1) * channels * plane);
      gather(products.inputs(layer, layer.inputs * pixels, pixels), image, step.map, channels, plane, pixels);
      const sums = products.run(layer, pixels, 1, pixels);
      for (let o = 0; o < layer.outputs; o++) {
        const to = (i * layer.outputs + o) * pixels;
        for (let p = 0; p < pixels; p++) data[to + p] = sums[p * layer.row + o];
      }
    }
    return { ...h, data, shape: [layer.outputs, ...grid] };
  },

  // What each pixel of the input adds to those around it is one product; then it is added up.
  "convolve-transposed"(step, h, { products }) {
    const { layer, kernel, stride, padding, output_padding: more, bias } = step;
    const [channels, ...grid] = h.shape;
    const sides = grid.map((side, k) => (side - 1) * stride[k] - 2 * padding[k] + kernel[k] + more[k]);
    const pixels = product(grid);
    const plane = product(sides);
    const inputs = channels * pixels;
    const outputs = layer.outputs / product(kernel);
    const data = new Float32Array(h.count * outputs * plane);
    step.map ??= windows(grid, sides, step);
    if (bias) for (let o = 0; o < h.count * outputs; o++) data.fill(bias[o % outputs], o * plane, (o + 1) * plane);
    for (let i = 0; i < h.count; i++) {
      products.inputs(layer, inputs, pixels).set(h.data.subarray(i * inputs, (i + 1) * inputs));
      const sums = products.run(layer, pixels, 1, pixels);
      const image = data.subarray(i * outputs * plane, (i + 1) * outputs * plane);
      addUp(image, sums, step.map, layer.row, outputs, plane, pixels);
    }
    return { ...h, data, shape: [outputs, ...sides] };
  },

  map(step, h) {
    const call = FUNCTIONS[step.function];
    const { data } = h;
    for (let i = 0; i < data.length; i++) data[i] = call(data[i]);
    return h;
  },

  "continuous-bernoulli"({ near, series }, h) {
    const { data } = h;
    const byFormula = (/** @type {number} */ x) => 1 / (1 - Math.exp(-x)) - 1 / x;
    const bySeries = (/** @type {number} */ x) =>
      series.reduceRight((/** @type {number} */ sum, /** @type {number} */ coefficient) => sum * x + coefficient);
    for (let i = 0; i < data.length; i++) {
      const x = data[i];
      data[i] = Math.abs(x) < near ? bySeries(x) : byFormula(x);
    }
    return h;
  },

  "continuous-bernoulli-variance"({ near, series }, h) {
    const { data } = h;
    const byFormula = (/** @type {number} */ x) => 1 / (x * x) - Math.exp(-x) / Math.expm1(-x) ** 2;
    const bySeries = (/** @type {number} */ x) =>
      series.reduceRight((/** @type {number} */ sum, /** @type {number} */ coefficient) => sum * x + coefficient);
    for (let i = 0; i < data.length; i++) {
      const x = Math.abs(data[i]);
      data[i] = x < near ? bySeries(x) : byFormula(x);
    }
    return h;
  },

  gate(_step, h) {
    const half = product(h.shape) / 2;
    const data = new Float32Array(h.count * half);
    for (let to = 0; to < data.length; to++) {
      const from = to + Math.floor(to / half) * half;
      data[to] = h.data[from] * sigmoid(h.data[from + half]);
    }
    return { ...h, data, shape: [h.shape[0] / 2, ...h.shape.slice(1)] };
  },

  normalise({ weight, bias, eps }, h) {
    const size = product(h.shape);
    const each = size / weight.length;
    for (let i = 0; i < h.count; i++) {
      const data = h.data.subarray(i * size, (i + 1) * size);
      let mean = 0;
      let variance = 0;
      for (const value of data) mean += value / size;
      for (const value of data) variance += (value - mean) ** 2 / size;
      const per = 1 / Math.sqrt(variance + eps);
      for (let k = 0; k < size; k++) {
        const place = Math.floor(k / each);
        data[k] = (data[k] - mean) * per * weight[place] + bias[place];
      }
    }
    return h;
  },

  add: ({ value }, h) => broadcast(h, value, (x, other) => x + other),
  multiply: ({ value }, h) => broadcast(h, value, (x, other) => x * other),
  fill: ({ value }, h) => broadcast(h, value, (x, other) => (Number.isNaN(x) ? other : x)),
  clip: ({ low, high }, h) => broadcast(broadcast(h, low, Math.max), high, Math.min),

  take({ places }, h) {
    const size = product(h.shape);
    const data = new Float32Array(h.count * places.length);
    for (let to = 0; to < data.length; to++) {
      const i = Math.floor(to / places.length);
      data[to] = h.data[i * size + places[to % places.length]];
    }
    return { ...h, data, shape: [places.length] };
  },

  reshape: ({ shape }, h) => ({ ...h, shape }),

  // Each number of the context is a channel of its own.
  context(_step, h) {
    const [channels, ...sides] = h.shape;
    const plane = product(sides);
    const size = channels * plane;
    const told = h.context.length / h.count;
    const row = size + told * plane;
    const data = new Float32Array(h.count * row);
    for (let i = 0; i < h.count; i++) {
      data.set(h.data.subarray(i * size, (i + 1) * size), i * row);
      for (let c = 0; c < told; c++) {
        const to = i * row + size + c * plane;
        data.fill(h.context[i * told + c], to, to + plane);
      }
    }
    return { ...h, data, shape: [channels + told, ...sides] };
  },

  branches({ branches, join }, h, engine) {
    const parts = branches.map((/** @type {Step[]} */ steps) => engine.run(steps, { ...h, data: h.data.slice() }));
    return join === "sum" ? summed(parts) : concatenated(parts);
  },

  levels(step, h) {
    const [levels, ...shape] = h.shape;
    const size = product(shape);
    const data = new Float32Array(h.count * size);
    const found = new Float32Array(levels);
    for (let to = 0; to < data.length; to++) {
      const start = Math.floor(to / size) * levels * size + (to % size);
      for (let k = 0; k < levels; k++) found[k] = h.data[start + k * size];
      if (step.of in OF_LOGISTIC) data[to] = OF_LOGISTIC[step.of](found[0], found[1], step);
      else data[to] = OF_LEVELS[step.of](found);
    }
    return { ...h, data, shape };
  },
};

/**
 * For each window of a kernel, one a place of `grid`, and each of its taps the pixel of the plane, -1 for outside.
 *
 * @param {number[]} grid
 * @param {number[]} sides
 * @param {Step} step
 */
function windows(grid, sides, { kernel, stride, padding }) {
  const places = new Int32Array(product(grid) * product(kernel));
  let to = 0;
  for (let y = 0; y < grid[0]; y++) {
    for (let x = 0; x < grid[1]; x++) {
      const top = y * stride[0] - padding[0];
      const left = x * stride[1] - padding[1];
      for (let r = top; r < top + kernel[0]; r++) {
        for (let s = left; s < left + kernel[1]; s++) {
          const isInside = r >= 0 && r < sides[0] && s >= 0 && s < sides[1];
          places[to++] = isInside ? r * sides[1] + s : -1;
        }
      }
    }
  }
  return places;
}

/**
 * What every window sees of an image, tap by tap: `pixels` numbers of the first tap of the first channel, and so on.
 *
 * @param {Float32Array} seen
 * @param {Float32Array} image
 * @param {Int32Array} map of `windows`
 * @param {number} channels
 * @param {number} plane
 * @param {number} pixels
 */
function gather(seen, image, map, channels, plane, pixels) {
  const taps = map.length / pixels;
  let to = 0;
  for (let c = 0; c < channels; c++) {
    for (let tap = 0; tap < taps; tap++) {
      for (let p = 0; p < pixels; p++) {
        const place = map[p * taps + tap];
        seen[to++] = place < 0 ? 0 : image[c * plane + place];
      }
    }
  }
}

/**
 * Add to an image what each pixel gives to every tap of its window.
 *
 * @param {Float32Array} image
 * @param {Float32Array} sums of a pixel one row: its outputs one after another, each tap by tap
 * @param {Int32Array} map of `windows`
 * @param {number} row
 * @param {number} outputs
 * @param {number} plane
 * @param {number} pixels
 */
function addUp(image, sums, map, row, outputs, plane, pixels) {
  const taps = map.length / pixels;
  for (let p = 0; p < pixels; p++) {
    let from = p * row;
    for (let o = 0; o < outputs; o++) {
      for (let tap = p * taps; tap < (p + 1) * taps; tap++, from++) {
        if (map[tap] >= 0) image[o * plane + map[tap]] += sums[from];
      }
    }
  }
}

/**
 * A function of each number and of what an array holds for it: one number, one a channel, or one an entry.
 *
 * @param {Values} h
 * @param {Float32Array} values
 * @param {(x: number, value: number) => number} call
 */
function broadcast(h, values, call) {
  const size = product(h.shape);
  const each = size / values.length;
  const { data } = h;
  for (let i = 0; i < data.length; i++) data[i] = call(data[i], values[Math.floor((i % size) / each)]);
  return h;
}

/** @param {Values[]} parts */
function summed([first, ...others]) {
  for (const { data } of others) {
    for (let i = 0; i < data.length; i++) first.data[i] += data[i];
  }
  return first;
}

/** @param {Values[]} parts */
function concatenated(parts) {
  const [{ count, context, shape }] = parts;
  const sizes = parts.map(({ shape }) => product(shape));
  const size = sizes.reduce((a, b) => a + b);
  const data = new Float32Array(count * size);
  let to = 0;
  for (let i = 0; i < count; i++) {
    for (const [k, part] of parts.entries()) {
      data.set(part.data.subarray(i * sizes[k], (i + 1) * sizes[k]), to);
      to += sizes[k];
    }
  }
  return { count, context, data, shape: [size / product(shape.slice(1)), ...shape.slice(1)] };
}

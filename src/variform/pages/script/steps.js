// The steps of a payload, those of the table in lowering.py.

export const product = (numbers) => numbers.reduce((a, b) => a * b, 1);

// ---- functions of one number

// The distribution function of N(0, 1), to 1e-7: Abramowitz and Stegun (1964), 7.1.26.
function normalCdf(x) {
  const t = 1 / (1 + (0.3275911 * Math.abs(x)) / Math.SQRT2);
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = (series * Math.exp((-x * x) / 2)) / 2;
  return x > 0 ? 1 - tail : tail;
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

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
  round: (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)), // halves to even
  step: (x) => (x >= 0.5 ? 1 : Number.isNaN(x) ? x : 0),
  "is-zero": (x) => (x === 0 ? 1 : 0),
  "is-missing": (x) => (Number.isNaN(x) ? 1 : 0),
};

const within = (x, [least, most]) => Math.min(Math.max(x, least), most);

// The mean level of a discretised logistic; from 64 levels on by the integral that the sum over them is nearly.
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

// ---- steps: each takes { data, shape, count, context } and gives the same; data is its own to overwrite

export const STEPS = {
  dense(step, h, { products }) {
    const { layer } = step;
    products.inputs(layer, h.data.length, h.count).set(h.data);
    const sums = products.run(layer, 0, 1, layer.inputs, h.count);
    const data = new Float32Array(h.count * layer.outputs);
    for (let i = 0, to = 0; i < h.count; i++)
      for (let o = 0; o < layer.outputs; o++) data[to++] = sums[i * layer.row + o];
    return { ...h, data, shape: [layer.outputs] };
  },

  // What each pixel of the output sees is gathered; then all pixels are one product.
  convolve(step, h, { products }) {
    const { layer, kernel, stride } = step;
    const [channels, ...sides] = h.shape;
    const plane = product(sides);
    const grid = sides.map((side, k) => Math.floor((side + 2 * step.padding[k] - kernel[k]) / stride[k]) + 1);
    const pixels = product(grid);
    const taps = product(kernel);
    const data = new Float32Array(h.count * layer.outputs * pixels);
    step.map ??= windows(grid, sides, step);
    for (let i = 0; i < h.count; i++) {
      const seen = products.inputs(layer, layer.inputs * pixels, pixels);
      for (let c = 0, to = 0; c < channels; c++)
        for (let tap = 0, from = (i * channels + c) * plane; tap < taps; tap++)
          for (let p = 0; p < pixels; p++) {
            const place = step.map[p * taps + tap];
            seen[to++] = place < 0 ? 0 : h.data[from + place];
          }
      const sums = products.run(layer, 0, pixels, 1, pixels);
      for (let o = 0; o < layer.outputs; o++)
        for (let p = 0; p < pixels; p++) data[(i * layer.outputs + o) * pixels + p] = sums[p * layer.row + o];
    }
    return { ...h, data, shape: [layer.outputs, ...grid] };
  },

  // What each pixel of the input adds to those around it is one product; then it is added up.
  "convolve-transposed"(step, h, { products }) {
    const { layer, kernel, stride, bias } = step;
    const [channels, ...grid] = h.shape;
    const pixels = product(grid);
    const sides = grid.map((n, k) => (n - 1) * stride[k] - 2 * step.padding[k] + kernel[k] + step.output_padding[k]);
    const taps = product(kernel);
    const outputs = layer.outputs / taps;
    const plane = product(sides);
    const inputs = channels * pixels;
    const data = new Float32Array(h.count * outputs * plane);
    step.map ??= windows(grid, sides, step);
    if (bias) for (let o = 0; o < h.count * outputs; o++) data.fill(bias[o % outputs], o * plane, (o + 1) * plane);
    for (let i = 0; i < h.count; i++) {
      products.inputs(layer, inputs, pixels).set(h.data.subarray(i * inputs, (i + 1) * inputs));
      const sums = products.run(layer, 0, pixels, 1, pixels);
      const { map } = step;
      for (let p = 0; p < pixels; p++)
        for (let o = 0, from = p * layer.row, to = i * outputs * plane; o < outputs; o++, to += plane)
          for (let tap = p * taps, end = tap + taps; tap < end; tap++, from++)
            if (map[tap] >= 0) data[to + map[tap]] += sums[from];
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
    const byFormula = (x) => 1 / (1 - Math.exp(-x)) - 1 / x;
    const bySeries = (x) => series.reduceRight((sum, coefficient) => sum * x + coefficient);
    for (let i = 0; i < data.length; i++) {
      const x = data[i];
      data[i] = Math.abs(x) < near ? bySeries(x) : byFormula(x);
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

  normalise(step, h) {
    const size = product(h.shape);
    const each = size / step.weight.length;
    for (let i = 0; i < h.count; i++) {
      const data = h.data.subarray(i * size, (i + 1) * size);
      let mean = 0;
      let variance = 0;
      for (const value of data) mean += value / size;
      for (const value of data) variance += (value - mean) ** 2 / size;
      const per = 1 / Math.sqrt(variance + step.eps);
      for (let k = 0; k < size; k++) {
        const place = Math.floor(k / each);
        data[k] = (data[k] - mean) * per * step.weight[place] + step.bias[place];
      }
    }
    return h;
  },

  add: (step, h) => broadcast(h, [step.value], (x, value) => x + value),
  multiply: (step, h) => broadcast(h, [step.value], (x, value) => x * value),
  fill: (step, h) => broadcast(h, [step.value], (x, value) => (Number.isNaN(x) ? value : x)),
  clip: (step, h) => broadcast(h, [step.low, step.high], (x, low, high) => Math.min(Math.max(x, low), high)),

  take(step, h) {
    const size = product(h.shape);
    const { places } = step;
    const data = new Float32Array(h.count * places.length);
    for (let i = 0, to = 0; i < h.count; i++) for (const place of places) data[to++] = h.data[i * size + place];
    return { ...h, data, shape: [places.length] };
  },

  reshape: (step, h) => ({ ...h, shape: step.shape }),

  context(_step, h) {
    const plane = product(h.shape.slice(1));
    const size = product(h.shape);
    const told = h.context.length / h.count;
    const data = new Float32Array(h.count * (size + told * plane));
    for (let i = 0; i < h.count; i++) {
      let to = i * (size + told * plane);
      data.set(h.data.subarray(i * size, (i + 1) * size), to);
      to += size;
      for (let c = 0; c < told; c++, to += plane) data.fill(h.context[i * told + c], to, to + plane);
    }
    return { ...h, data, shape: [h.shape[0] + told, ...h.shape.slice(1)] };
  },

  branches(step, h, engine) {
    const parts = step.branches.map((steps) => engine.run(steps, { ...h, data: h.data.slice() }));
    if (step.join === "sum") {
      const [first, ...others] = parts;
      for (const { data } of others) for (let i = 0; i < data.length; i++) first.data[i] += data[i];
      return first;
    }
    const sizes = parts.map(({ shape }) => product(shape));
    const size = sizes.reduce((a, b) => a + b);
    const data = new Float32Array(h.count * size);
    for (let i = 0, to = 0; i < h.count; i++)
      parts.forEach((part, k) => {
        data.set(part.data.subarray(i * sizes[k], (i + 1) * sizes[k]), to);
        to += sizes[k];
      });
    return { ...h, data, shape: [size] };
  },

  levels(step, h) {
    const [levels, ...shape] = h.shape;
    const size = product(shape);
    const data = new Float32Array(h.count * size);
    for (let to = 0; to < data.length; to++) {
      const start = Math.floor(to / size) * levels * size + (to % size);
      const logit = (k) => h.data[start + k * size];
      if (step.of === "logistic") {
        data[to] = logisticMean(logit(0), logit(1), step);
        continue;
      }
      let best = 0;
      let total = 0;
      let sum = 0;
      for (let k = 1; k < levels; k++) if (logit(k) > logit(best)) best = k;
      for (let k = 0; k < levels; k++) {
        const share = Math.exp(logit(k) - logit(best));
        total += share;
        sum += share * k;
      }
      data[to] = step.of === "likeliest" ? best : sum / total / (levels - 1);
    }
    return { ...h, data, shape };
  },
};

// For each window of a kernel, one a place of `grid`, and each of its taps the pixel of the plane, -1 for outside.
function windows(grid, sides, { kernel, stride, padding }) {
  const places = new Int32Array(product(grid) * product(kernel));
  let to = 0;
  for (let y = 0; y < grid[0]; y++)
    for (let x = 0; x < grid[1]; x++)
      for (let r = y * stride[0] - padding[0], bottom = r + kernel[0]; r < bottom; r++)
        for (let s = x * stride[1] - padding[1], right = s + kernel[1]; s < right; s++)
          places[to++] = r >= 0 && r < sides[0] && s >= 0 && s < sides[1] ? r * sides[1] + s : -1;
  return places;
}

// A function of each number and of what the arrays hold for it: one number, one a channel, or one an entry.
function broadcast(h, arrays, call) {
  const size = product(h.shape);
  const [first, second] = arrays;
  const { data } = h;
  const each = size / first.length;
  const other = second ? size / second.length : 1;
  for (let i = 0; i < data.length; i++) {
    const place = i % size;
    data[i] = call(data[i], first[Math.floor(place / each)], second ? second[Math.floor(place / other)] : 0);
  }
  return h;
}

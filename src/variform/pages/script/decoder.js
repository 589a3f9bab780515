// Decodes latent points: `const decoder = await Decoder.create(payload)`, then `await decoder.decode(z, context)`.
//
// z is a Float32Array of n * latentDim numbers; context one of n * contextDim, or of contextDim for all, or null, which is
// zeros. What comes back is a Float32Array of n * size numbers, the mean of p(x|z) in the data's own units, where size is
// the product of eventShape. A payload with a `url` decodes by asking that server (RemoteDecoder), any other one here
// (LocalDecoder); always await, and both are alike. decoder.kernel says what computes: "wasm-simd", "js" or "server".
//
// The payload is that of payload.py; its steps are those of the table in lowering.py. Every product of a matrix goes
// through one kernel: dense.wat, or where WebAssembly is refused (by a content security policy without
// 'wasm-unsafe-eval', or by an old browser) the same loops in JavaScript. No fetch, import or worker: file:// has none.

const Decoder = (() => {
  // What dense.wat assembles to; tests/test_explorer_decoder.py holds both against each other.
  const DENSE_WASM =
    "AGFzbQEAAAABDQFgCX9/f39/f39/fwADAgEABQMBAAEHEgIGbWVtb3J5AgAFZGVuc2UAAAroBAHlBAIJfwt7AkADQCAHRQ0BIAghCSAAIQogBSEL" +
    "AkADQCAJQQRIDQEgCiEOIA4gAmohDyAPIAJqIRAgECACaiERIBEgAmohCiAE/QAEACEVIAT9AAQQIRYgFSEXIBYhGCAVIRkgFiEaIBUhGyAWIRwg" +
    "BEEgaiEMIAMhDQNAIAz9AAQAIRIgDP0ABBAhEyAO/QkCACEUIBUgFCAS/eYB/eQBIRUgFiAUIBP95gH95AEhFiAP/QkCACEUIBcgFCAS/eYB/eQB" +
    "IRcgGCAUIBP95gH95AEhGCAQ/QkCACEUIBkgFCAS/eYB/eQBIRkgGiAUIBP95gH95AEhGiAR/QkCACEUIBsgFCAS/eYB/eQBIRsgHCAUIBP95gH9" +
    "5AEhHCAOIAFqIQ4gDyABaiEPIBAgAWohECARIAFqIREgDEEgaiEMIA1BAWsiDQ0ACyALIBX9CwQAIAsgFv0LBBAgCyAGaiELIAsgF/0LBAAgCyAY" +
    "/QsEECALIAZqIQsgCyAZ/QsEACALIBr9CwQQIAsgBmohCyALIBv9CwQAIAsgHP0LBBAgCyAGaiELIAlBBGshCQwACwsCQANAIAlFDQEgCiEOIAog" +
    "AmohCiAE/QAEACEVIAT9AAQQIRYgBEEgaiEMIAMhDQNAIA79CQIAIRQgFSAUIAz9AAQA/eYB/eQBIRUgFiAUIAz9AAQQ/eYB/eQBIRYgDiABaiEO" +
    "IAxBIGohDCANQQFrIg0NAAsgCyAV/QsEACALIBb9CwQQIAsgBmohCyAJQQFrIQkMAAsLIAQgA0EBakEFdGohBCAFQSBqIQUgB0EBayEHDAALCws=";

  const LANES = 8; // outputs that the kernel computes at once
  const MOST_FLOATS = 2 ** 21; // of the largest layer of a batch; more codes than fit are decoded one batch after another

  const product = (numbers) => numbers.reduce((a, b) => a * b, 1);

  // ---- the kernel and its memory; places and distances in bytes, as in dense.wat

  class WasmMemory {
    constructor() {
      const { memory, dense } = new WebAssembly.Instance(new WebAssembly.Module(bytesOf(DENSE_WASM))).exports;
      this.name = "wasm-simd";
      this.memory = memory;
      this.dense = dense;
      this.floats = new Float32Array(memory.buffer);
    }

    grow(floats) {
      this.memory.grow(Math.ceil((floats - this.floats.length) / 16384));
      this.floats = new Float32Array(this.memory.buffer);
    }
  }

  class PlainMemory {
    constructor() {
      this.name = "js";
      this.floats = new Float32Array(16384);
    }

    grow(floats) {
      const more = new Float32Array(Math.max(floats, this.floats.length * 1.5));
      more.set(this.floats);
      this.floats = more;
    }

    dense(x, step, stride, inputs, weights, y, row, blocks, examples) {
      const f = this.floats;
      [x, step, stride, weights, y, row] = [x >> 2, step >> 2, stride >> 2, weights >> 2, y >> 2, row >> 2];
      for (let block = 0; block < blocks; block++, weights += (inputs + 1) * LANES, y += LANES) {
        for (let example = 0; example < examples; example++) {
          let w = weights, p = x + example * stride;
          let a = f[w], b = f[w + 1], c = f[w + 2], d = f[w + 3], e = f[w + 4], g = f[w + 5], h = f[w + 6], i = f[w + 7];
          for (let n = 0; n < inputs; n++, p += step) {
            const value = f[p];
            w += LANES;
            a += value * f[w];
            b += value * f[w + 1];
            c += value * f[w + 2];
            d += value * f[w + 3];
            e += value * f[w + 4];
            g += value * f[w + 5];
            h += value * f[w + 6];
            i += value * f[w + 7];
          }
          const to = y + example * row;
          f[to] = a;
          f[to + 1] = b;
          f[to + 2] = c;
          f[to + 3] = d;
          f[to + 4] = e;
          f[to + 5] = g;
          f[to + 6] = h;
          f[to + 7] = i;
        }
      }
    }
  }

  function memoryOf(kernel) {
    if (kernel !== "js") {
      try {
        return new WasmMemory();
      } catch (error) {
        if (kernel) throw error;
      }
    }
    return new PlainMemory();
  }

  // The weights of all layers, end to end, and behind them room for one layer's inputs and outputs.
  class Products {
    constructor(kernel) {
      this.memory = memoryOf(kernel);
      this.used = 0;
    }

    // A layer whose weight from input n to output o is values[o * perOutput + n * perInput].
    keep(outputs, inputs, values, perOutput, perInput, bias) {
      const blocks = Math.ceil(outputs / LANES), start = this.used;
      this.used += blocks * (inputs + 1) * LANES;
      this.room(0);
      const { floats } = this.memory;
      for (let output = 0; output < outputs; output++) {
        let place = start + Math.floor(output / LANES) * (inputs + 1) * LANES + (output % LANES), from = output * perOutput;
        floats[place] = bias ? bias[output] : 0;
        for (let input = 0; input < inputs; input++, from += perInput) floats[(place += LANES)] = values[from];
      }
      return { start, inputs, outputs, blocks, row: blocks * LANES };
    }

    room(floats) {
      if (this.used + floats > this.memory.floats.length) this.memory.grow(this.used + floats);
    }

    // The room for inputs and, behind it, for what `run` gives; both are overwritten by the next layer.
    inputs(layer, floats, examples) {
      this.behind = this.used + floats;
      this.room(floats + examples * layer.row);
      return this.memory.floats.subarray(this.used, this.behind);
    }

    // Input k of example j stands at from + k * step + j * stride, its output o at o + j * layer.row of what comes back.
    run(layer, from, step, stride, examples) {
      const x = this.used + from;
      this.memory.dense(
        ...[4 * x, 4 * step, 4 * stride, layer.inputs, 4 * layer.start],
        ...[4 * this.behind, 4 * layer.row, layer.blocks, examples],
      );
      return this.memory.floats.subarray(this.behind, this.behind + examples * layer.row);
    }
  }

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
    relu: (x) => (x > 0 ? x : 0),
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

  // The mean level of a discretised logistic; from 64 levels on by the integral that the sum over them is nearly.
  function logisticMean(rawLocation, logScale, { count: levels, locations, log_scales: logScales }) {
    const within = (x, [least, most]) => Math.min(Math.max(x, least), most);
    const scale = Math.exp(within(logScale, logScales)), location = within(sigmoid(rawLocation), locations);
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

  const STEPS = {
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
      const { layer, kernel, stride } = step, [channels, ...sides] = h.shape, plane = product(sides);
      const grid = sides.map((side, k) => Math.floor((side + 2 * step.padding[k] - kernel[k]) / stride[k]) + 1);
      const pixels = product(grid), taps = product(kernel), data = new Float32Array(h.count * layer.outputs * pixels);
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
      const { layer, kernel, stride, bias } = step, [channels, ...grid] = h.shape, pixels = product(grid);
      const sides = grid.map((n, k) => (n - 1) * stride[k] - 2 * step.padding[k] + kernel[k] + step.output_padding[k]);
      const taps = product(kernel), outputs = layer.outputs / taps, plane = product(sides), inputs = channels * pixels;
      const data = new Float32Array(h.count * outputs * plane);
      step.map ??= windows(grid, sides, step);
      if (bias) for (let o = 0; o < h.count * outputs; o++) data.fill(bias[o % outputs], o * plane, (o + 1) * plane);
      for (let i = 0; i < h.count; i++) {
        products.inputs(layer, inputs, pixels).set(h.data.subarray(i * inputs, (i + 1) * inputs));
        const sums = products.run(layer, 0, pixels, 1, pixels), { map } = step;
        for (let p = 0; p < pixels; p++)
          for (let o = 0, from = p * layer.row, to = i * outputs * plane; o < outputs; o++, to += plane)
            for (let tap = p * taps, end = tap + taps; tap < end; tap++, from++)
              if (map[tap] >= 0) data[to + map[tap]] += sums[from];
      }
      return { ...h, data, shape: [outputs, ...sides] };
    },

    map(step, h) {
      const call = FUNCTIONS[step.function], { data } = h;
      for (let i = 0; i < data.length; i++) data[i] = call(data[i]);
      return h;
    },

    "continuous-bernoulli"({ near, series }, h) {
      const { data } = h;
      const byFormula = (x) => 1 / (1 - Math.exp(-x)) - 1 / x;
      const bySeries = (x) => series.reduceRight((sum, coefficient) => sum * x + coefficient);
      for (let i = 0; i < data.length; i++) data[i] = (Math.abs(data[i]) < near ? bySeries : byFormula)(data[i]);
      return h;
    },

    gate(step, h) {
      const half = product(h.shape) / 2, data = new Float32Array(h.count * half);
      for (let to = 0; to < data.length; to++) {
        const from = to + Math.floor(to / half) * half;
        data[to] = h.data[from] * sigmoid(h.data[from + half]);
      }
      return { ...h, data, shape: [h.shape[0] / 2, ...h.shape.slice(1)] };
    },

    normalise(step, h) {
      const size = product(h.shape), each = size / step.weight.length;
      for (let i = 0; i < h.count; i++) {
        const data = h.data.subarray(i * size, (i + 1) * size);
        let mean = 0, variance = 0;
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
      const size = product(h.shape), { places } = step, data = new Float32Array(h.count * places.length);
      for (let i = 0, to = 0; i < h.count; i++) for (const place of places) data[to++] = h.data[i * size + place];
      return { ...h, data, shape: [places.length] };
    },

    reshape: (step, h) => ({ ...h, shape: step.shape }),

    context(step, h) {
      const plane = product(h.shape.slice(1)), size = product(h.shape), told = h.context.length / h.count;
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
      const sizes = parts.map(({ shape }) => product(shape)), size = sizes.reduce((a, b) => a + b);
      const data = new Float32Array(h.count * size);
      for (let i = 0, to = 0; i < h.count; i++)
        parts.forEach((part, k) => {
          data.set(part.data.subarray(i * sizes[k], (i + 1) * sizes[k]), to);
          to += sizes[k];
        });
      return { ...h, data, shape: [size] };
    },

    levels(step, h) {
      const [levels, ...shape] = h.shape, size = product(shape), data = new Float32Array(h.count * size);
      for (let to = 0; to < data.length; to++) {
        const start = Math.floor(to / size) * levels * size + (to % size), logit = (k) => h.data[start + k * size];
        if (step.of === "logistic") {
          data[to] = logisticMean(logit(0), logit(1), step);
          continue;
        }
        let best = 0, total = 0, sum = 0;
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
    const size = product(h.shape), [first, second] = arrays, { data } = h;
    const each = size / first.length, other = second ? size / second.length : 1;
    for (let i = 0; i < data.length; i++) {
      const place = i % size;
      data[i] = call(data[i], first[Math.floor(place / each)], second ? second[Math.floor(place / other)] : 0);
    }
    return h;
  }

  // ---- arrays of the payload

  function bytesOf(text) {
    const characters = atob(text), bytes = new Uint8Array(characters.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
    return bytes;
  }

  // Exact: the exponent of a half is 112 less than that of the float with the same bits in its place.
  function halves(bytes) {
    const view = new DataView(bytes.buffer), bits = new Uint32Array(bytes.length / 2), found = new Float32Array(bits.buffer);
    for (let i = 0; i < bits.length; i++) {
      const half = view.getUint16(2 * i, true);
      bits[i] = ((half & 0x8000) << 16) | ((half & 0x7fff) << 13);
    }
    for (let i = 0; i < found.length; i++) found[i] *= 2 ** 112; // what would not be finite is never sent as halves
    return found;
  }

  function arraysOf(payload) {
    const bytes = bytesOf(payload.weights), found = {};
    for (const [name, { shape, type, start }] of Object.entries(payload.arrays)) {
      const part = bytes.slice(start, start + product(shape) * (type === "f16" ? 2 : 4));
      found[name] = { shape, values: type === "f16" ? halves(part) : new Float32Array(part.buffer) };
    }
    return found;
  }

  // ---- the two decoders

  class LocalDecoder {
    constructor(payload, kernel) {
      Object.assign(this, rowsOf(payload));
      this.products = new Products(kernel);
      this.kernel = this.products.memory.name;
      this.steps = this.prepared(payload.steps, arraysOf(payload));
      this.largest = 1;
      this.batch(new Float32Array(this.latentDim), new Float32Array(this.contextDim), 1); // finds the largest layer
    }

    // The steps with arrays in the place of their names, and matrices where the kernel wants them.
    prepared(steps, arrays) {
      return steps.map((step) => {
        const mine = { ...step };
        for (const name of ["bias", "value", "low", "high"]) if (step[name]) mine[name] = arrays[step[name]].values;
        if (step.branches) mine.branches = step.branches.map((branch) => this.prepared(branch, arrays));
        if (!step.weight) return mine;
        const { shape, values } = arrays[step.weight];
        mine.weight = values;
        if (step.op === "normalise") return mine;
        const [first, ...rest] = shape, others = product(rest);
        mine.kernel = shape.slice(2);
        mine.layer =
          step.op === "convolve-transposed"
            ? this.products.keep(others, first, values, 1, others, null)
            : this.products.keep(first, others, values, others, 1, mine.bias);
        delete mine.weight;
        return mine;
      });
    }

    run(steps, h) {
      for (const step of steps) {
        h = STEPS[step.op](step, h, this);
        this.largest = Math.max(this.largest, h.data.length / h.count);
      }
      return h;
    }

    batch(z, context, count) {
      return this.run(this.steps, { data: z.slice(), shape: [this.latentDim], count, context }).data;
    }

    decode(z, context = null) {
      const count = countOf(this, z), told = contextsOf(this, context, count);
      const most = Math.max(1, Math.floor(MOST_FLOATS / this.largest)), found = new Float32Array(count * this.size);
      for (let i = 0; i < count; i += most) {
        const end = Math.min(count, i + most), { latentDim, contextDim } = this;
        const context = told.subarray(i * contextDim, end * contextDim);
        found.set(this.batch(z.subarray(i * latentDim, end * latentDim), context, end - i), i * this.size);
      }
      return found;
    }
  }

  // The server takes rows of latentDim + contextDim float32 and answers with rows of `size` float32, little-endian both.
  class RemoteDecoder {
    constructor(payload) {
      Object.assign(this, rowsOf(payload), { url: payload.url, mostCodes: payload.mostCodes });
      this.kernel = "server";
    }

    async decode(z, context = null) {
      const count = countOf(this, z), told = contextsOf(this, context, count), { latentDim, contextDim, size } = this;
      const width = latentDim + contextDim, rows = new Float32Array(count * width);
      const found = new Float32Array(count * size);
      for (let i = 0; i < count; i++) {
        rows.set(z.subarray(i * latentDim, (i + 1) * latentDim), i * width);
        rows.set(told.subarray(i * contextDim, (i + 1) * contextDim), i * width + latentDim);
      }
      for (let i = 0; i < count; i += this.mostCodes) {
        const part = await this.ask(rows.slice(i * width, (i + this.mostCodes) * width));
        found.set(part, i * size);
      }
      return found;
    }

    async ask(rows) {
      const request = { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: rows };
      let answer = await fetch(this.url, request);
      for (let again = 0; answer.status === 429 && again < 5; again++) {
        await new Promise((wake) => setTimeout(wake, 1000 * (Number(answer.headers.get("Retry-After")) || 1)));
        answer = await fetch(this.url, request);
      }
      if (!answer.ok) throw new Error(`the server answered ${answer.status}: ${await answer.text()}`);
      return new Float32Array(await answer.arrayBuffer());
    }
  }

  const rowsOf = ({ latentDim, contextDim, eventShape }) => ({
    latentDim,
    contextDim,
    eventShape,
    size: product(eventShape),
  });

  function countOf({ latentDim }, z) {
    if (z.length % latentDim) throw new RangeError(`z must hold ${latentDim} numbers a code; got ${z.length} in all.`);
    return z.length / latentDim;
  }

  function contextsOf({ contextDim }, context, count) {
    const told = new Float32Array(count * contextDim);
    if (!context || !contextDim) return told;
    if (context.length !== contextDim && context.length !== told.length)
      throw new RangeError(`a context must hold ${contextDim} numbers, for all codes or for each; got ${context.length}.`);
    for (let i = 0; i < told.length; i++) told[i] = context[i % context.length];
    return told;
  }

  return {
    // kernel: "js" or "wasm-simd" to insist on one; by default the faster one that the page is allowed.
    create(payload, { kernel = null } = {}) {
      return payload.url ? new RemoteDecoder(payload) : new LocalDecoder(payload, kernel);
    },
  };
})();

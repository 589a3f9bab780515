// Decodes latent points: `const decoder = createDecoder(payload)`, then `await decoder.decode(z, context)`.
//
// z is a Float32Array of n * latentDim numbers; context one of n * contextDim, or of contextDim for all, or null, which is
// zeros. What comes back is a Float32Array of n * size numbers, the mean of p(x|z) in the data's own units, where size is
// the product of eventShape. A payload with a `url` decodes by asking that server (RemoteDecoder), any other one here
// (LocalDecoder); always await, and both are alike. decoder.kernel says what computes: "wasm-simd", "js" or "server".
//
// The payload is that of payload.py, its steps are those of steps.js. No fetch, import or worker: file:// has none.

import { bytesOf } from "./bytes.js";
import { Products } from "./kernel.js";
import { product, STEPS } from "./steps.js";

const MOST_FLOATS = 2 ** 21; // of the largest layer of a batch; more codes than fit are decoded one batch after another

// ---- arrays of the payload

// Exact: the exponent of a half is 112 less than that of the float with the same bits in its place.
function halves(bytes) {
  const view = new DataView(bytes.buffer);
  const bits = new Uint32Array(bytes.length / 2);
  const found = new Float32Array(bits.buffer);
  for (let i = 0; i < bits.length; i++) {
    const half = view.getUint16(2 * i, true);
    bits[i] = ((half & 0x8000) << 16) | ((half & 0x7fff) << 13);
  }
  for (let i = 0; i < found.length; i++) found[i] *= 2 ** 112; // what would not be finite is never sent as halves
  return found;
}

function arraysOf(payload) {
  const bytes = bytesOf(payload.weights);
  const found = {};
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
      const [first, ...rest] = shape;
      const others = product(rest);
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
    const count = countOf(this, z);
    const told = contextsOf(this, context, count);
    const most = Math.max(1, Math.floor(MOST_FLOATS / this.largest));
    const found = new Float32Array(count * this.size);
    for (let i = 0; i < count; i += most) {
      const end = Math.min(count, i + most);
      const { latentDim, contextDim } = this;
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
    const count = countOf(this, z);
    const told = contextsOf(this, context, count);
    const { latentDim, contextDim, size } = this;
    const width = latentDim + contextDim;
    const rows = new Float32Array(count * width);
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
    throw new RangeError(
      `a context must hold ${contextDim} numbers, for all codes or for each; got ${context.length}.`,
    );
  for (let i = 0; i < told.length; i++) told[i] = context[i % context.length];
  return told;
}

// kernel: "js" or "wasm-simd" to insist on one; by default the faster one that the page is allowed.
export function createDecoder(payload, { kernel = null } = {}) {
  return payload.url ? new RemoteDecoder(payload) : new LocalDecoder(payload, kernel);
}

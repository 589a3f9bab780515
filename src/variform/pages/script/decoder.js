// Decodes latent points: `const decoder = createDecoder(payload)`, then `await decoder.decode(z, context)`.
//
// z is a Float32Array of n * latentDim numbers; context one of n * contextDim, or of contextDim for all, or null, which
// is zeros. What comes back is a Float32Array of n * size numbers, the mean of p(x|z) in the data's own units, where
// size is the product of eventShape. A payload with a `url` decodes by asking that server (RemoteDecoder), any other
// one here (LocalDecoder); always await, and both are alike. decoder.kernel says what computes: "wasm-simd", "js" or
// "server".
//
// The payload is that of payload.py, its steps are those of steps.js. No fetch, import or worker: file:// has none.

/**
 * @import { KernelName, Payload, Step, Values } from "./types.js"
 */

import { bytesOf } from "./bytes.js";
import { Products } from "./kernel.js";
import { product, STEPS } from "./steps.js";

const MOST_FLOATS = 2 ** 21; // of the largest layer of a batch; more codes than fit are decoded one batch after another

/** @typedef {Record<string, { shape: number[], values: Float32Array }>} Arrays */

// ---- arrays of the payload

/**
 * Exact: the exponent of a half is 112 less than that of the float with the same bits in its place.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes the low ones of all, and then the high ones
 */
function halves(bytes) {
  const bits = new Uint32Array(bytes.length / 2);
  const found = new Float32Array(bits.buffer);
  for (let i = 0; i < bits.length; i++) {
    const half = (bytes[bits.length + i] << 8) | bytes[i];
    bits[i] = ((half & 0x8000) << 16) | ((half & 0x7fff) << 13);
  }
  for (let i = 0; i < found.length; i++) found[i] *= 2 ** 112; // what would not be finite is never sent as halves
  return found;
}

/**
 * Whole numbers times the step of their row; rows are stored in the order of their steps.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {Float32Array} steps
 */
function scaled(bytes, steps) {
  const whole = new Int8Array(bytes.buffer);
  const width = whole.length / steps.length;
  const found = new Float32Array(whole.length);
  const order = [...steps.keys()].sort((a, b) => steps[a] - steps[b] || a - b);
  order.forEach((row, stored) => {
    for (let k = 0; k < width; k++) found[row * width + k] = whole[stored * width + k] * steps[row];
  });
  return found;
}

const BYTES = { f32: 4, f16: 2, i8: 1 };

/** @param {Payload} payload */
function arraysOf(payload) {
  const { weights } = payload;
  const bytes = typeof weights === "string" ? bytesOf(weights) : weights;
  /** @type {(name: string) => Float32Array} */
  const valuesOf = (name) => {
    const { shape, type, start, steps } = payload.arrays[name];
    const part = bytes.slice(start, start + product(shape) * BYTES[type]);
    if (type === "f16") return halves(part);
    if (type === "i8") return scaled(part, valuesOf(steps));
    return new Float32Array(part.buffer);
  };
  /** @type {Arrays} */
  const found = {};
  for (const [name, { shape }] of Object.entries(payload.arrays)) found[name] = { shape, values: valuesOf(name) };
  return found;
}

// ---- the two decoders

// What both know of their numbers.
class Decoder {
  /** @param {Payload} payload */
  constructor({ latentDim, contextDim, eventShape, error }) {
    this.latentDim = latentDim;
    this.contextDim = contextDim;
    this.eventShape = eventShape;
    this.size = product(eventShape);
    this.error = error;
  }

  /** @param {Float32Array} z */
  count(z) {
    const { latentDim } = this;
    if (z.length % latentDim) throw new RangeError(`z must hold ${latentDim} numbers a code; got ${z.length} in all.`);
    return z.length / latentDim;
  }

  /**
   * A context for each code.
   *
   * @param {Float32Array | null} context
   * @param {number} count
   */
  contexts(context, count) {
    const width = this.contextDim;
    const told = new Float32Array(count * width);
    if (!context || !width) return told;
    const isKnown = context.length === width || context.length === told.length;
    const must = `a context must hold ${width} numbers, for all codes or for each`;
    if (!isKnown) throw new RangeError(`${must}; got ${context.length}.`);
    for (let i = 0; i < told.length; i++) told[i] = context[i % context.length];
    return told;
  }
}

class LocalDecoder extends Decoder {
  /**
   * @param {Payload} payload
   * @param {KernelName | null} kernel
   */
  constructor(payload, kernel) {
    super(payload);
    this.products = new Products(kernel);
    this.kernel = this.products.memory.name;
    const arrays = arraysOf(payload);
    /** @type {Step[]} */
    this.steps = this.prepared(payload.steps, arrays);
    /** @type {Step[] | null} */
    this.spreads = null;
    if (payload.spread) {
      this.spreads = [...this.steps.slice(0, payload.shared), ...this.prepared(payload.spread, arrays)];
    }
    this.hasSpread = Boolean(payload.spread);
    this.largest = 1;
    this.batch(new Float32Array(this.latentDim), new Float32Array(this.contextDim), 1); // finds the largest layer
  }

  /**
   * The steps with arrays instead of their names, and matrices where the kernel wants them.
   *
   * @param {Step[]} steps
   * @param {Arrays} arrays
   * @returns {Step[]}
   */
  prepared(steps, arrays) {
    return steps.map((step) => {
      const mine = { ...step };
      for (const name of ["bias", "value", "low", "high"]) {
        if (step[name]) mine[name] = arrays[step[name]].values;
      }
      if (step.branches) {
        mine.branches = step.branches.map((/** @type {Step[]} */ branch) => this.prepared(branch, arrays));
      }
      if (!step.weight) return mine;
      const { shape, values } = arrays[step.weight];
      if (step.op === "normalise") return { ...mine, weight: values };
      return { ...mine, kernel: shape.slice(2), layer: this.layer(mine, shape, values) };
    });
  }

  /**
   * @param {Step} step
   * @param {number[]} shape
   * @param {Float32Array} values
   */
  layer({ op, bias }, [first, ...rest], values) {
    const others = product(rest);
    if (op === "convolve-transposed") return this.products.keep(others, first, values, 1, others, null);
    return this.products.keep(first, others, values, others, 1, bias);
  }

  /**
   * @param {Step[]} steps
   * @param {Values} given
   */
  run(steps, given) {
    let values = given;
    for (const step of steps) {
      values = STEPS[step.op](step, values, this);
      this.largest = Math.max(this.largest, values.data.length / values.count);
    }
    return values;
  }

  /**
   * @param {Float32Array} z
   * @param {Float32Array} context
   * @param {number} count
   * @param {Step[]} steps
   */
  batch(z, context, count, steps = this.steps) {
    return this.run(steps, { data: z.slice(), shape: [this.latentDim], count, context }).data;
  }

  /**
   * @param {Float32Array} z
   * @param {Float32Array | null} context
   */
  decode(z, context = null) {
    return this.all(z, context, this.steps);
  }

  /**
   * The standard deviation of every value under p(x|z), in the data's own units; null where the likelihood has no steps
   * for it.
   *
   * @param {Float32Array} z
   * @param {Float32Array | null} context
   */
  spread(z, context = null) {
    return this.spreads ? this.all(z, context, this.spreads) : null;
  }

  /**
   * @param {Float32Array} z
   * @param {Float32Array | null} context
   * @param {Step[]} steps
   */
  all(z, context, steps) {
    const { latentDim, contextDim, size } = this;
    const count = this.count(z);
    const told = this.contexts(context, count);
    const most = Math.max(1, Math.floor(MOST_FLOATS / this.largest));
    const found = new Float32Array(count * size);
    for (let i = 0; i < count; i += most) {
      const end = Math.min(count, i + most);
      const codes = z.subarray(i * latentDim, end * latentDim);
      const contexts = told.subarray(i * contextDim, end * contextDim);
      found.set(this.batch(codes, contexts, end - i, steps), i * size);
    }
    return found;
  }
}

// The server takes rows of latentDim + contextDim float32 and answers with rows of `size` float32, little-endian both.
class RemoteDecoder extends Decoder {
  /** @param {Payload} payload */
  constructor(payload) {
    super(payload);
    this.url = payload.url;
    this.mostCodes = payload.mostCodes;
    this.kernel = "server";
    this.spreadUrl = payload.spreadUrl;
    this.hasSpread = Boolean(payload.spreadUrl);
  }

  /**
   * As of a LocalDecoder.
   *
   * @param {Float32Array} z
   * @param {Float32Array | null} context
   */
  spread(z, context = null) {
    return this.hasSpread ? this.all(z, context, this.spreadUrl) : null;
  }

  /**
   * @param {Float32Array} z
   * @param {Float32Array | null} context
   */
  decode(z, context = null) {
    return this.all(z, context, this.url);
  }

  /**
   * @param {Float32Array} z
   * @param {Float32Array | null} context
   * @param {string} url
   */
  async all(z, context, url) {
    const { latentDim, contextDim, size, mostCodes } = this;
    const count = this.count(z);
    const told = this.contexts(context, count);
    const width = latentDim + contextDim;
    const rows = new Float32Array(count * width);
    const found = new Float32Array(count * size);
    for (let i = 0; i < count; i++) {
      rows.set(z.subarray(i * latentDim, (i + 1) * latentDim), i * width);
      rows.set(told.subarray(i * contextDim, (i + 1) * contextDim), i * width + latentDim);
    }
    for (let i = 0; i < count; i += mostCodes) {
      const part = await this.ask(url, rows.slice(i * width, (i + mostCodes) * width));
      found.set(part, i * size);
    }
    return found;
  }

  /**
   * @param {string} url
   * @param {Float32Array<ArrayBuffer>} rows
   */
  async ask(url, rows) {
    const request = { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: rows };
    let answer = await fetch(url, request);
    for (let again = 0; answer.status === 429 && again < 5; again++) {
      const seconds = Number(answer.headers.get("Retry-After")) || 1;
      await new Promise((wake) => setTimeout(wake, 1000 * seconds));
      answer = await fetch(url, request);
    }
    if (!answer.ok) throw new Error(`the server answered ${answer.status}: ${await answer.text()}`);
    return new Float32Array(await answer.arrayBuffer());
  }
}

/**
 * @param {Payload} payload
 * @param {{ kernel?: KernelName | null }} options a kernel to insist on; else the faster one that the page is allowed
 */
export function createDecoder(payload, { kernel = null } = {}) {
  return payload.url ? new RemoteDecoder(payload) : new LocalDecoder(payload, kernel);
}

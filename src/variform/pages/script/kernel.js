// Products of matrices: every one goes through one kernel, dense.wat, or where WebAssembly is refused (by a content
// security policy without 'wasm-unsafe-eval', or by an old browser) the same loops in JavaScript.

/**
 * @import { KernelName, Layer } from "./types.js"
 */

import { bytesOf } from "./bytes.js";

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

// ---- the kernel and its memory; places and distances in bytes, as in dense.wat

class WasmMemory {
  constructor() {
    const { memory, dense } = new WebAssembly.Instance(new WebAssembly.Module(bytesOf(DENSE_WASM))).exports;
    this.name = "wasm-simd";
    this.memory = /** @type {WebAssembly.Memory} */ (memory);
    this.dense = /** @type {PlainMemory["dense"]} */ (dense);
    this.floats = new Float32Array(this.memory.buffer);
  }

  /** @param {number} floats that there must be room for */
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

  /** @param {number} floats that there must be room for */
  grow(floats) {
    const more = new Float32Array(Math.max(floats, this.floats.length * 1.5));
    more.set(this.floats);
    this.floats = more;
  }

  /**
   * As dense.wat says.
   *
   * @param {number} x
   * @param {number} step
   * @param {number} stride
   * @param {number} inputs
   * @param {number} weights
   * @param {number} y
   * @param {number} row
   * @param {number} blocks
   * @param {number} examples
   */
  dense(x, step, stride, inputs, weights, y, row, blocks, examples) {
    const f = this.floats;
    const perInput = step >> 2;
    for (let block = 0; block < blocks; block++) {
      for (let example = 0; example < examples; example++) {
        let w = (weights >> 2) + block * (inputs + 1) * LANES;
        let p = (x + example * stride) >> 2;
        let a = f[w];
        let b = f[w + 1];
        let c = f[w + 2];
        let d = f[w + 3];
        let e = f[w + 4];
        let g = f[w + 5];
        let h = f[w + 6];
        let i = f[w + 7];
        for (let n = 0; n < inputs; n++, p += perInput) {
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
        const to = ((y + example * row) >> 2) + block * LANES;
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

/** @param {KernelName | null} kernel null for the faster one that there is */
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
export class Products {
  /** @param {KernelName | null} kernel */
  constructor(kernel) {
    this.memory = memoryOf(kernel);
    this.used = 0;
    this.behind = 0;
  }

  /**
   * A layer whose weight from input n to output o is values[o * perOutput + n * perInput].
   *
   * @param {number} outputs
   * @param {number} inputs
   * @param {Float32Array} values
   * @param {number} perOutput
   * @param {number} perInput
   * @param {Float32Array | null} bias
   * @returns {Layer}
   */
  keep(outputs, inputs, values, perOutput, perInput, bias) {
    const blocks = Math.ceil(outputs / LANES);
    const start = this.used;
    this.used += blocks * (inputs + 1) * LANES;
    this.room(0);
    const { floats } = this.memory;
    for (let output = 0; output < outputs; output++) {
      let place = start + Math.floor(output / LANES) * (inputs + 1) * LANES + (output % LANES);
      let from = output * perOutput;
      floats[place] = bias ? bias[output] : 0;
      for (let input = 0; input < inputs; input++, from += perInput) {
        place += LANES;
        floats[place] = values[from];
      }
    }
    return { start, inputs, outputs, blocks, row: blocks * LANES };
  }

  /** @param {number} floats behind the weights */
  room(floats) {
    if (this.used + floats > this.memory.floats.length) this.memory.grow(this.used + floats);
  }

  /**
   * The room for inputs and, behind it, for what `run` gives; both are overwritten by the next layer.
   *
   * @param {Layer} layer
   * @param {number} floats
   * @param {number} examples
   */
  inputs(layer, floats, examples) {
    this.behind = this.used + floats;
    this.room(floats + examples * layer.row);
    return this.memory.floats.subarray(this.used, this.behind);
  }

  /**
   * Input k of example j stands at k * step + j * stride of the inputs, its output o at o + j * layer.row of what comes
   * back.
   *
   * @param {Layer} layer
   * @param {number} step
   * @param {number} stride
   * @param {number} examples
   */
  run({ start, inputs, blocks, row }, step, stride, examples) {
    const { used, behind } = this;
    this.memory.dense(4 * used, 4 * step, 4 * stride, inputs, 4 * start, 4 * behind, 4 * row, blocks, examples);
    return this.memory.floats.subarray(behind, behind + examples * row);
  }
}

// The decoder against values that are worked out by hand, with both kernels.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createDecoder } from "../../src/variform/pages/script/decoder.js";

const base64 = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");

/** A payload of float32 arrays { name: [shape, values] }. */
function payloadOf(latentDim, eventShape, steps, arrays = {}, contextDim = 0) {
  const places = {};
  const values = [];
  for (const [name, [shape, own]] of Object.entries(arrays)) {
    places[name] = { shape, type: "f32", start: 4 * values.length };
    values.push(...own);
  }
  return { latentDim, contextDim, eventShape, steps, arrays: places, weights: base64(Float32Array.from(values)) };
}

function decoded(payload, z, context = null) {
  const [fast, plain] = ["wasm-simd", "js"].map((kernel) => {
    const decoder = createDecoder(payload, { kernel });
    assert.equal(decoder.kernel, kernel);
    return [...decoder.decode(Float32Array.from(z), context && Float32Array.from(context))];
  });
  fast.forEach((value, k) => {
    assert.ok(Math.abs(value - plain[k]) < 1e-6 || (Number.isNaN(value) && Number.isNaN(plain[k])));
  });
  return plain;
}

const near = (found, expected, tolerance = 1e-6) => {
  assert.equal(found.length, expected.length);
  found.forEach((value, k) => {
    assert.ok(Math.abs(value - expected[k]) <= tolerance, `${found} is not ${expected}`);
  });
};

test("a layer is W z + b, for one code after another", () => {
  const arrays = {
    w: [
      [3, 2],
      [1, 2, 3, 4, 5, 6],
    ],
    b: [[3], [0.5, 0, -1]],
  };
  const payload = payloadOf(2, [3], [{ op: "dense", weight: "w", bias: "b" }], arrays);
  near(decoded(payload, [1, 1, 0, -1]), [3.5, 7, 10, -1.5, -4, -7]);
});

test("functions of one number are what their names say", () => {
  const given = [-2, 0, 0.5, 2.5];
  const expected = {
    relu: [0, 0, 0.5, 2.5],
    elu: [Math.exp(-2) - 1, 0, 0.5, 2.5],
    "leaky-relu": [-0.02, 0, 0.5, 2.5],
    gelu: [-0.04550026, 0, 0.34573123, 2.48447583], // x Phi(x), from tables
    sigmoid: [0.11920292, 0.5, 0.62245933, 0.92414182],
    softplus: [0.12692801, Math.LN2, 0.97407698, 2.57888973],
    round: [-2, 0, 0, 2], // halves to even
    step: [0, 0, 1, 1],
    "is-zero": [0, 1, 0, 0],
  };
  for (const [name, values] of Object.entries(expected)) {
    near(decoded(payloadOf(4, [4], [{ op: "map", function: name }]), given), values, 2e-6);
  }
});

test("the mean of a continuous Bernoulli is 1 / (1 - exp(-x)) - 1 / x, and by its series about 0", () => {
  const step = { op: "continuous-bernoulli", near: 0.1, series: [0.5, 1 / 12, 0, -1 / 720] };
  const found = decoded(payloadOf(4, [4], [step]), [-2, 0, 0.06, 2.5]);
  near(found, [0.34348236, 0.5, 0.5049997, 0.68942702], 2e-6);
});

test("a convolution sees its neighbours, and 0 beyond the edge", () => {
  const step = { op: "convolve", weight: "w", bias: "b", stride: [1, 1], padding: [1, 1] };
  const arrays = {
    w: [
      [1, 1, 3, 3],
      [0, 1, 0, 1, 0, 2, 0, 3, 0],
    ],
    b: [[1], [0.5]],
  }; // up, left, twice right, thrice down
  const payload = payloadOf(4, [1, 2, 2], [{ op: "reshape", shape: [1, 2, 2] }, step], arrays);
  near(decoded(payload, [1, 2, 3, 4]), [2 * 2 + 3 * 3 + 0.5, 1 + 3 * 4 + 0.5, 1 + 2 * 4 + 0.5, 2 + 3 + 0.5]);
});

test("a transposed convolution with stride 2 lays its kernel at each pixel", () => {
  const step = { op: "convolve-transposed", weight: "w", bias: "b", stride: [2, 2], padding: [0, 0] };
  const arrays = {
    w: [
      [1, 1, 2, 2],
      [1, 2, 3, 4],
    ],
    b: [[1], [0]],
  };
  const steps = [
    { op: "reshape", shape: [1, 1, 2] },
    { ...step, output_padding: [0, 0] },
  ];
  near(decoded(payloadOf(2, [1, 2, 4], steps, arrays), [1, 10]), [1, 2, 10, 20, 3, 4, 30, 40]);
});

test("levels give their mean, or the likeliest", () => {
  // Logits of the levels 0, 1/2 and 1 of one pixel: 1, 2 and 1 parts of 4.
  const logits = [0, Math.log(2), 0];
  const steps = (of) => [
    { op: "reshape", shape: [3, 1] },
    { op: "levels", of },
  ];
  near(decoded(payloadOf(3, [1], steps("mean")), logits), [0.5]);
  near(decoded(payloadOf(3, [1], steps("likeliest")), logits), [1]);
  near(decoded(payloadOf(3, [1], steps("variance")), logits), [0.125]);
});

test("a logistic over two levels is a coin, and a continuous Bernoulli has the variance of its integral", () => {
  const levels = { op: "levels", of: "logistic-variance", count: 2, locations: [0.25, 0.75], log_scales: [-4.5, 0] };
  const steps = [{ op: "reshape", shape: [2, 1] }, levels];
  const share = 1 / (1 + Math.exp(-0.25)); // the location is 3/4, the only edge 1/2, the scale 1
  near(decoded(payloadOf(2, [1], steps), [9, 0]), [share * (1 - share)]);
  const coins = { op: "continuous-bernoulli-variance", near: 0.5, series: [1 / 12, 0, -1 / 240] };
  // The density is proportional to e^(2 x) on [0, 1].
  const [total, first, second] = [(Math.E ** 2 - 1) / 2, (Math.E ** 2 + 1) / 4, (Math.E ** 2 - 1) / 4];
  const variance = second / total - (first / total) ** 2;
  near(decoded(payloadOf(3, [3], [coins]), [0, 2, -2]), [1 / 12, variance, variance]);
});

test("gates, branches, places and bounds", () => {
  near(decoded(payloadOf(2, [1], [{ op: "gate" }]), [3, 0]), [1.5]);
  const arrays = { two: [[1], [2]], ten: [[3], [10, 20, 30]], low: [[1], [-1]], high: [[1], [1]] };
  const double = { op: "multiply", value: "two" };
  const plus = { op: "add", value: "ten" };
  const branches = (join) => ({ op: "branches", join, branches: [[double], [plus]] });
  near(decoded(payloadOf(3, [3], [branches("sum")], arrays), [1, 2, 3]), [13, 26, 39]);
  near(decoded(payloadOf(3, [6], [branches("concatenate")], arrays), [1, 2, 3]), [2, 4, 6, 11, 22, 33]);
  near(decoded(payloadOf(3, [2], [{ op: "take", places: [2, 0] }]), [1, 2, 3]), [3, 1]);
  near(decoded(payloadOf(3, [3], [{ op: "clip", low: "low", high: "high" }], arrays), [-9, 0.5, 9]), [-1, 0.5, 1]);
});

test("a context stands behind the code, the same for all or one for each", () => {
  const payload = payloadOf(1, [3], [{ op: "context" }], {}, 2);
  near(decoded(payload, [1, 2], [8, 9]), [1, 8, 9, 2, 8, 9]);
  near(decoded(payload, [1, 2], [8, 9, 6, 7]), [1, 8, 9, 2, 6, 7]);
  near(decoded(payload, [1, 2]), [1, 0, 0, 2, 0, 0]);
  const decoder = createDecoder(payload);
  assert.throws(() => decoder.decode(Float32Array.of(1), Float32Array.of(8)), /must hold 2 numbers/);
});

test("a normalised code has mean 0 and variance 1, then scale and shift", () => {
  const arrays = { w: [[4], [1, 1, 1, 2]], b: [[4], [0, 0, 0, 5]] };
  const steps = [{ op: "normalise", weight: "w", bias: "b", eps: 0 }];
  const unit = 1 / Math.sqrt(1.25); // of 1, 2, 3, 4
  near(decoded(payloadOf(4, [4], steps, arrays), [1, 2, 3, 4]), [-1.5 * unit, -0.5 * unit, 0.5 * unit, 3 * unit + 5]);
});

test("half precision is read exactly, from all low bytes and then all high ones", () => {
  const halves = [0x3c00, 0xc000, 0x0001, 0x7bff, 0x3555]; // 1, -2, the least, the greatest, about 1/3
  const bytes = Uint8Array.from([...halves.map((half) => half & 255), ...halves.map((half) => half >> 8)]);
  const arrays = { b: { shape: [5], type: "f16", start: 0 } };
  const payload = { latentDim: 5, contextDim: 0, eventShape: [5], arrays, weights: base64(bytes) };
  const found = decoded({ ...payload, steps: [{ op: "add", value: "b" }] }, [0, 0, 0, 0, 0]);
  assert.deepEqual(found, [1, -2, 2 ** -24, 65504, 0.333251953125]);
});

test("whole numbers have the step of their row, and stand in the order of the steps", () => {
  const bytes = new Uint8Array(12);
  bytes.set(new Uint8Array(Float32Array.of(0.5, 0.25).buffer));
  bytes.set(Int8Array.of(-127, 4, 3, 1), 8); // the row of 0.25 first
  const arrays = {
    steps: { shape: [2, 1], type: "f32", start: 0 },
    w: { shape: [2, 2], type: "i8", start: 8, steps: "steps" },
    b: { shape: [2, 1], type: "f32", start: 0 },
  };
  const steps = [{ op: "dense", weight: "w", bias: "b" }];
  const payload = { latentDim: 2, contextDim: 0, eventShape: [2], steps, arrays, weights: base64(bytes) };
  near(decoded(payload, [1, 0, 0, 1]), [2, -31.5, 1, 1.25]);
});

// The nearest example of a conditional model against distances that are worked out by hand.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Cloud } from "../../src/variform/pages/script/geometry.js";
import { Nearness } from "../../src/variform/pages/script/nearness.js";

const LOAD = { name: "load", unit: "N", categories: [], range: [-2, 2], shift: 100, scale: 10 };
const WOOD = { name: "wood", unit: "", categories: ["ash", "oak"], range: [], shift: 0, scale: 1 };
const loads = (...numbers) => ({ name: "load", kind: "number", numbers: Float32Array.from(numbers) });
const woods = (...numbers) => ({ name: "wood", kind: "category", numbers: Int16Array.from(numbers) });
const CLOUD = new Cloud(Float32Array.of(0, 0, 3, 0, 0, 1), 2);

test("a number that is given counts in standard deviations, beside the latents", () => {
  const near = new Nearness(CLOUD, [LOAD], [loads(100, 130, 140)]);
  assert.deepEqual(near.nearest([0, 0], Float32Array.of(0)), { index: 0, distance: 0 });
  assert.deepEqual(near.nearest([0, 0], Float32Array.of(3)), { index: 2, distance: Math.sqrt(2) });
  assert.deepEqual(near.nearest([3, 0], Float32Array.of(0)), { index: 0, distance: 3 });
  // (0, 0, 0), (3, 0, 3) and (0, 1, 4): the least distance of each from another one is sqrt(17), sqrt(11) and sqrt(11).
  assert.ok(Math.abs(near.limit - Math.sqrt(11)) < 1e-6);
  assert.ok(Math.abs(near.strangeness(2 * Math.sqrt(11)) - 2) < 1e-6);
});

test("only the category that is chosen counts, where an example has it, beside a number", () => {
  const near = new Nearness(CLOUD, [WOOD, LOAD], [loads(100, 130, 140), woods(0, 1, 0)]);
  const given = (...values) => near.nearest([0, 0], Float32Array.from(values)).index;
  assert.equal(given(1, 0, 0), 0);
  assert.equal(given(0, 1, 0), 1);
  assert.equal(given(1, 0, 4), 2);
  const oaks = new Nearness(CLOUD, [WOOD], [woods(1, 1, 1)]);
  assert.deepEqual(oaks.nearest([3, 1], Float32Array.of(1, 0)), { index: 1, distance: 1 });
});

test("without a condition the latents alone count, and an example without a number is none", () => {
  assert.deepEqual(new Nearness(CLOUD, [], []).nearest([3, 1], Float32Array.of()), { index: 1, distance: 1 });
  const near = new Nearness(CLOUD, [LOAD], [loads(Number.NaN, 100, 110)]);
  assert.equal(near.nearest([0, 0], Float32Array.of(0)).index, 2);
});

// Limits of what is known of examples, and how they stand in an address.

import assert from "node:assert/strict";
import { test } from "node:test";

import { extentOf, quantitiesOf, readLimits, within, writeLimits } from "../../src/variform/pages/script/quantities.js";

const quantity = (name, ...numbers) => ({ name, unit: "", column: -1, numbers: Float32Array.from(numbers) });
const KNOWN = [quantity("drag", 1, 2, Number.NaN, 4), quantity("a:b|c~d %", 4, 3, 2, 1)];

test("both ends of a limit belong to it, and what has no number is outside", () => {
  const inside = (...limits) => within(KNOWN, limits, 4);
  assert.equal(inside(), null);
  assert.equal(inside({ name: "drag", low: null, high: null }), null);
  assert.deepEqual([...inside({ name: "drag", low: 2, high: null })], [0, 1, 0, 1]);
  assert.deepEqual([...inside({ name: "drag", low: null, high: 9 })], [1, 1, 0, 1]);
  const both = inside({ name: "drag", low: 1, high: 2 }, { name: "a:b|c~d %", low: null, high: 3 });
  assert.deepEqual([...both], [0, 1, 0, 0]);
});

test("limits of any name come back from the address, and what is not known is left out", () => {
  const limits = [
    { name: "a:b|c~d %", low: -0.25, high: null },
    { name: "drag", low: null, high: 1e6 },
  ];
  assert.deepEqual(readLimits(writeLimits(limits), KNOWN), limits);
  assert.deepEqual(readLimits("weight:1:2|drag:x:3|drag:1:2|%E0%A4%A:1:2|", KNOWN), [
    { name: "drag", low: null, high: 3 },
  ]);
});

test("an outline's columns are quantities beside what is known of its rows", () => {
  const columns = [{ name: "y 1", kind: "category" }];
  const designs = {
    lines: {},
    size: 2,
    columns: ["y 1", "y 2"].map((name) => ({ name, full: `${name} [m]`, unit: "m" })),
  };
  const found = quantitiesOf(designs, columns, Float32Array.of(1, 2, 3, 4));
  assert.deepEqual(
    found.map(({ name, column, numbers }) => [name, column, ...numbers]),
    [
      ["y 1 [m]", 0, 1, 3],
      ["y 2", 1, 2, 4],
    ],
  );
  assert.deepEqual(extentOf(Float32Array.of(Number.NaN, 2, -1)), [-1, 2]);
});

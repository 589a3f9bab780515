// What a rectangle and a lasso hold, and how they stand in the address.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  cornersOf,
  isWithin,
  lassoOf,
  readRegion,
  rectangleOf,
  writeRegion,
} from "../../src/variform/pages/script/region.js";

test("a rectangle holds what lies between its corners, whichever come first", () => {
  const region = rectangleOf([3, 1], [-1, 2]);
  assert.deepEqual(region, [-1, 1, 3, 2]);
  assert.equal(isWithin(region, 0, 1.5), true);
  assert.equal(isWithin(region, -1, 2), true);
  assert.equal(isWithin(region, 0, 2.1), false);
  assert.deepEqual(
    cornersOf(region).map(([x, y]) => isWithin(region, x, y)),
    [true, true, true, true],
  );
});

test("a lasso holds what its line goes round an odd number of times", () => {
  const circle = Array.from({ length: 500 }, (_, i) => [Math.cos(i / 80), Math.sin(i / 80)]);
  const region = lassoOf(circle);
  assert.ok(region.length <= 120);
  let count = 0;
  const size = 100;
  for (let i = 0; i < size * size; i++) {
    const [x, y] = [3 * ((i % size) / size - 0.5), 3 * (Math.floor(i / size) / size - 0.5)];
    const away = Math.hypot(x, y);
    if (away < 0.97) assert.equal(isWithin(region, x, y), true);
    if (away > 1.001) assert.equal(isWithin(region, x, y), false);
    count += isWithin(region, x, y);
  }
  assert.ok(Math.abs((9 * count) / size ** 2 - Math.PI) < 0.05); // the area of the circle
  const bow = [0, 0, 2, 2, 2, 0, 0, 2]; // two triangles that meet in (1, 1)
  assert.deepEqual(
    [
      [0.3, 1],
      [1.7, 1],
      [1, 0.3],
      [1, 1.7],
    ].map(([x, y]) => isWithin(bow, x, y)),
    [true, true, false, false],
  );
});

test("a line back and forth goes round nothing", () => {
  assert.equal(lassoOf([]), null);
  assert.equal(
    lassoOf([
      [0, 0],
      [1, 1],
      [0.5, 0.5],
    ]),
    null,
  );
});

test("the address holds a region, and what means nothing is none", () => {
  const rectangle = rectangleOf([1 / 3, 2], [-1, 1e-7 / 3]);
  assert.deepEqual(rectangle, [-1, 3.333333e-8, 0.3333333, 2]);
  const lasso = lassoOf([
    [0, 0],
    [1 / 3, 0],
    [0, -2],
  ]);
  for (const region of [rectangle, lasso]) assert.deepEqual(readRegion(writeRegion(region)), region);
  assert.equal(writeRegion(null), "");
  const many = Array(200).fill(1).join(",");
  for (const text of ["", "1,0,0,1", "0,0,1", "0,0,1,x", "0,0,1,1,2", many]) assert.equal(readRegion(text), undefined);
});

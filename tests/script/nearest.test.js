// Trees and cells find what a look at all points finds.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Cells } from "../../src/variform/pages/script/cells.js";
import { normals } from "../../src/variform/pages/script/random.js";
import { Tree } from "../../src/variform/pages/script/tree.js";

/** Draws from N(0, 1), one after the other. */
function drawing(seed) {
  const draws = normals(100_000, seed);
  let at = 0;
  return () => draws[at++];
}

/** The nearest of all points that are wanted, by looking at each. */
function looked(points, dim, z, isWanted = () => true) {
  let [index, square] = [-1, Infinity];
  for (let i = 0; i < points.length / dim; i++) {
    let sum = 0;
    for (let k = 0; k < dim; k++) sum += (points[i * dim + k] - z[k]) ** 2;
    if (sum < square && isWanted(i, sum)) [index, square] = [i, sum];
  }
  return { index, square };
}

for (const [dim, count] of [
  [1, 300],
  [2, 5000],
  [10, 3000],
  [3, 5],
]) {
  test(`the nearest of ${count} points in ${dim} dimensions`, () => {
    const draws = drawing(dim + count);
    const points = Float32Array.from({ length: dim * count }, draws);
    for (let i = 0; i < count / 5; i++) points.copyWithin(dim * i, dim * (count - 1 - i), dim * (count - i)); // twins
    points[dim * 3] = Number.NaN;
    const tree = new Tree(points, dim);
    for (let round = 0; round < 60; round++) {
      const z = Float32Array.from({ length: dim }, () => (round % 3 === 0 ? 4 : 1) * draws());
      assert.deepEqual(tree.nearest(z), looked(points, dim, z));
      const isEven = (i, square) => i % 2 === 0 && square > 0;
      assert.deepEqual(tree.nearest(z, 0, isEven), looked(points, dim, z, isEven));
      const twin = (round % count) * dim;
      const own = points.slice(twin, twin + dim);
      const isElsewhere = (_, square) => square > 0;
      assert.deepEqual(tree.nearest(points, twin, isElsewhere), looked(points, dim, own, isElsewhere));
    }
  });
}

test("of points that are all alike the first is the nearest", () => {
  assert.deepEqual(new Tree(new Float32Array(400).fill(2), 2).nearest([2, 3]), { index: 0, square: 1 });
  assert.deepEqual(new Tree(new Float32Array(0), 2).nearest([2, 3]), { index: -1, square: Infinity });
});

test("cells find the nearest within reach, and nothing beyond it", () => {
  const draws = drawing(7);
  const points = Float32Array.from({ length: 8000 }, draws);
  points[10] = Number.NaN;
  points[11] = Number.NaN;
  const cells = new Cells(points);
  const isOdd = (i) => i % 2 === 1;
  for (let round = 0; round < 200; round++) {
    const place = [2 * draws(), 2 * draws()];
    const { index, square } = looked(points, 2, place, isOdd);
    const found = cells.nearest(...place, 0.1, isOdd);
    assert.equal(found, square < 0.01 ? index : -1);
  }
  assert.equal(new Cells(new Float32Array(0)).nearest(0, 0, 1, isOdd), -1);
});

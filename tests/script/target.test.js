// The target box: misses that are worked out by hand.

import assert from "node:assert/strict";
import { test } from "node:test";

import { distanceFrom, missOf, spreadOf } from "../../src/variform/pages/script/target.js";

test("the spread is the standard deviation of what is there, and 1 where nothing differs", () => {
  assert.equal(spreadOf([2, 4, 4, 4, 5, 5, 7, 9, Number.NaN]), 2);
  assert.equal(spreadOf([3, 3, 3]), 1);
});

test("a miss is the distance from the range in spreads, and several add as squares", () => {
  const ranges = [
    { range: { name: "a", low: 1, high: 2 }, spread: 0.5 },
    { range: { name: "b", low: null, high: 10 }, spread: 2 },
  ];
  assert.equal(missOf(1.5, ranges[0]), 0);
  assert.equal(missOf(0, ranges[0]), 2);
  assert.equal(missOf(-1e9, ranges[1]), 0);
  assert.equal(distanceFrom([3.5, 18], ranges), 5); // 3 and 4
  assert.ok(Number.isNaN(distanceFrom([Number.NaN, 1], ranges)));
});

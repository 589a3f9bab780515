// What a search for examples finds, and in which order.

import assert from "node:assert/strict";
import { test } from "node:test";

import { examplesOf } from "../../src/variform/pages/script/search.js";

const ROWS = {
  count: 6,
  names: ["Box-12", "box-1", "lid", "the lid", "x", "12"],
  numbers: [7, 8, 9, 12, 1, 2],
  labels: ["red", "lid", "blue", "red", "dark red", ""],
};

test("a row number comes first, then a name, its beginning, a label and a part", () => {
  assert.deepEqual(examplesOf("12", ROWS), [3, 5, 0]);
  assert.deepEqual(examplesOf(" LID ", ROWS), [2, 1, 3]);
  assert.deepEqual(examplesOf("box", ROWS), [0, 1]);
  assert.deepEqual(examplesOf("red", ROWS), [0, 3, 4]); // rows 7 and 12, then a part
  assert.deepEqual(examplesOf("nothing", ROWS), []);
  assert.deepEqual(examplesOf("  ", ROWS), []);
});

test("of rows without names a number is no part of another number", () => {
  const rows = { count: 4, names: ["row 71", "row 17", "row 7", "row 70"], numbers: [71, 17, 7, 70], labels: [] };
  assert.deepEqual(examplesOf("7", rows), [2]);
  assert.deepEqual(examplesOf("row 7", rows), [2, 3, 0]);
  assert.deepEqual(examplesOf("7", { count: 2, names: null, numbers: null, labels: ["7", "1"] }), [0]);
});

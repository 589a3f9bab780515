// Pins in files: what is written is read again, by hand and from other programs.

import assert from "node:assert/strict";
import { test } from "node:test";

import { csvOf } from "../../src/variform/pages/script/bytes.js";
import { cellsOfPins, givenOf, parsed, readPins } from "../../src/variform/pages/script/pin_files.js";

const PINS = [Float32Array.of(0.1, -1 / 3), Float32Array.of(1e-7, 12345.678)];
const LABELS = [{ name: 'a "good", one', note: "two\nlines; é" }];

test("what is written is read again to the last bit", async () => {
  const decoded = { heads: ["length [mm]"], rows: [["1.5"], ["2"]] };
  const text = await csvOf(cellsOfPins(PINS, LABELS, [["material", "steel"]], decoded)).text();
  assert.equal(text.split("\r\n")[0], "z1,z2,name,note,material,length [mm]");
  const found = readPins(text, 2);
  assert.deepEqual(
    found.map(({ z }) => [...z]),
    PINS.map((z) => [...z]),
  );
  assert.deepEqual(found[0].label, LABELS[0]);
  assert.deepEqual(found[1].label, { name: "", note: "" });
});

test("columns may stand in any order, and others beside them, as pandas writes them", () => {
  const [one] = readPins("\uFEFF,note,z2,z1\n0,far out,2,-1\n", 2);
  assert.deepEqual([...one.z], [-1, 2]);
  assert.deepEqual(one.label, { name: "", note: "far out" });
});

test("cells of a file as RFC 4180 has them", () => {
  assert.deepEqual(parsed('a,b\r\n"1,""x""",\r\n\r\n,2'), [
    ["a", "b"],
    ['1,"x"', ""],
    ["", "2"],
  ]);
});

test("a file of another model or without numbers is refused with what is there", () => {
  assert.throws(() => readPins("z1,z2,z3\n1,2,3\n", 2), /z1 to z2, for the model has 2 latents; it has z1, z2, z3/);
  assert.throws(() => readPins("x,y\n1,2\n", 2), /it has x, y/);
  assert.throws(() => readPins("z1,z2\n1,\n", 2), /line 2 must have a number/);
});

test("conditions are said in the user's units", () => {
  const conditions = [
    { name: "material", categories: ["steel", "wood"], scale: 1, shift: 0 },
    { name: "angle", categories: [], scale: 10, shift: 5 },
  ];
  assert.deepEqual(givenOf(conditions, Float32Array.of(0, 1, 2)), [
    ["material", "wood"],
    ["angle", "25"],
  ]);
});

// What is checked in is what the sources give.

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { bundle, FOLDER } from "../../tools/bundle.js";

test("the bundle that is checked in is that of the sources: otherwise `make bundle`", async () => {
  const [made, kept] = await Promise.all([bundle(), readFile(join(FOLDER, "bundle.js"), "utf8")]);
  assert.ok(made === kept, "bundle.js is not what the sources give: run `make bundle` and commit it with them");
});

test("no line is longer than 120 characters, in strings and comments neither, which the formatter leaves", async () => {
  const all = await readdir(FOLDER, { recursive: true });
  const names = all.filter((name) => /\.\w+$/.test(name) && name !== "bundle.js");
  assert.ok(names.length > 30);
  for (const name of names) {
    const lines = (await readFile(join(FOLDER, name), "utf8")).split("\n");
    const long = lines.findIndex((line) => line.length > 120) + 1;
    assert.ok(!long, `${name}:${long} is longer than 120 characters`);
  }
});

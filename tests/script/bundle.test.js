// What is checked in is what the sources give.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { bundle, FOLDER } from "../../tools/bundle.js";

test("the bundle that is checked in is that of the sources: otherwise `make bundle`", async () => {
  const [made, kept] = await Promise.all([bundle(), readFile(join(FOLDER, "bundle.js"), "utf8")]);
  assert.ok(made === kept, "bundle.js is not what the sources give: run `make bundle` and commit it with them");
});

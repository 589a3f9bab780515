/**
 * The script of the explorer page in one file, as a page without a server needs it:
 *
 *     node tools/bundle.js                      # writes src/variform/pages/script/bundle.js
 *     node tools/bundle.js index.js bundle.js   # of another index.js to another file
 *
 * The bundle is checked in: who uses variform needs no Node. Names stay as they are, so that an error in a browser says
 * what the sources say; lines are short, so that a change of the sources is a small change of the bundle.
 */

import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

export const FOLDER = join(dirname(fileURLToPath(import.meta.url)), "../src/variform/pages/script");

/** @param {string} index */
export async function bundle(index = join(FOLDER, "index.js")) {
  const { outputFiles } = await build({
    entryPoints: [index],
    bundle: true,
    write: false,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    banner: { js: '"use strict";' },
    minifyWhitespace: true,
    minifySyntax: true,
    lineLimit: 40,
  });
  return outputFiles[0].text;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [index, to = join(FOLDER, "bundle.js")] = process.argv.slice(2);
  await writeFile(to, await bundle(index));
}

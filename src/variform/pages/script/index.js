// What bundle.js is made of. It only adds to `variform`, of which loader.js calls `start`; Python's tests ask the rest.

/**
 * @import { Contents, Payload } from "./types.js"
 */

import { App } from "./app.js";
import { Occupancy } from "./conditions.js";
import { createDecoder } from "./decoder.js";
import { Lines } from "./lines.js";
import { tellNotebook } from "./notebook.js";
import { reach } from "./reach.js";

/**
 * Build the page from what loader.js has unpacked; what comes back is its App.
 *
 * @param {{ contents: Contents, decoder: Payload }} data
 * @param {Uint8Array<ArrayBuffer> | null} weights null where a server decodes
 */
async function start({ contents, decoder }, weights) {
  const app = new App(contents, createDecoder({ ...decoder, weights }));
  await app.start();
  void tellNotebook(app);
  performance.mark("variform-ready");
  return app;
}

globalThis.variform = { ...globalThis.variform, start, createDecoder, Lines, Occupancy, reach };

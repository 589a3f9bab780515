// What bundle.js is made of. It only adds to `variform`, of which loader.js calls `start`; Python's tests ask the rest.

/**
 * @import { Contents, Payload } from "./types.js"
 */

import { App } from "./app.js";
import { Occupancy } from "./conditions.js";
import { createDecoder } from "./decoder.js";
import { byId } from "./elements.js";
import { Lines } from "./lines.js";
import { tellNotebook } from "./notebook.js";
import { reach } from "./reach.js";
import { say, t } from "./words.js";

/**
 * Build the page from what loader.js has unpacked; what comes back is its App.
 *
 * @param {{ contents: Contents, decoder: Payload }} data
 * @param {Uint8Array<ArrayBuffer> | null} weights null where a server decodes
 */
async function start({ contents, decoder }, weights) {
  sayFrame();
  const app = new App(contents, createDecoder({ ...decoder, weights }));
  await app.start();
  void tellNotebook(app);
  performance.mark("variform-ready");
  return app;
}

/** What page.html.j2 says in English. */
function sayFrame() {
  byId("skip").textContent = t`Skip to the view`;
  for (const label of document.querySelectorAll("body > [aria-label], nav [aria-label], main > [aria-label]")) {
    label.setAttribute("aria-label", say(label.getAttribute("aria-label")));
  }
  document.title = t`${document.title.replace(/: variform explorer$/, "")}: variform explorer`;
}

globalThis.variform = { ...globalThis.variform, start, createDecoder, Lines, Occupancy, reach };

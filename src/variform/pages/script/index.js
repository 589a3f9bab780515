// What bundle.js is made of. It only defines `variform`, of which the page calls `start`; Python's tests ask the rest.

import { App } from "./app.js";
import { Occupancy } from "./conditions.js";
import { createDecoder, unpacked } from "./decoder.js";
import { byId, text } from "./elements.js";
import { Lines } from "./lines.js";
import { tellNotebook } from "./notebook.js";
import { reach } from "./reach.js";

/** Build the page from its data; what comes back is its App. */
async function start() {
  try {
    const { contents, decoder } = JSON.parse(byId("data").textContent);
    byId("data").remove();
    const app = new App(contents, createDecoder(await unpacked(decoder)));
    await app.start();
    void tellNotebook(app);
    performance.mark("variform-ready");
    return app;
  } catch (error) {
    const words = `The explorer could not start: ${error.message}`;
    document.querySelector("main").prepend(text("p", words, { className: "failure", role: "alert" }));
    throw error;
  }
}

Object.assign(globalThis, { variform: { start, createDecoder, Lines, Occupancy, reach } });

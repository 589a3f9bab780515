// A notebook around the page hears which rows are selected, by a port that it hands into the frame; nobody else does.

/**
 * @import { App } from "./types.js"
 */

const ASKS = "variform: selection";

/** The port of whoever asked, which may be before the page has started. @type {Promise<MessagePort>} */
const asked = new Promise((resolve) => {
  globalThis.addEventListener?.("message", ({ data, ports }) => {
    if (data === ASKS && ports.length === 1) resolve(ports[0]);
  });
});

/**
 * From now on tell it of the numbers of the selected rows; none where nothing is selected.
 *
 * @param {App} app
 */
export async function tellNotebook(app) {
  const port = await asked;
  app.tell = () => {
    const { numbers } = app.contents.rows;
    const chosen = app.chosen() ? app.chosenExamples() : [];
    port.postMessage(chosen.map((i) => numbers?.[i] ?? i));
  };
  app.tell();
}

// A notebook around the page hears which rows are selected, by a port that it hands into the frame; nobody else does.
// loader.js waits for the port: a notebook hands it over as soon as the frame has loaded, before this script is there.

/**
 * @import { App } from "./types.js"
 */

/**
 * From now on tell it of the numbers of the selected rows; none where nothing is selected.
 *
 * @param {App} app
 */
export async function tellNotebook(app) {
  const port = await globalThis.variform.port;
  let told = " "; // which no rows are
  app.tell = () => {
    const { numbers } = app.contents.rows;
    const chosen = app.chosen() ? app.chosenExamples() : [];
    const rows = chosen.map((i) => numbers?.[i] ?? i);
    if (String(rows) !== told) port.postMessage(rows);
    told = String(rows);
  };
  app.tell();
}

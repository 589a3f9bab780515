// The examples that are selected on the map: how many, and the file of them.

/**
 * @import { App, ColourColumn } from "./types.js"
 */

import { csvOf } from "./bytes.js";
import { numbersOf } from "./colouring.js";
import { button, element } from "./elements.js";
import { float32Text } from "./text.js";

const WRITTEN = ["label", "response", "split"]; // roles of the columns in the file
const HINT = "Wheel or pinch zooms, a drag moves, with Shift it selects.";

/**
 * The cells of a file of examples: row number, name, labels and responses, and the posterior mean, in the
 * order of the rows.
 *
 * @param {App} app
 * @param {number[]} chosen
 */
export function cellsOfExamples({ contents, world }, chosen) {
  const { names, numbers } = contents.rows;
  const columns = world.columns.filter(({ role }) => WRITTEN.includes(role));
  const titles = columns.map(({ name, unit }) => (unit ? `${name} [${unit}]` : name));
  const axes = Array.from({ length: contents.latents.dim }, (_, k) => `z${k + 1}`);
  const ordered = numbers ? chosen.toSorted((a, b) => numbers[a] - numbers[b]) : chosen;
  const lines = ordered.map((i) => {
    const known = columns.map((column) => cellOf(column, i));
    return [numbers?.[i] ?? "", names?.[i] ?? "", ...known, ...Array.from(world.cloud.point(i), float32Text)];
  });
  return [["row", "name", ...titles, ...axes], ...lines];
}

/**
 * @param {ColourColumn} column
 * @param {number} i
 */
function cellOf(column, i) {
  const value = numbersOf(column)[i];
  return column.kind === "category" ? (column.categories[value] ?? "") : float32Text(value);
}

export class Selection {
  /**
   * @param {App} app
   * @param {() => number[]} chosen the examples that are selected
   * @param {() => void} selectView select all that is in view
   */
  constructor(app, chosen, selectView) {
    this.app = app;
    this.chosen = chosen;
    this.said = element("span", { className: "count", role: "status" });
    this.all = button("Select all in view", selectView);
    this.save = button("Save selection", () => app.save(csvOf(cellsOfExamples(app, chosen())), "selection.csv"));
    this.clear = button("Clear", () => app.set({ selection: null }), {
      "aria-label": "Clear selection",
      title: "Select none (Escape)",
    });
    this.element = element("div", { className: "selection" }, this.all, this.save, this.clear, this.said);
  }

  /** What is selected has changed. */
  refresh() {
    const isOn = this.app.state.selection !== null;
    const count = isOn ? this.chosen().length : 0;
    const rows = this.app.world.cloud.count.toLocaleString("en");
    this.save.hidden = !isOn;
    this.save.disabled = count === 0;
    this.clear.hidden = !isOn;
    this.said.textContent = isOn ? `${count.toLocaleString("en")} of ${rows} selected` : HINT;
  }
}

// The examples that are selected on the map: how many, and the file of them.

/**
 * @import { App, ColourColumn } from "./types.js"
 */

import { csvOf } from "./bytes.js";
import { numbersOf } from "./colouring.js";
import { button, element } from "./elements.js";
import { float32Text } from "./text.js";
import { Wall } from "./walls.js";
import { say, t } from "./words.js";

const WRITTEN = ["label", "response", "split"]; // roles of the columns in the file
const HINT = "Wheel or pinch zooms; with Shift a drag selects.";

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
  /** What was told last. @type {Uint8Array | null | undefined} */
  _chosen = undefined;

  /**
   * @param {App} app
   * @param {{ view: () => void, pins: () => void }} select all in view, and all that lies between the pins
   */
  constructor(app, select) {
    this.app = app;
    this.said = element("span", { className: "count", role: "status" });
    this.all = button(t`Select all in view`, select.view);
    this.pins = button(t`Select within pins`, select.pins, { title: t`What the line from pin to pin goes round` });
    const file = () => csvOf(cellsOfExamples(app, app.chosenExamples()));
    this.save = button(t`Save selection`, () => app.save(file(), "selection.csv"));
    this.clear = button(t`Clear`, () => app.set({ selection: null }), {
      "aria-label": t`Clear selection`,
      title: t`Select none (Escape)`,
    });
    this.element = element("div", { className: "selection" }, this.all, this.pins, this.save, this.clear, this.said);
  }

  /** What is selected has changed. */
  refresh() {
    const { state, world } = this.app;
    const chosen = this.app.chosen();
    this.pins.hidden = state.pins.length < 3;
    this.save.hidden = !chosen;
    this.clear.hidden = !state.selection;
    if (chosen === this._chosen) return;
    this._chosen = chosen;
    this.app.tell?.();
    const count = chosen ? countOf(chosen) : 0;
    const rows = world.cloud.count.toLocaleString("en");
    this.save.disabled = count === 0;
    this.said.textContent = chosen ? t`${count.toLocaleString("en")} of ${rows} selected` : say(HINT);
  }
}

// What is selected, or within all limits, as pictures below the map.
export class ChosenExamples {
  /** What was drawn last. @type {Uint8Array | null | undefined} */
  _chosen = undefined;

  /** @type {number[]} */
  shown = [];

  /**
   * @param {App} app
   * @param {HTMLElement} host
   * @param {(i: number) => void} go to an example
   */
  constructor(app, host, go) {
    this.app = app;
    this.host = host;
    this.title = element("p", { className: "chosen-title" });
    const place = element("div", { className: "chosen-wall" });
    host.append(this.title, place);
    this.wall = new Wall(place, t`Selected examples; arrow keys go from one to the next`, {
      follow: (at) => app.follow(app.world.cloud.point(this.shown[at])),
      leave: () => app.follow(app.state.z),
      choose: (at) => go(this.shown[at]),
    });
  }

  /** The colours have changed. */
  again() {
    this._chosen = undefined;
  }

  /** What is selected has changed, or the size of the page. */
  refresh() {
    const { world } = this.app;
    const chosen = this.app.chosen();
    this.host.hidden = !chosen;
    const width = this.host.clientWidth;
    if (!chosen || (chosen === this._chosen && width === this._width)) return;
    this._chosen = chosen;
    this._width = width;
    const { aspect, areWide } = world.designs;
    const across = Math.max(4, Math.floor(width / (areWide ? 84 : 54)));
    this.shown = firstOf(world.order, chosen, 2 * across);
    this._showTitle(countOf(chosen));
    this.wall.at = -1;
    this.wall.show({
      count: this.shown.length,
      across,
      aspect,
      gap: 6,
      draw: (context, at, box) => world.examples.draw(context, this.shown[at], box),
    });
  }

  /** @param {number} count */
  _showTitle(count) {
    const selected = count ? t`Selected: ${count.toLocaleString("en")}` : t`None is selected`;
    const some = t`${this.shown.length} of them drawn at random`;
    this.title.textContent = this.shown.length < count ? `${selected}, ${some}` : selected;
  }
}

/** @param {Uint8Array} chosen */
function countOf(chosen) {
  let count = 0;
  for (const one of chosen) count += one;
  return count;
}

/**
 * @param {number[]} order
 * @param {Uint8Array} chosen
 * @param {number} most
 */
function firstOf(order, chosen, most) {
  const found = [];
  for (const i of order) {
    if (found.length === most) break;
    if (chosen[i]) found.push(i);
  }
  return found;
}

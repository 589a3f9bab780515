// A field that finds examples by their names, labels and row numbers.

/**
 * @import { App, World, Contents } from "./types.js"
 */

import { numbersOf } from "./colouring.js";
import { element, text } from "./elements.js";
import { t } from "./words.js";

const MOST = 8; // in the list
const LIST = "found";

/**
 * The examples that words mean, the best first: the number of a row, all of a name, its beginning, a label, a part.
 * Those that are as good stand in the order of the rows.
 *
 * @param {string} words
 * @param {{ count: number, names: string[] | null, numbers: number[] | null, labels: string[] }} rows
 */
export function examplesOf(words, { count, names, numbers, labels }) {
  const wanted = words.trim().toLowerCase();
  if (!wanted) return [];
  /** @type {number[][]} */
  const ranks = [[], [], [], [], []];
  for (let i = 0; i < count; i++) {
    const name = (names?.[i] ?? "").toLowerCase();
    const label = (labels[i] ?? "").toLowerCase();
    const rank = rankOf(wanted, name, label, String(numbers?.[i] ?? ""));
    if (rank >= 0) ranks[rank].push(i);
  }
  const inOrder = (/** @type {number[]} */ rank) => (numbers ? rank.sort((a, b) => numbers[a] - numbers[b]) : rank);
  return ranks.flatMap(inOrder);
}

/**
 * How good a name, a label or a number is for what is wanted, 0 the best; -1 for what is not meant.
 *
 * @param {string} wanted
 * @param {string} name
 * @param {string} label
 * @param {string} number of the row
 */
function rankOf(wanted, name, label, number) {
  if (number === wanted) return 0;
  if (name === wanted) return 1;
  if (name.startsWith(wanted)) return 2;
  if (label === wanted) return 3;
  if (label.includes(wanted)) return 4;
  // Without names of their own the digits of a number would find a tenth of all rows.
  return name.includes(wanted) && name !== `row ${number}` ? 4 : -1;
}

/**
 * The label of each example in words, empty without one.
 *
 * @param {World} world
 */
function labelsOf({ label }) {
  return label ? Array.from(numbersOf(label), (value) => label.categories[value] ?? "") : [];
}

export class Search {
  /** Examples that are found, the best first. @type {number[]} */
  found = [];

  /** Which of them is chosen in the list. */
  _at = 0;

  /**
   * @param {App} app
   * @param {(i: number) => void} go to an example
   */
  constructor(app, go) {
    this.app = app;
    this.go = go;
    const { rows } = /** @type {Contents} */ (app.contents);
    this.rows = { count: rows.count, names: rows.names, numbers: rows.numbers, labels: labelsOf(app.world) };
    this.list = element("ul", { id: LIST, role: "listbox", "aria-label": t`Examples that are found`, hidden: true });
    this.field = element("input", {
      type: "search",
      placeholder: t`name, label or row number`,
      autocomplete: "off",
      spellcheck: false,
      role: "combobox",
      "aria-label": t`Find an example`,
      "aria-expanded": "false",
      "aria-controls": LIST,
      "aria-autocomplete": "list",
      oninput: () => this._look(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this._key(event),
      onblur: () => this._open(false),
      onfocus: () => this._open(this.found.length > 0),
    });
    this.said = element("span", { className: "count", role: "status" });
    const label = element("label", { className: "field" }, text("span", t`Find`), this.field);
    this.element = element("div", { className: "search" }, label, this.said, this.list);
  }

  _look() {
    this.found = examplesOf(this.field.value, this.rows);
    this._at = 0;
    const { length } = this.found;
    this.said.textContent = this.field.value.trim() ? t`${length.toLocaleString("en")} found` : "";
    this._open(length > 0);
    this.app.schedule(false);
  }

  /** @param {boolean} isOpen */
  _open(isOpen) {
    this.list.hidden = !isOpen;
    this.field.setAttribute("aria-expanded", String(isOpen));
    const options = this.found.slice(0, MOST).map((i, at) => this._option(i, at));
    this.list.replaceChildren(...options);
    if (isOpen) this.field.setAttribute("aria-activedescendant", `${LIST}-${this._at}`);
    else this.field.removeAttribute("aria-activedescendant");
  }

  /**
   * @param {number} i an example
   * @param {number} at its place in the list
   */
  _option(i, at) {
    const name = this.app.nameOf(i) || t`example ${i + 1}`;
    const number = this.rows.numbers?.[i];
    const isSaid = number !== undefined && this.rows.names?.[i] !== `row ${number}`;
    const made = element("li", { id: `${LIST}-${at}`, role: "option", "aria-selected": String(at === this._at) });
    made.append(text("span", name), isSaid ? text("small", t`row ${number}`) : "");
    made.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the field keeps the focus
      this._at = at;
      this._goThere();
    });
    return made;
  }

  _goThere() {
    if (!this.found.length) return;
    this.go(this.found[this._at]);
    this._open(false);
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key] ?? 0;
    const count = Math.min(MOST, this.found.length);
    if (step && count) {
      const isShut = this.list.hidden;
      if (!isShut) this._at = (this._at + step + count) % count;
      this._open(true);
    } else if (event.key === "Enter") this._goThere();
    else if (event.key === "Escape") {
      if (this.list.hidden) this.field.value = "";
      if (this.field.value === "") this._look();
      else this._open(false);
    } else return;
    event.preventDefault();
  }
}

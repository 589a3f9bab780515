// The target box: ranges of responses and columns, and the known and evaluated designs that meet them or come nearest.

/**
 * @import { ColourColumn, Contents, Limit, Quantity } from "../types.js"
 * @import { Wanted } from "../target.js"
 */

import { numbersOf } from "../colouring.js";
import { Compared, compareTick } from "../compare.js";
import { button, choice, element, note, text } from "../elements.js";
import { ERROR, itemOf, keyOfDesign, keyOfRow, numberOf } from "../items.js";
import { extentOf } from "../quantities.js";
import { INVALID } from "../study.js";
import { SortedTable } from "../table.js";
import { distanceFrom, missOf, spreadOf } from "../target.js";
import { shown, stepOf } from "../text.js";
import { say, t } from "../words.js";
import { View } from "./view.js";

const AT_ONCE = 20; // rows of the table
const AT_FIRST = 6; // columns that are shown while nothing is asked for
const HINT = "Choose a response or a column, and say between which values it shall lie. Until then these are known:";
const MEASURE =
  "A miss is in standard deviations of the known designs, or of the evaluated ones where only these have a value; of " +
  "several ranges it is the root of the sum of squares. Designs that lack a value, and invalid ones, are left out.";

/**
 * @typedef {object} Found
 * @property {string} key
 * @property {number[]} values one a range
 * @property {number} miss
 */

export class TargetView extends View {
  static key = "target";
  static title = "Target";
  static isOfLatents = true;

  /** @type {string | null} */
  _rowsOf = null;

  /** @param {Contents} contents */
  static isFor({ rows, event, study }) {
    return (
      Boolean(study) ||
      event.kind !== "image" ||
      rows.columns.some(({ name, kind }) => kind === "number" && name !== ERROR)
    );
  }

  /** @param {HTMLElement} host */
  mount(host) {
    this.box = element("div", { className: "target", role: "group", "aria-label": t`What is asked for` });
    this.more = element("div", { className: "bar" });
    this.said = element("p", { className: "asked", role: "status" });
    this.place = element("div");
    const compared = element("div");
    host.append(this.box, this.more, this.said, this.place, note(say(MEASURE)), compared);
    this.compared = new Compared(this.app, compared);
  }

  again() {
    this.compared.again();
  }

  refresh() {
    const { target } = this.app.state;
    const names = target.map(({ name }) => name).join("|");
    if (names !== this._rowsOf) this._build(names);
    const key = JSON.stringify(target);
    if (key !== this._key) {
      this._key = key;
      this._show();
    }
    this.compared.refresh();
  }

  // Those of the known designs, and what only the evaluated ones have.
  get _quantities() {
    const { quantities, study } = this.app.world;
    const known = quantities.filter(({ name }) => name !== ERROR);
    const names = new Set(known.map(({ name }) => name));
    const others = (study?.responses ?? []).filter(({ name }) => !names.has(name));
    return [...known, ...others.map(ofDesigns)];
  }

  /** @param {string} wanted */
  _find(wanted) {
    return this._quantities.find(({ name }) => name === wanted);
  }

  // --- what is asked for

  /** @param {string} names */
  _build(names) {
    const { target } = this.app.state;
    this._rowsOf = names;
    const known = target.filter(({ name }) => this._find(name));
    this.box.replaceChildren(...known.map((range) => this._row(range, this._find(range.name))));
    const chosen = new Set(target.map(({ name }) => name));
    const rest = this._quantities.filter(({ name }) => !chosen.has(name));
    const options = rest.map(({ name, unit }) => /** @type {[string, string]} */ ([name, titled(name, unit)]));
    const add = (/** @type {string} */ name) => {
      if (name) this._set([...this.app.state.target, { name, low: null, high: null }]);
      this.box.lastElementChild?.querySelector("input").focus();
    };
    this.more.replaceChildren(choice(t`Ask for`, [["", "…"], ...options], "", add));
  }

  /** @param {Limit[]} target */
  _set(target) {
    this.app.set({ target });
    this.refresh();
  }

  /**
   * @param {Limit} range
   * @param {Quantity} quantity
   */
  _row(range, { name, unit, numbers }) {
    const [least, most] = extentOf(numbers);
    const step = stepOf(numbers);
    const away = button("×", () => this._set(this.app.state.target.filter((one) => one.name !== name)), {
      className: "out",
      "aria-label": t`Leave ${name} out`,
    });
    const ends = [
      this._input(range, "low", t`from ${shown(least, step)}`),
      this._input(range, "high", t`to ${shown(most, step)}`),
    ];
    const title = element("span", {}, text("b", name), unit ? text("small", ` ${unit}`) : null);
    return element("div", { className: "range-of" }, title, ...ends, away);
  }

  /**
   * @param {Limit} range
   * @param {"low" | "high"} end
   * @param {string} placeholder
   */
  _input({ name, ...ends }, end, placeholder) {
    const label = end === "low" ? t`${name}, at least` : t`${name}, at most`;
    const value = ends[end] ?? "";
    const input = element("input", { type: "number", step: "any", placeholder, value, "aria-label": label });
    const change = () => {
      const number = input.value === "" ? null : Number(input.value);
      this._set(this.app.state.target.map((one) => (one.name === name ? { ...one, [end]: number } : one)));
    };
    input.addEventListener("input", change);
    return input;
  }

  // --- what there is

  _show() {
    const asked = this.app.state.target.filter(
      ({ name, low, high }) => this._find(name) && (low !== null || high !== null),
    );
    const ranges = asked.length ? asked : this._open();
    this.place.replaceChildren();
    /** @type {Wanted[]} */
    const wanted = ranges.map((range) => ({ range, spread: spreadOf(this._find(range.name).numbers) }));
    const found = this._found(wanted);
    this.said.textContent = asked.length ? this._inWords(asked, found) : say(HINT);
    const heads = this._heads(wanted, found);
    if (!asked.length) heads.pop(); // nothing is missed
    const table = new SortedTable(this.place, t`Designs, the nearest first`, heads, () => {});
    table.show([...found.keys()], "", AT_ONCE);
  }

  // Ranges that everything is in: of what is chosen, or of the first columns.
  _open() {
    const chosen = this.app.state.target.filter(({ name }) => this._find(name));
    const names = (chosen.length ? chosen : this._quantities.slice(0, AT_FIRST)).map(({ name }) => name);
    return names.map((name) => /** @type {Limit} */ ({ name, low: null, high: null }));
  }

  /**
   * All designs whose values are known, the nearest first.
   *
   * @param {Wanted[]} wanted
   * @returns {Found[]}
   */
  _found(wanted) {
    const { study, cloud, designs } = this.app.world;
    const quantities = wanted.map(({ range }) => this._find(range.name));
    const isKnown = (/** @type {Quantity} */ { name }) => this.app.world.quantities.some((one) => one.name === name);
    const rows = Array.from({ length: cloud.count }, (_, i) => {
      const values = quantities.map((one) => (isKnown(one) ? one.numbers[i] : Number.NaN));
      return { key: keyOfRow(i), values };
    });
    const valid = study ? study.ids.map((_, i) => i).filter((i) => study.contents.designs.state[i] !== INVALID) : [];
    const evaluated = valid.map((i) => {
      const own = study.sheet.values ? designs.part(study.sheet.values, i) : null;
      const read = (/** @type {Quantity} */ { name, column }) => {
        if (own && column >= 0) return own[column];
        return numberOf(study.contents.designs.columns, name, i);
      };
      return { key: keyOfDesign(study.ids[i]), values: quantities.map(read) };
    });
    const all = [...rows, ...evaluated].map((one) => ({ ...one, miss: distanceFrom(one.values, wanted) }));
    return all.filter(({ miss }) => Number.isFinite(miss)).sort((a, b) => a.miss - b.miss);
  }

  /**
   * What was asked for, and what is had.
   *
   * @param {Limit[]} ranges
   * @param {Found[]} found
   */
  _inWords(ranges, found) {
    const asked = ranges.map((range) => wordsOf(range, this._find(range.name))).join(", ");
    const met = found.filter(({ miss }) => miss === 0);
    const known = met.filter(({ key }) => key.startsWith("r:")).length;
    const evaluated = met.length - known;
    const wanted = t`Asked for: ${asked}.`;
    if (!found.length) return `${wanted} ${t`No design on this page has a value of each.`}`;
    if (!met.length) {
      const nearest = shown(found[0].miss, 0.01);
      const miss = t`Nothing meets all of it: the nearest design misses by ${nearest} standard deviations.`;
      return `${wanted} ${miss}`;
    }
    const [old, young] = [known, evaluated].map((count) => count.toLocaleString("en"));
    if (!this.app.world.study) return `${wanted} ${t`${old} known designs meet all of it.`}`;
    return `${wanted} ${t`${old} known and ${young} evaluated designs meet all of it.`}`;
  }

  /**
   * @param {Wanted[]} wanted
   * @param {Found[]} found
   */
  _heads(wanted, found) {
    const { app } = this;
    const items = (/** @type {number} */ i) => itemOf(app, found[i].key);
    const values = wanted.map((one, k) => {
      const { name, unit, numbers } = this._find(one.range.name);
      const step = stepOf(numbers);
      const cell = (/** @type {number} */ i) => {
        const value = found[i].values[k];
        const isMissed = missOf(value, one) > 0;
        return text("span", shown(value, step), {
          className: isMissed ? "missed" : "",
          title: isMissed ? t`missed` : "",
        });
      };
      return { key: `value-${k}`, name, unit, isNumber: true, cell };
    });
    const goTo = (/** @type {number} */ i) => {
      const { name, z } = items(i);
      return button(name, () => app.goTo(z), { title: t`Go to its point` });
    };
    const miss = (/** @type {number} */ i) => (found[i].miss ? shown(found[i].miss, 0.01) : t`met`);
    return [
      { key: "compare", name: t`compare`, cell: (/** @type {number} */ i) => this._tick(items(i)) },
      { key: "name", name: t`design`, cell: goTo },
      { key: "about", name: "", cell: (/** @type {number} */ i) => items(i).about },
      ...values,
      { key: "miss", name: t`miss`, isNumber: true, cell: miss },
    ];
  }

  /** @param {{ key: string, name: string }} item */
  _tick({ key, name }) {
    return compareTick(this.app, key, name);
  }
}

/**
 * @param {ColourColumn} column a response of the evaluated designs
 * @returns {Quantity}
 */
function ofDesigns(column) {
  const numbers = /** @type {Float32Array} */ (numbersOf(column));
  return { name: column.name, unit: column.unit ?? "", column: -1, numbers };
}

/**
 * @param {string} name
 * @param {string} unit
 */
const titled = (name, unit) => (unit ? `${name} [${unit}]` : name);

/**
 * @param {Limit} range
 * @param {Quantity} quantity
 */
function wordsOf({ name, low, high }, { unit }) {
  const after = unit ? ` ${unit}` : "";
  if (low === null) return t`${name} at most ${shown(high)}${after}`;
  if (high === null) return t`${name} at least ${shown(low)}${after}`;
  return t`${name} from ${shown(low)} to ${shown(high)}${after}`;
}

// Sliders of columns and responses: limits beyond which examples are faint, and of a column the value that is decoded.

/**
 * @import { App, Limit, Point, Quantity } from "./types.js"
 */

import { prepare } from "./canvas.js";
import { button, choice, element, note, text } from "./elements.js";
import { ERROR } from "./items.js";
import { extentOf } from "./quantities.js";
import { reach } from "./reach.js";
import { shown } from "./text.js";
import { Theme } from "./theme.js";
import { say, t } from "./words.js";

const STEPS = 200; // of a slider
const BINS = 48;
const HISTOGRAM = 26; // pixels high
const MARGIN = 8; // beside it: half a thumb
const ALIKE = 0.05; // of the range of a column: examples as near to the value that is wanted
const OTHERS = 2; // of these a search begins at
const HINT =
  "Choose a column or a response to see how the selected examples are spread in it. A drag over it limits them to a " +
  "range; a column can also be set.";

/**
 * The elements of one quantity.
 *
 * @typedef {object} Row
 * @property {Quantity} quantity
 * @property {[number, number]} extent
 * @property {HTMLElement} element
 * @property {HTMLCanvasElement} histogram
 * @property {HTMLInputElement} from
 * @property {HTMLInputElement} to
 * @property {HTMLElement} words
 * @property {HTMLInputElement | null} decoded
 * @property {HTMLOutputElement} value
 * @property {HTMLElement} said
 * @property {Float32Array | null} counts of all examples in each bin, once they are asked for
 * @property {unknown[]} drawnOf what the histogram was drawn of last
 */

/** @param {string} name of a column, or of the error that the page knows of each row */
const called = (name) => (name === ERROR ? say(name) : name);

export class Limits {
  /** @type {Row[]} */
  rows = [];

  /** @type {string | null} */
  _shown = null;

  /** Of which examples it was said how many they are. @type {Uint8Array | null | undefined} */
  _inside = undefined;

  /** @type {{ row: Row, target: number, start: Point } | null} */
  _wanted = null;

  /** @type {Point | null} */
  _start = null;

  /**
   * @param {App} app
   * @param {HTMLElement} host
   */
  constructor(app, host) {
    this.app = app;
    this.list = element("div", { className: "limits" });
    this.more = element("div", { className: "limits-more" });
    this.count = note("");
    this.count.setAttribute("role", "status");
    host.append(this.list, this.more, this.count);
  }

  /** What is kept has changed. */
  refresh() {
    const { limits } = this.app.state;
    const names = limits.map(({ name }) => name).join("|");
    if (names !== this._shown) this._build(names);
    for (const row of this.rows) this._showLimit(row);
    this._say(limits.length > 0);
  }

  /** @param {boolean} isLimited */
  _say(isLimited) {
    const inside = isLimited ? this.app.inside() : undefined;
    if (inside === this._inside && this.count.textContent) return;
    this._inside = inside;
    const rows = this.app.world.cloud.count;
    const some = inside?.reduce((sum, one) => sum + one, 0) ?? rows;
    const words = t`${some.toLocaleString("en")} of ${rows.toLocaleString("en")} examples are within all limits.`;
    this.count.textContent = isLimited ? words : say(HINT);
  }

  /** The colours have changed. */
  again() {
    this._shown = null;
  }

  /**
   * The design of the point that follows the hand.
   *
   * @param {Float32Array} values
   */
  show(values) {
    for (const { quantity, decoded, value } of this.rows) {
      if (!decoded) continue;
      const now = values[quantity.column];
      if (decoded !== document.activeElement) decoded.value = String(now);
      value.textContent = this._words(quantity, now);
      decoded.setAttribute("aria-valuetext", value.textContent);
    }
  }

  /** @param {string} names */
  _build(names) {
    const { world, state } = this.app;
    this._shown = names;
    const find = (/** @type {Limit} */ { name }) => world.quantities.find((quantity) => quantity.name === name);
    this.rows = state.limits.map((limit) => this._row(find(limit)));
    this.list.replaceChildren(...this.rows.map((row) => row.element));
    const chosen = new Set(state.limits.map(({ name }) => name));
    const rest = world.quantities.filter(({ name }) => !chosen.has(name));
    const options = rest.map(
      ({ name, unit }) => /** @type {[string, string]} */ ([name, unit ? `${called(name)} [${unit}]` : called(name)]),
    );
    let wanted = rest[0]?.name;
    const choose = (/** @type {string} */ name) => {
      wanted = name;
    };
    const add = () => {
      this._set([...this.app.state.limits, { name: wanted, low: null, high: null }]);
      this.rows.at(-1).from.focus();
    };
    const which = choice(t`Column`, options, wanted, choose);
    this.more.replaceChildren(...(rest.length ? [which, button(t`Add`, add)] : []));
    if (this.app.values) this.show(this.app.values);
  }

  /** @param {Limit[]} limits */
  _set(limits) {
    this.app.set({ limits });
    this.refresh();
  }

  /**
   * @param {Quantity} quantity
   * @returns {Row}
   */
  _row(quantity) {
    const { name, unit } = quantity;
    const extent = extentOf(quantity.numbers);
    const title = element(
      "div",
      { className: "limit-name" },
      text("b", called(name)),
      unit ? text("small", ` ${unit}`) : null,
    );
    const away = button("×", () => this._remove(name), { className: "away", "aria-label": t`Leave ${name} out` });
    title.append(away);
    const histogram = element("canvas", { "aria-hidden": "true" });
    const ends = { type: "range", min: extent[0], max: extent[1], step: (extent[1] - extent[0]) / STEPS || 1 };
    const from = element("input", { ...ends, value: extent[0], "aria-label": t`${name}, from` });
    const to = element("input", { ...ends, value: extent[1], "aria-label": t`${name}, to` });
    const words = element("div", { className: "limit-words" });
    const said = element("div", { className: "limit-said", role: "status" });
    const value = element("output");
    const decoded = quantity.column < 0 ? null : this._slider(quantity, extent);
    const frame = element("div", { className: "range" }, histogram, from, to);
    const made = element("div", { className: "limit", role: "group", "aria-label": name }, title);
    if (decoded)
      made.append(element("label", { className: "decoded" }, text("span", t`decoded`), decoded, value), said);
    made.append(frame, words);
    /** @type {Row} */
    const row = {
      quantity,
      extent,
      element: made,
      histogram,
      from,
      to,
      words,
      decoded,
      value,
      said,
      counts: null,
      drawnOf: [],
    };
    this._brush(row);
    from.addEventListener("input", () => this._limit(row, from));
    to.addEventListener("input", () => this._limit(row, to));
    decoded?.addEventListener("input", () => this._ask(row, Number(decoded.value)));
    decoded?.addEventListener("change", () => {
      this._start = null;
    });
    return row;
  }

  /**
   * The slider of what is decoded, which leads a little beyond the data.
   *
   * @param {Quantity} quantity
   * @param {[number, number]} extent
   */
  _slider({ name }, [low, high]) {
    const margin = 0.1 * (high - low);
    const [min, max] = [low - margin, high + margin];
    const step = (max - min) / STEPS || 1;
    return element("input", { type: "range", min, max, step, "aria-label": t`${name} of the decoded design` });
  }

  /** @param {string} name */
  _remove(name) {
    this._set(this.app.state.limits.filter((limit) => limit.name !== name));
  }

  /**
   * One end has moved: it takes the other one with it where they meet.
   *
   * @param {Row} row
   * @param {HTMLInputElement} moved
   */
  _limit({ quantity, extent, from, to }, moved) {
    if (Number(from.value) > Number(to.value)) {
      if (moved === from) to.value = from.value;
      else from.value = to.value;
    }
    this._between(quantity, extent, Number(from.value), Number(to.value));
  }

  /**
   * What lies as far out as a slider goes is no limit.
   *
   * @param {Quantity} quantity
   * @param {[number, number]} extent
   * @param {number} least
   * @param {number} most
   */
  _between(quantity, extent, least, most) {
    const step = (extent[1] - extent[0]) / STEPS;
    const low = least <= extent[0] + step / 2 ? null : least;
    const high = most >= extent[1] - step / 2 ? null : most;
    const limits = this.app.state.limits.map((limit) =>
      limit.name === quantity.name ? { name: limit.name, low, high } : limit,
    );
    this._set(limits);
  }

  /** @param {Row} row */
  _showLimit(row) {
    const { quantity, extent, from, to, words } = row;
    const { low, high } = this.app.state.limits.find(({ name }) => name === quantity.name);
    if (from !== document.activeElement) from.value = String(low ?? extent[0]);
    if (to !== document.activeElement) to.value = String(high ?? extent[1]);
    from.setAttribute("aria-valuetext", this._words(quantity, low ?? extent[0]));
    to.setAttribute("aria-valuetext", this._words(quantity, high ?? extent[1]));
    const ends = [low ?? extent[0], high ?? extent[1]].map((value) => shown(value));
    const isOpen = low === null && high === null;
    const range = t`${ends[0]} to ${ends[1]} ${quantity.unit}`.trim();
    words.textContent = isOpen ? t`all examples: ${range}` : range;
    this._drawHistogram(row);
  }

  /**
   * @param {Quantity} quantity
   * @param {number} value
   */
  _words({ unit }, value) {
    return unit ? `${shown(value)} ${unit}` : shown(value);
  }

  /**
   * A drag over a histogram limits to what it goes over; a press alone takes the limits away.
   *
   * @param {Row} row
   */
  _brush(row) {
    const { histogram, quantity, extent } = row;
    /** @type {number | null} */
    let start = null;
    const valueAt = (/** @type {PointerEvent} */ event) => {
      const { left, width } = histogram.getBoundingClientRect();
      const share = (event.clientX - left - MARGIN) / (width - 2 * MARGIN);
      return extent[0] + Math.max(0, Math.min(1, share)) * (extent[1] - extent[0]);
    };
    histogram.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      histogram.setPointerCapture(event.pointerId);
      start = valueAt(event);
      this._between(quantity, extent, ...extent);
    });
    histogram.addEventListener("pointermove", (event) => {
      if (start === null) return;
      const end = valueAt(event);
      this._between(quantity, extent, Math.min(start, end), Math.max(start, end));
    });
    for (const name of ["pointerup", "pointercancel"]) {
      histogram.addEventListener(name, () => {
        start = null;
      });
    }
  }

  /**
   * How the examples are spread, and in colour those that are selected and within all limits.
   *
   * @param {Row} row
   */
  _drawHistogram(row) {
    const { quantity, extent, histogram } = row;
    const w = histogram.parentElement.clientWidth || 280;
    const chosen = this.app.chosen();
    const drawnOf = [w, chosen, Theme.dark];
    if (drawnOf.every((value, k) => value === row.drawnOf[k])) return;
    row.drawnOf = drawnOf;
    row.counts ??= countsOf(quantity.numbers, extent, null);
    const context = prepare(histogram, w, HISTOGRAM);
    const most = Math.max(...row.counts, 1);
    const width = (w - 2 * MARGIN) / BINS;
    context.clearRect(0, 0, w, HISTOGRAM);
    const draw = (/** @type {Float32Array} */ counts, /** @type {string} */ colour) => {
      context.fillStyle = colour;
      counts.forEach((count, bin) => {
        const height = Math.sqrt(count / most) * (HISTOGRAM - 2);
        context.fillRect(MARGIN + bin * width, HISTOGRAM - height, Math.max(1, width - 1), height);
      });
    };
    if (chosen) draw(row.counts, Theme.colours.line);
    draw(chosen ? countsOf(quantity.numbers, extent, chosen) : row.counts, Theme.colours.accent);
  }

  // --- setting a column

  /**
   * Move to where the decoded design has this value; the newest wish wins.
   *
   * @param {Row} row
   * @param {number} target
   */
  async _ask(row, target) {
    this._start ??= this.app.state.z;
    this._wanted = { row, target, start: this._start };
    if (this._busy) return;
    this._busy = true;
    try {
      while (this._wanted) {
        const wanted = this._wanted;
        this._wanted = null;
        await this._reach(wanted);
      }
    } catch (error) {
      this.app.toast(t`The decoder failed: ${error.message}`);
    }
    this._busy = false;
  }

  /** @param {{ row: Row, target: number, start: Point }} wish */
  async _reach({ row, target, start }) {
    const { app } = this;
    const { size } = app.world.designs;
    const { column } = row.quantity;
    const measure = async (/** @type {Float32Array} */ codes) => {
      const values = await app.decode(codes);
      return Float32Array.from({ length: values.length / size }, (_, i) => values[i * size + column]);
    };
    const tolerance = (row.extent[1] - row.extent[0]) / 1000 || 1e-6;
    const { ranges } = app.contents.latents;
    const others = this._likely(row, target, start);
    const { z, value, isReached } = await reach(measure, start, target, ranges, tolerance, others);
    if (this._wanted) return;
    const [got, asked] = [value, target].map((number) => this._words(row.quantity, number));
    row.said.textContent = isReached ? "" : t`Reached ${got} of ${asked}: no point near here is nearer to it.`;
    app.set({ z });
  }

  /**
   * Where else a search may begin: at the examples nearest to the point among those that have about the value.
   *
   * @param {Row} row
   * @param {number} target
   * @param {Point} start
   */
  _likely({ quantity, extent }, target, start) {
    const { cloud } = this.app.world;
    const reach = ALIKE * (extent[1] - extent[0]);
    const alike = [...quantity.numbers.keys()].filter((i) => Math.abs(quantity.numbers[i] - target) <= reach);
    const squares = new Map(alike.map((i) => [i, cloud.squared(i, start)]));
    alike.sort((a, b) => squares.get(a) - squares.get(b));
    return alike.slice(0, OTHERS).map((i) => cloud.point(i));
  }
}

/**
 * How many numbers lie in each bin of an extent.
 *
 * @param {Float32Array} numbers
 * @param {[number, number]} extent
 * @param {Uint8Array | null} chosen those that count; null for all
 */
function countsOf(numbers, [low, high], chosen) {
  const counts = new Float32Array(BINS);
  const perUnit = BINS / (high - low || 1);
  for (let i = 0; i < numbers.length; i++) {
    if (!Number.isFinite(numbers[i]) || (chosen && !chosen[i])) continue;
    counts[Math.min(BINS - 1, Math.floor((numbers[i] - low) * perUnit))]++;
  }
  return counts;
}

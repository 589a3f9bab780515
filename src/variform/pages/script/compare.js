// Designs side by side, as the page draws them, in the user's units; what differs from the first one is marked.

/**
 * @import { App, Box, Item } from "./types.js"
 */

import { MOST_COMPARED } from "./address.js";
import { fitted, prepare } from "./canvas.js";
import { numbersOf } from "./colouring.js";
import { button, element, note, scrolled, text, tick } from "./elements.js";
import { itemOf, responsesOf } from "./items.js";
import { shown, stepOf } from "./text.js";
import { hexOf, Theme } from "./theme.js";
import { say, t } from "./words.js";

const EMPTY = "Nothing is compared yet. Tick designs in a table to lay up to four of them side by side.";
const SIDE = 180; // pixels of a picture
const WIDTH = 260; // and of a curve or an outline

/**
 * Put a design among those that are compared, or take it away.
 *
 * @param {App} app
 * @param {string} key
 */
export function toggle(app, key) {
  const { tray } = app.state;
  if (tray.includes(key)) app.set({ tray: tray.filter((one) => one !== key) });
  else if (tray.length < MOST_COMPARED) app.set({ tray: [...tray, key] });
  else app.toast(t`Up to ${MOST_COMPARED} designs stand side by side; take one away first`);
}

/**
 * A tick that does so.
 *
 * @param {App} app
 * @param {string} key
 * @param {string} name
 */
export function compareTick(app, key, name) {
  const box = element("input", {
    type: "checkbox",
    checked: app.state.tray.includes(key),
    "aria-label": t`Compare ${name}`,
    onchange: () => {
      toggle(app, key);
      box.checked = app.state.tray.includes(key);
    },
  });
  box.dataset.key = key;
  return box;
}

export class Compared {
  /** @type {string | null} */
  _key = null;

  /**
   * @param {App} app
   * @param {HTMLElement} host
   */
  constructor(app, host) {
    this.app = app;
    this.isShort = false;
    this.place = element("div", { className: "compared" });
    host.append(text("h2", t`Side by side`), this.place);
  }

  /** The colours have changed. */
  again() {
    this._key = null;
  }

  refresh() {
    const { tray } = this.app.state;
    const key = [...tray, this.isShort, Theme.dark].join("|");
    if (key === this._key) return;
    this._key = key;
    for (const box of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("input[data-key]"))) {
      box.checked = tray.includes(box.dataset.key);
    }
    const items = tray.map((one) => itemOf(this.app, one)).filter(Boolean);
    if (!items.length) this.place.replaceChildren(note(say(EMPTY)));
    else this._show(items);
  }

  /** @param {Item[]} items */
  _show(items) {
    const { kind, lines } = this.app.world.designs;
    const table = element("table", { className: "side" });
    table.append(element("thead", {}, this._heads(items)), this._body(items));
    const words = [t`Arrows say whether a value is above or below that of the first design.`];
    if (lines) words.push(t`The first design lies over each of the others in the second colour.`);
    if (kind === "image") words.push(t`Below each stands what it has more (orange) and less (blue) than the first.`);
    const parts = [scrolled(t`Designs side by side`, table)];
    if (kind === "table" && items.length > 1) {
      const change = (/** @type {boolean} */ isOn) => {
        this.isShort = isOn;
        this.refresh();
      };
      parts.unshift(element("div", { className: "bar" }, tick(t`Only what differs`, this.isShort, change)));
    }
    if (items.length > 1) parts.push(note(words.join(" ")));
    this.place.replaceChildren(...parts);
  }

  /** @param {Item[]} items */
  _heads(items) {
    const { app } = this;
    const { kind } = app.world.designs;
    const row = element("tr", {}, element("td"));
    for (const item of items) {
      const go = button(item.name, () => app.goTo(item.z), { title: t`Go to its point` });
      const label = t`Take ${item.name} out of the comparison`;
      const out = button("×", () => toggle(app, item.key), { className: "out", title: label, "aria-label": label });
      const head = element("th", { scope: "col" }, element("div", { className: "head" }, go, out));
      head.append(text("small", item.about));
      if (kind !== "table") head.append(this._picture(item, items[0]));
      row.append(head);
    }
    return row;
  }

  /**
   * @param {Item} item
   * @param {Item} first
   */
  _picture(item, first) {
    const { designs } = this.app.world;
    const canvas = element("canvas", { role: "img", "aria-label": t`The design ${item.name}` });
    if (designs.lines) {
      const size = { w: WIDTH, h: designs.lines.heightOf(WIDTH, WIDTH) };
      const other = item === first ? null : first.values;
      designs.lines.plot(prepare(canvas, size.w, size.h), item.values, other, size);
      return canvas;
    }
    const { w, h } = fitted(designs.aspect, SIDE, SIDE);
    const box = { x: 0, y: 0, w, h };
    item.draw(prepare(canvas, w, h), box);
    if (item === first) return canvas;
    const label = t`The difference between ${item.name} and ${first.name}`;
    const beside = element("canvas", { role: "img", "aria-label": label });
    drawDifference(prepare(beside, w, h), item, first, box, designs);
    return element("div", {}, canvas, beside);
  }

  /** @param {Item[]} items */
  _body(items) {
    const { app } = this;
    const { designs } = app.world;
    const body = element("tbody");
    for (const column of responsesOf(app.world)) {
      const { name, unit } = column;
      const values = items.map((item) => item.valueOf(name));
      const digits = stepOf(numbersOf(column));
      const row = this._row(name, unit, values, (value) => shown(value, digits), digits);
      if (row) body.append(row);
    }
    if (designs.kind !== "table") return body;
    designs.columns.forEach(({ name, unit, categories, low, high }, k) => {
      const values = items.map((item) => designs.tidy(k, item.values[k]));
      const isWord = categories.length > 0;
      const digits = isWord ? 0 : (high - low) / 500;
      const row = this._row(name, unit, values, (value) => designs.text(k, value), digits, isWord);
      if (row) body.append(row);
    });
    return body;
  }

  /**
   * A row of values; null where none differs and such rows are left out.
   *
   * @param {string} name
   * @param {string | undefined} unit
   * @param {number[]} values
   * @param {(value: number) => string} textOf
   * @param {number} digits what is less than this apart reads the same
   */
  _row(name, unit, values, textOf, digits, isWord = false) {
    const signs = values.map((value) => (isWord ? Number(value !== values[0]) : signOf(value - values[0], digits)));
    if (this.isShort && values.length > 1 && signs.every((sign) => !sign)) return null;
    const small = unit ? text("small", ` ${unit}`) : null;
    const row = element("tr", {}, element("th", { scope: "row" }, text("span", name), small));
    values.forEach((value, i) => {
      const cell = text("td", textOf(value), { className: signs[i] ? "number differs" : "number" });
      if (signs[i] && !isWord) cell.prepend(text("span", signs[i] > 0 ? "▲" : "▼", { className: "arrow" }));
      row.append(cell);
    });
    return row;
  }
}

/**
 * @param {number} difference
 * @param {number} digits
 */
function signOf(difference, digits) {
  return Math.abs(difference) > digits ? Math.sign(difference) : 0;
}

/**
 * How much lighter or darker an image is than another one.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Item} item
 * @param {Item} first
 * @param {Box} box
 * @param {{ width: number, height: number }} size
 */
function drawDifference(context, item, first, box, { width, height }) {
  const [own, other] = [item, first].map((one) => pixelsOf(one, width, height));
  const picture = new ImageData(width, height);
  const [more, less] = [Theme.colours.second, Theme.colours.accent].map(hexOf);
  for (let at = 0; at < own.length; at += 4) {
    const difference = (own[at] + own[at + 1] + own[at + 2] - other[at] - other[at + 1] - other[at + 2]) / 3;
    picture.data.set([...(difference > 0 ? more : less), Math.min(255, 1.5 * Math.abs(difference))], at);
  }
  const small = element("canvas", { width, height });
  small.getContext("2d").putImageData(picture, 0, 0);
  context.fillStyle = Theme.colours.panel;
  context.fillRect(box.x, box.y, box.w, box.h);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, box.x, box.y, box.w, box.h);
}

/**
 * @param {Item} item
 * @param {number} width
 * @param {number} height
 */
function pixelsOf(item, width, height) {
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  item.draw(context, { x: 0, y: 0, w: width, h: height });
  return context.getImageData(0, 0, width, height).data;
}

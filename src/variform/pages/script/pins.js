// The pins: points that are kept, each with a picture, a name and a note, together in files.

/**
 * @import { App, Label, Point } from "./types.js"
 */

import { MOST_PINS } from "./address.js";
import { csvOf, npyOf } from "./bytes.js";
import { fitted, prepare } from "./canvas.js";
import { button, element, note, text } from "./elements.js";
import { cellsOfPins, givenOf, NO_LABEL, readPins } from "./pin_files.js";
import { say, t } from "./words.js";

const NONE = "Click the map, or press P, to keep a point. Two pins make a morph.";
const KEPT =
  "The address of the page holds the pins with names and notes: a bookmark or Copy link keeps them. Closing the page " +
  "without one loses them; a file does not.";

export class Pins {
  /** @type {string | null} */
  _key = null;

  at = 0; // which one is named

  _count = 0;

  /**
   * @param {App} app
   * @param {HTMLElement} host
   */
  constructor(app, host) {
    this.app = app;
    this.list = element("ul", { className: "pins" });
    this.title = element("span");
    this.name = this._field("input", "Name");
    this.note = this._field("textarea", "Note");
    this.editor = element("div", { className: "label-of", role: "group" }, this.title, this.name, this.note);
    this.file = element("input", { type: "file", accept: ".csv,text/csv", hidden: true });
    this.file.addEventListener("change", () => this._load());
    const load = button(t`Load pins`, () => this.file.click(), { title: t`From a .csv file with columns z1, z2, …` });
    this.saving = [
      button(t`Save pins`, () => this._saveTable(), { title: t`All pins with names, notes and decoded columns, .csv` }),
      button(t`Save designs`, () => this._saveDesigns(), { title: t`The decoded designs of all pins, .npy` }),
    ];
    this.kept = note(say(KEPT));
    const actions = element("div", { className: "actions" }, ...this.saving, load);
    host.append(this.list, this.editor, actions, this.file, this.kept);
  }

  /** The colours have changed. */
  again() {
    this._key = null;
  }

  async refresh() {
    const { app } = this;
    const { pins, context, labels } = app.state;
    if (pins.length > this._count) this.at = pins.length - 1;
    this._count = pins.length;
    this.at = Math.max(0, Math.min(this.at, pins.length - 1));
    for (const part of [this.editor, this.kept, ...this.saving]) part.hidden = !pins.length;
    this._showLabel();
    const key = [...pins.map((z) => z.join(",")), context.join(","), JSON.stringify(labels), this.at].join("~");
    if (key === this._key) return;
    this._key = key;
    if (!pins.length) {
      this.list.replaceChildren(text("li", say(NONE), { className: "note" }));
      return;
    }
    const values = await app.many(pins, () => this._key === key);
    if (!values) return;
    const { designs } = app.world;
    const sheet = designs.sheet(values, pins.length);
    const focused = this.list.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : "";
    const items = pins.map((z, i) => {
      const { w, h } = fitted(designs.aspect, 52, 52);
      const picture = element("canvas", { "aria-hidden": "true" });
      sheet.draw(prepare(picture, w, h), i, { x: 0, y: 0, w, h });
      return this._pin(z, i, picture);
    });
    this.list.replaceChildren(...items);
    const again = Array.from(this.list.querySelectorAll("button")).find((one) => one.ariaLabel === focused);
    if (focused) again?.focus();
  }

  /** @param {number} i */
  _labelOf(i) {
    return this.app.state.labels[i] ?? NO_LABEL;
  }

  /**
   * @param {Point} z
   * @param {number} i
   * @param {HTMLCanvasElement} picture
   */
  _pin(z, i, picture) {
    const { app } = this;
    const { name, note: words } = this._labelOf(i);
    const to = t`Go to pin ${i + 1}${name ? `, ${name}` : ""}`;
    const away = t`Take pin ${i + 1} away`;
    const go = () => {
      this.at = i;
      app.set({ z });
    };
    const pressed = String(i === this.at);
    const pin = button("", go, { className: "pin", title: words || to, "aria-label": to, "aria-pressed": pressed });
    pin.append(picture, text("b", String(i + 1)));
    const remove = button("×", () => app.unpin(i), { className: "away", title: away, "aria-label": away });
    return element("li", {}, pin, remove, name ? text("span", name, { className: "pin-name" }) : null);
  }

  // --- names and notes

  /**
   * @param {"input" | "textarea"} tag
   * @param {"Name" | "Note"} label
   */
  _field(tag, label) {
    const part = label === "Name" ? "name" : "note";
    const input = element(tag, {
      placeholder: say(label),
      maxLength: part === "name" ? 80 : 1000,
      "aria-label": say(label),
    });
    if (input instanceof HTMLTextAreaElement) input.rows = 2;
    input.addEventListener("input", () => this._write({ [part]: input.value }));
    return input;
  }

  /** @param {Partial<Label>} change */
  _write(change) {
    const { pins } = this.app.state;
    const labels = pins.map((_, i) => this._labelOf(i));
    labels[this.at] = { ...labels[this.at], ...change };
    this.app.set({ labels, z: this.app.state.z });
  }

  _showLabel() {
    const { name, note: words } = this._labelOf(this.at);
    this.title.textContent = t`Pin ${this.at + 1}`;
    this.editor.setAttribute("aria-label", t`Name and note of pin ${this.at + 1}`);
    if (this.name.value !== name) this.name.value = name;
    if (this.note.value !== words) this.note.value = words;
  }

  // --- files

  async _saveTable() {
    const { app } = this;
    const { contents, state, world } = app;
    const { pins, labels, context } = state;
    const { designs } = world;
    const values = designs.kind === "image" ? null : await app.many(pins, () => true);
    const parts = pins.map((_, i) => (values ? designs.cells(designs.part(values, i)) : [[], []]));
    const decoded = { heads: parts[0][0], rows: parts.map(([, row]) => row) };
    app.save(csvOf(cellsOfPins(pins, labels, givenOf(contents.conditions, context), decoded)), "pins.csv");
  }

  async _saveDesigns() {
    const { app } = this;
    const { pins } = app.state;
    const values = await app.many(pins, () => true);
    app.save(npyOf(values, [pins.length, ...app.contents.event.shape]), "pins.npy");
  }

  async _load() {
    const [file] = this.file.files;
    this.file.value = "";
    if (!file) return;
    try {
      this.add(readPins(await file.text(), this.app.contents.latents.dim));
    } catch (error) {
      this.app.toast(t`The pins were not loaded: ${error.message}`);
    }
  }

  /**
   * Pins beside those that are there: one that is there already gets the name and the note of the new one.
   *
   * @param {{ z: Point, label: Label }[]} found
   */
  add(found) {
    const pins = [...this.app.state.pins];
    const labels = pins.map((_, i) => this._labelOf(i));
    let left = 0;
    for (const { z, label } of found) {
      const at = pins.findIndex((pin) => pin.every((value, k) => Math.abs(value - z[k]) < 1e-4));
      if (at >= 0) labels[at] = { name: label.name || labels[at].name, note: label.note || labels[at].note };
      else if (pins.length >= MOST_PINS) left += 1;
      else {
        pins.push(z);
        labels.push(label);
      }
    }
    this.app.set({ pins, labels });
    const loaded = t`${found.length - left} of ${found.length} pins loaded`;
    this.app.toast(left ? `${loaded}; ${t`${left} left out, for the page keeps ${MOST_PINS}`}` : loaded);
  }
}

// One slider for each latent, with a strip of what it does.

/**
 * @import { Contents, KeptPart } from "../types.js"
 */

import { whole } from "../address.js";
import { fitted, prepare } from "../canvas.js";
import { button, element, note, text } from "../elements.js";
import { SmallMap } from "../small_map.js";
import { shown } from "../text.js";
import { say, t } from "../words.js";
import { View } from "./view.js";

const AT_ONCE = 6; // latents on a page
const STRIP = 9; // designs in a strip
const WITH_MAP = 3; // latents that leave room for a map below them
const ON_MAP = t`The point on the map of the latent space; a click pins another one`;

export class SlidersView extends View {
  static key = "sliders";
  static title = "Sliders";
  static isOfLatents = true;

  /** @type {string | null} */
  _stripsOf = null;

  /**
   * @param {Contents} contents
   * @returns {Record<string, KeptPart>}
   */
  static kept({ latents }) {
    const pages = Math.ceil(latents.dim / AT_ONCE);
    return { page: { start: 0, read: whole(0, pages - 1) } };
  }

  /** @param {HTMLElement} host */
  mount(host) {
    const { app } = this;
    const { latents } = app.contents;
    const what = t`Most informative first, by ${say(latents.what)}.`;
    const bar = element("div", { className: "bar" });
    bar.append(note(`${what} ${t`Each strip moves one latent and leaves the others where they are.`}`));
    if (latents.dim > AT_ONCE) bar.append(this._pager(Math.ceil(latents.dim / AT_ONCE)));
    this.list = element("div", { className: "sliders" });
    const zero = button(t`All to 0`, () => app.set({ z: new Float32Array(latents.dim) }));
    host.append(bar, this.list, element("div", { className: "bar" }, zero));
    this.map = latents.dim <= WITH_MAP ? new SmallMap(app, ON_MAP) : null;
    if (this.map) host.append(this.map.element);
    this._showRows();
  }

  again() {
    this._stripsOf = null;
  }

  refresh() {
    this.map?.show();
    this.move();
    const { z, context } = this.app.state;
    const key = [...z, ...context, this.list.clientWidth].join(",");
    if (key === this._stripsOf) return;
    this._stripsOf = key;
    clearTimeout(this._waiting);
    this._waiting = setTimeout(() => this._drawStrips(key), this._drawn ? 40 : 0);
  }

  move() {
    const { live } = this.app;
    this.map?.mark();
    for (const { k, input, value } of this.rows) {
      const isHeld = input === document.activeElement;
      if (!isHeld || Math.abs(Number(input.value) - live[k]) > 0.02) input.value = String(live[k]);
      value.textContent = shown(live[k], 0.01);
      input.setAttribute("aria-valuetext", value.textContent);
    }
  }

  leave() {
    this._stripsOf = null;
    clearTimeout(this._waiting);
  }

  /** @param {number} count */
  _pager(count) {
    const { app } = this;
    const turn = (/** @type {number} */ step) => () => {
      app.state.page = (app.state.page + step + count) % count;
      this._showRows();
      app.set({});
    };
    const before = button("‹", turn(-1), { "aria-label": t`Previous latents` });
    const after = button("›", turn(1), { "aria-label": t`Next latents` });
    this.pages = element("span", { className: "pages" });
    return element("div", { className: "pager" }, before, this.pages, after);
  }

  _showRows() {
    const { order, dim } = this.app.contents.latents;
    const first = this.app.state.page * AT_ONCE;
    if (this.pages) this.pages.textContent = t`${first + 1}–${Math.min(dim, first + AT_ONCE)} of ${dim}`;
    this.rows = order.slice(first, first + AT_ONCE).map((k) => this._row(k));
    this.list.replaceChildren(...this.rows.map((row) => row.element));
    this._stripsOf = null;
  }

  /** @param {number} k */
  _row(k) {
    const { measure, unit, what, ranges } = this.app.contents.latents;
    const [low, high] = ranges[k];
    const input = element("input", {
      type: "range",
      min: low,
      max: high,
      step: (high - low) / 400,
      "aria-label": `z${k + 1}, ${say(what)} ${shown(measure[k])} ${say(unit)}`,
      oninput: () => this._move(k, Number(input.value)),
    });
    const strip = this._strip(k, low, high);
    const frame = element("div", { className: "strip" }, strip);
    const value = element("output");
    const told = shown(measure[k], 0.01);
    const name = element("div", { className: "name" }, text("b", `z${k + 1}`));
    name.append(text("small", unit ? `${told} ${say(unit)}` : t`var ${told}`));
    const middle = element("div", {}, frame, input);
    return {
      k,
      low,
      high,
      strip,
      frame,
      input,
      value,
      element: element("div", { className: "slider" }, name, middle, value),
    };
  }

  /**
   * @param {number} k
   * @param {number} low
   * @param {number} high
   */
  _strip(k, low, high) {
    const { app } = this;
    const strip = element("canvas", { "aria-hidden": "true" });
    const valueAt = (/** @type {PointerEvent} */ event) => {
      const frame = strip.getBoundingClientRect();
      const share = Math.max(0, Math.min(1, (event.clientX - frame.left) / frame.width));
      return low + share * (high - low);
    };
    strip.addEventListener("pointerdown", (event) => this._move(k, valueAt(event)));
    strip.addEventListener("pointermove", (event) => {
      const z = app.space.moved(app.state.z, k, valueAt(event));
      if (event.buttons) app.set({ z });
      else app.follow(z);
    });
    strip.addEventListener("pointerleave", () => app.follow(app.state.z));
    return strip;
  }

  /**
   * @param {number} k
   * @param {number} value
   */
  _move(k, value) {
    this.app.set({ z: this.app.space.moved(this.app.state.z, k, value) });
  }

  /** @param {string} key */
  async _drawStrips(key) {
    const { app } = this;
    const { designs } = app.world;
    this._drawn = true;
    for (const { k, low, high, strip, frame } of this.rows) {
      const points = Array.from({ length: STRIP }, (_, i) => {
        return app.space.moved(app.state.z, k, low + ((i + 0.5) / STRIP) * (high - low));
      });
      const values = await app.many(points, () => this._stripsOf === key);
      if (!values) return;
      const w = frame.clientWidth;
      const tile = w / STRIP;
      const h = Math.min(tile / designs.aspect, 96);
      const context = prepare(strip, w, h);
      const sheet = designs.sheet(values, STRIP);
      context.clearRect(0, 0, w, h);
      for (let i = 0; i < STRIP; i++) sheet.draw(context, i, fitted(designs.aspect, tile - 2, h, i * tile + 1, 0));
    }
  }
}

// The panel beside the view: the current design, the nearest real example, where the point is, and the pins.

/**
 * @import { App, Box, Condition, Point } from "./types.js"
 */

import { prepare } from "./canvas.js";
import { Occupancy } from "./conditions.js";
import { button, choice, element, note, scrolled, text, tick } from "./elements.js";
import { Limits } from "./limits.js";
import { Pins } from "./pins.js";
import { away, shown } from "./text.js";
import { say, t } from "./words.js";

const NEARNESS = ["among the data", "at the edge of the data", "far from all data: extrapolated"];

const SPREAD = t`Standard deviation of p(x|z)`;

/** Whether the panel lies above the view, not beside it. */
const isNarrow = () => matchMedia("(max-width: 760px)").matches;

export class Panel {
  /** @type {string | null} */
  _toldOf = null;

  /**
   * @param {App} app
   * @param {HTMLElement} host
   */
  constructor(app, host) {
    this.app = app;
    const { occupancy, conditions, collapsed } = app.contents;
    const { kind } = app.world.designs;
    this.alone = collapsed; // all examples are at one place: none is nearer than another
    this.occupancy = occupancy ? new Occupancy(occupancy, conditions) : null;
    this.where = element("p", { className: "where" }, element("i"), element("span"));
    this.caption = element("span");
    this.known = element("p", { className: "known" });
    this.valid = element("p", { className: "valid", hidden: true });
    this.unseen = element("p", { className: "unseen", role: "status", hidden: true });
    this.now = element("div", { className: `now ${kind}` });
    this.more = element("div", { className: "more" });
    host.append(this.now, this.more);
    if (kind === "image") this._buildImage();
    else if (app.world.designs.lines) this._buildLine();
    else this._buildTable();
    this.now.append(this.valid, this.unseen);
    this._buildMore();
  }

  /**
   * The parts that speak of the nearest example, of which a collapsed model has none.
   *
   * @param {HTMLElement[]} parts
   */
  _beside(...parts) {
    return this.alone ? [] : parts;
  }

  // --- the design

  _buildImage() {
    this.decoded = element("canvas", { role: "img", "aria-label": t`The decoded design` });
    this.nearest = element("canvas", { role: "img", "aria-label": t`The nearest real example` });
    this.short = element("span", { className: "codes-short" });
    const caption = element("figcaption", {}, text("b", t`Decoded`), this.short);
    this.nearestTitle = text("b", t`Nearest example`);
    const beside = element("figcaption", {}, this.nearestTitle, this.caption);
    this.now.append(
      element("figure", {}, this.decoded, caption),
      ...this._beside(element("figure", {}, this.nearest, beside)),
      this._buildSpread(),
      ...this._beside(this.where, this.known),
    );
  }

  _buildSpread() {
    this.deviation = element("canvas", { role: "img", "aria-label": t`${SPREAD} of every pixel` });
    this.most = element("span");
    const caption = element("figcaption", {}, text("b", SPREAD), this.most);
    this.spreading = element("figure", { hidden: true }, this.deviation, caption);
    return this.spreading;
  }

  _buildLine() {
    const { kind } = this.app.world.designs;
    const what = this.alone ? t`The decoded ${say(kind)}` : t`The decoded ${say(kind)}, and the nearest real example`;
    this.decoded = element("canvas", { role: "img", "aria-label": what });
    const second = text("b", t`Nearest example`, { className: "second" });
    const first = text("b", t`Decoded`, { className: "first" });
    this.now.append(
      element("p", { className: "keys-of" }, first, ...this._beside(second, this.caption)),
      element("figure", { className: "wide" }, this.decoded),
      ...this._beside(this.where, this.known),
    );
  }

  _buildTable() {
    const { designs } = this.app.world;
    this.lines = designs.columns.map(({ name, full, unit }) => {
      const bar = element("i", { className: "bar-of" });
      const mark = element("i", { className: "mark-of" });
      const value = element("td", { className: "number" });
      const near = element("td", { className: "number near" });
      const small = unit ? text("small", ` ${unit}`) : null;
      const track = element("span", { className: "track" }, bar, mark);
      const head = element("th", { scope: "row", title: full }, text("span", name), small, track);
      return { bar, mark, value, near, row: element("tr", {}, head, value, ...this._beside(near)) };
    });
    const decoded = text("th", t`Decoded`, { scope: "col", className: "first number" });
    const nearest = text("th", t`Nearest`, { scope: "col", className: "second number" });
    const heads = element("tr", {}, text("th", t`Column`, { scope: "col" }), decoded, ...this._beside(nearest));
    const body = element("tbody", {}, ...this.lines.map(({ row }) => row));
    const table = element("table", { className: "design" }, element("thead", {}, heads), body);
    const keys = element("p", { className: "keys-of" }, text("span", `${t`Nearest example`} `), this.caption);
    this.now.append(scrolled(t`The decoded row`, table), ...this._beside(keys, this.where, this.known));
  }

  /**
   * Show the design of a point.
   *
   * @param {Point} z
   * @param {Float32Array} values
   * @param {Float32Array | null} deviations of these under p(x|z), where they are to be shown
   */
  show(z, values, deviations) {
    const { app } = this;
    const { designs } = app.world;
    const near = app.nearest(z);
    this._showNearness(near);
    this._showValidity(z);
    if (designs.kind === "image") this._showImage(z, values, near.index, deviations);
    else if (designs.lines) this._showLine(values, near.index, deviations);
    else this._showRow(values, near.index, deviations);
    for (const { k, value } of this.codes) value.textContent = shown(z[k], 0.001);
    this.limits?.show(values);
  }

  /** @param {Point} z */
  _showValidity(z) {
    const { study } = this.app.world;
    if (!study?.validity) return;
    const { auc, answers } = study.contents.validity.learned;
    this.valid.hidden = false;
    const probability = t`Valid with probability ${study.validity.probability(z).toFixed(2)}`;
    const how = ` ${t`(AUC ${auc.mean.toFixed(2)} ± ${auc.se.toFixed(2)} from ${answers} answers)`}`;
    this.valid.replaceChildren(text("b", probability), text("span", how));
  }

  /** @param {{ index: number, distance: number }} near */
  _showNearness({ index, distance }) {
    const name = this.app.nameOf(index);
    this.caption.textContent = name ? `${name}, ${away(distance)}` : away(distance);
    this.known.textContent = this.app.responsesOf(index);
    this.known.hidden = !this.known.textContent;
    const strangeness = this.app.world.nearness.strangeness(distance);
    const level = [1, 3].filter((limit) => strangeness > limit).length;
    this.where.dataset.level = String(level);
    this.where.lastChild.textContent = say(NEARNESS[level]);
  }

  /**
   * @param {Point} z
   * @param {Float32Array} values
   * @param {number} near
   * @param {Float32Array | null} spread
   */
  _showImage(z, values, near, spread) {
    const { designs, examples } = this.app.world;
    const box = this._box();
    designs.sheet(values, 1).draw(prepare(this.decoded, box.w, box.h), 0, box);
    if (!this.alone) examples.draw(prepare(this.nearest, box.w, box.h), near, box);
    this.nearestTitle.textContent = examples.isReal(near) ? t`Nearest example` : t`Nearest example, rebuilt`;
    this.short.textContent = t`at (${this._short(z)})`;
    this.spreading.hidden = !spread;
    if (spread) this._showDeviation(spread, box);
  }

  /**
   * Of each pixel: black for none, white for the most that any has.
   *
   * @param {Float32Array} spread
   * @param {Box} box
   */
  _showDeviation(spread, box) {
    const { designs } = this.app.world;
    const most = spread.reduce((a, b) => Math.max(a, b), 0);
    const area = designs.width * designs.height;
    const shares = spread.map((value, k) => {
      const channel = Math.floor(k / area);
      const [low, high] = [designs.lows[channel] ?? designs.low, designs.highs[channel] ?? designs.high];
      return low + (value / (most || 1)) * (high - low);
    });
    designs.sheet(shares, 1).draw(prepare(this.deviation, box.w, box.h), 0, box);
    this.most.textContent = t`white: ${shown(most)}`;
  }

  /**
   * @param {Float32Array} values
   * @param {number} near
   * @param {Float32Array | null} spread
   */
  _showLine(values, near, spread) {
    const { designs, examples } = this.app.world;
    const w = this.decoded.parentElement.clientWidth || 300;
    const h = designs.lines.heightOf(w, isNarrow() ? 96 : 260);
    const real = this.alone ? null : designs.part(examples.values, near);
    designs.lines.plot(prepare(this.decoded, w, h), values, real, { w, h }, spread);
  }

  /**
   * @param {Float32Array} values
   * @param {number} near
   * @param {Float32Array | null} spread
   */
  _showRow(values, near, spread) {
    const { designs, examples } = this.app.world;
    const real = designs.part(examples.values, near);
    this.lines.forEach((line, k) => {
      const share = designs.share(k, designs.tidy(k, values[k]));
      const other = designs.share(k, real[k]);
      line.bar.style.width = `${100 * (share ?? 0)}%`;
      line.mark.style.left = `${100 * (other ?? 0)}%`;
      line.mark.hidden = this.alone || other === null;
      const isNumber = spread && !designs.columns[k].categories.length && Number.isFinite(values[k]);
      line.value.textContent = designs.text(k, values[k]);
      if (isNumber) line.value.append(text("small", ` ± ${shown(spread[k])}`));
      line.near.textContent = designs.text(k, real[k]);
    });
  }

  _box() {
    const { aspect } = this.app.world.designs;
    const there = Math.floor(this.decoded.parentElement.clientWidth || 140);
    const w = isNarrow() ? Math.round(76 * Math.min(1, aspect)) : there;
    return { x: 0, y: 0, w, h: Math.round(w / aspect) };
  }

  /** @param {Point} z */
  _short(z) {
    const { order } = this.app.contents.latents;
    const latents = z.length > 2 ? order.slice(0, 2) : [...z.keys()];
    const numbers = latents.map((k) => shown(z[k], 0.01)).join(", ");
    return z.length > 2 ? `${numbers}, …` : numbers;
  }

  // --- the rest

  _buildMore() {
    const { app } = this;
    const { latents, conditions } = app.contents;
    const chosen = latents.order.slice(0, this.alone ? 0 : 6).sort((a, b) => a - b);
    if (app.decoder.hasSpread) this.more.append(tick(SPREAD, app.state.spread, (spread) => app.set({ spread })));
    this.codes = chosen.map((k) => ({ k, value: element("dd") }));
    this.told = element("div", { className: "told" });
    const saving = [
      button(t`Save .npy`, () => app.saveDesign("npy"), { title: t`The decoded design for NumPy` }),
      button(t`Save .csv`, () => app.saveDesign("csv"), { title: t`The decoded design as text` }),
    ];
    if (this.alone) this.more.append(element("div", { className: "actions" }, ...saving));
    else {
      const pin = button(t`Pin`, () => app.pin(app.live), { title: t`Keep this point (P)` });
      const near = button(t`Go to example`, () => app.toNearest(), { title: t`Move to the nearest real example (N)` });
      const actions = element("div", { className: "actions" }, pin, near, ...saving);
      this.more.append(text("h2", t`Point`), ...this._codeList(), actions);
    }
    if (conditions.length) this.more.append(text("h2", t`Condition`), this.told);
    if (!this.alone) {
      const pins = element("div");
      this.more.append(text("h2", t`Pins`), pins);
      this.pins = new Pins(app, pins);
    }
    this.limits = null;
    if (this.alone || !app.world.quantities.length) return;
    const limits = element("div");
    this.more.append(text("h2", t`Columns and responses`), limits);
    this.limits = new Limits(app, limits);
  }

  _codeList() {
    const codes = this.codes.map(({ k, value }) => element("div", {}, text("dt", `z${k + 1}`), value));
    const list = element("dl", { className: "codes" }, ...codes);
    const rest = this.app.contents.latents.dim - codes.length;
    return rest > 0 ? [list, note(t`and ${rest} more; see Sliders`)] : [list];
  }

  /** What is kept has changed. */
  refresh() {
    this._showConditions();
    this._showUnseen();
    this.pins?.refresh();
    this.limits?.refresh();
  }

  /** The colours have changed. */
  again() {
    this.pins?.again();
    this._toldOf = null;
    this.limits?.again();
  }

  _showConditions() {
    const { state, contents } = this.app;
    const key = state.context.join(",");
    const isHeld = this.told.contains(document.activeElement);
    if (key === this._toldOf || !contents.conditions.length || isHeld) return;
    this._toldOf = key;
    this.told.replaceChildren();
    let start = 0;
    for (const condition of contents.conditions) {
      const width = condition.categories.length || 1;
      const make = condition.categories.length ? this._categories : this._number;
      this.told.append(make.call(this, condition, start));
      start += width;
    }
  }

  /**
   * @param {number[]} values
   * @param {number} start
   */
  _change(values, start) {
    const context = this.app.state.context.slice();
    context.set(values, start);
    this.app.set({ context });
  }

  /**
   * @param {Condition} condition
   * @param {number} start its place in the context
   */
  _categories({ name, categories }, start) {
    const chosen = this.app.state.context.slice(start, start + categories.length).indexOf(1);
    const options = categories.map((category, k) => /** @type {[number, string]} */ ([k, category]));
    return choice(name, options, chosen, (value) => {
      const oneHot = categories.map((_, k) => (k === Number(value) ? 1 : 0));
      this._change(oneHot, start);
    });
  }

  /**
   * @param {Condition} condition
   * @param {number} start its place in the context
   */
  _number({ name, range, scale, shift, unit }, start) {
    const [low, high] = range;
    const value = this.app.state.context[start];
    const output = element("output");
    const input = element("input", { type: "range", min: low, max: high, step: (high - low) / 200 || 1, value });
    const say = (/** @type {number} */ number) => {
      const words = shown(number * scale + shift);
      output.textContent = unit ? `${words} ${unit}` : words;
      input.setAttribute("aria-valuetext", output.textContent);
    };
    say(value);
    input.addEventListener("input", () => {
      say(Number(input.value));
      this._change([Number(input.value)], start);
    });
    return element("label", { className: "field" }, text("span", name), input, output);
  }

  _showUnseen() {
    const words = this.occupancy?.remark(this.app.state.context) ?? "";
    if (this.unseen.textContent !== words) this.unseen.textContent = words;
    this.unseen.hidden = !words;
    this.where.classList.toggle("beside", Boolean(words));
  }
}

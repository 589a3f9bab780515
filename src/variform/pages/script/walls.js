// Many designs beside each other: on one canvas, or as rows of a table. The pointer and the keyboard pick one.

/**
 * @import { App, Box, Pick, Point } from "./types.js"
 * @import { Designs } from "./designs.js"
 */

import { prepare } from "./canvas.js";
import { button, element, scrolled, text } from "./elements.js";
import { Theme } from "./theme.js";
import { t } from "./words.js";

/**
 * What picking does where each design has its point: the page follows, and a click pins.
 *
 * @param {App} app
 * @param {(i: number) => Point} pointAt
 * @returns {Pick}
 */
export const pinning = (app, pointAt) => ({
  follow: (i) => app.follow(pointAt(i)),
  leave: () => app.follow(app.state.z),
  choose: (i) => app.pin(pointAt(i)),
});

/**
 * What a wall shows.
 *
 * @typedef {object} Tiles
 * @property {number} count
 * @property {number} across how many stand in a row
 * @property {number} aspect of each
 * @property {number} gap between them
 * @property {(context: CanvasRenderingContext2D, i: number, box: Box) => void} draw draws the one at i
 * @property {((i: number) => number) | null} [cover] how much of it the fog covers
 * @property {number} [below] room for words
 */

export class Wall {
  /**
   * @param {HTMLElement} host
   * @param {string} label
   * @param {Pick} on
   */
  constructor(host, label, on) {
    this.host = host;
    this.on = on;
    this.at = -1;
    /** @type {Tiles | null} */
    this.tiles = null;
    this.canvas = element("canvas", { className: "wall", tabIndex: 0, role: "application", "aria-label": label });
    this.canvas.addEventListener("pointermove", (event) => {
      if (this._isAt(event)) this.on.follow(this.at);
    });
    this.canvas.addEventListener("pointerleave", () => this._leave());
    this.canvas.addEventListener("blur", () => this._leave());
    this.canvas.addEventListener("click", (event) => {
      if (this._isAt(event)) this.on.choose(this.at);
    });
    this.canvas.addEventListener("keydown", (event) => this._key(event));
    this.waiting = text("p", t`Designs are being decoded …`, { className: "note", role: "status" });
    host.append(this.waiting, this.canvas);
  }

  /** @param {Tiles} tiles */
  show(tiles) {
    this.tiles = tiles;
    this.waiting.remove();
    this.paint();
  }

  paint() {
    if (!this.tiles?.count) return;
    const { count, across, draw } = this.tiles;
    const { gap, h } = this._size();
    const w = this.host.clientWidth;
    const down = Math.ceil(count / across) * (h + gap);
    const context = prepare(this.canvas, w, down - gap);
    context.clearRect(0, 0, w, down);
    for (let i = 0; i < count; i++) {
      draw(context, i, this._box(i));
      this._cover(context, i);
    }
    if (this.at >= 0) {
      const { x, y, w: width, h: height } = this._box(this.at);
      context.strokeStyle = Theme.colours.second;
      context.lineWidth = 3;
      context.strokeRect(x + 1.5, y + 1.5, width - 3, height - 3);
    }
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} i
   */
  _cover(context, i) {
    const cover = this.tiles.cover?.(i) ?? 0;
    if (cover <= 0) return;
    const { x, y, w, h } = this._box(i);
    context.globalAlpha = cover;
    context.fillStyle = Theme.colours.card;
    context.fillRect(x - 0.5, y - 0.5, w + 1, h + 1);
    context.globalAlpha = 1;
  }

  // Of a tile, and the gap between tiles.
  _size() {
    const { across, aspect, gap, below = 0 } = this.tiles;
    const w = (this.host.clientWidth - gap * (across - 1)) / across;
    return { w, h: w / aspect + below, gap };
  }

  /** @param {number} i */
  _box(i) {
    const { across } = this.tiles;
    const { w, h, gap } = this._size();
    return { x: (i % across) * (w + gap), y: Math.floor(i / across) * (h + gap), w, h };
  }

  /**
   * Whether a design is under the pointer, which is then the one at `at`.
   *
   * @param {MouseEvent} event
   */
  _isAt(event) {
    if (!this.tiles?.count) return false;
    const { count, across } = this.tiles;
    const { w, h, gap } = this._size();
    const frame = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - frame.left) / (w + gap));
    const row = Math.floor((event.clientY - frame.top) / (h + gap));
    const i = row * across + column;
    if (column < 0 || column >= across || i < 0 || i >= count) return false;
    if (i !== this.at) {
      this.at = i;
      this.paint();
    }
    return true;
  }

  _leave() {
    if (this.at < 0) return;
    this.at = -1;
    this.paint();
    this.on.leave();
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    if (!this.tiles) return;
    const { count, across } = this.tiles;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
    if (event.key === "Enter" && this.at >= 0) this.on.choose(this.at);
    else if (step) {
      const to = this.at < 0 ? 0 : this.at + step;
      if (to >= 0 && to < count) this.at = to;
      this.paint();
      this.on.follow(this.at);
    } else return;
    event.preventDefault();
  }
}

/**
 * A row of a table of designs.
 *
 * @typedef {object} Item
 * @property {string} name
 * @property {Float32Array} values
 * @property {Float32Array} [real] what they are compared with
 * @property {string[]} [facts] cells before those of the values
 */

// Each cell has a bar from the least to the greatest value of its column.
export class Rows {
  /**
   * @param {HTMLElement} host
   * @param {Designs} designs
   * @param {Pick} on
   */
  constructor(host, designs, on) {
    this.designs = designs;
    this.on = on;
    this.table = element("table", { className: "rows" });
    host.append(scrolled(t`Rows`, this.table));
  }

  /**
   * @param {Item[]} items
   * @param {string[]} heads of the items' facts
   */
  show(items, heads = []) {
    const head = element("tr", {}, ...["", ...heads].map((words) => text("th", words, { scope: "col" })));
    for (const { name, unit } of this.designs.columns) {
      const small = unit ? text("small", ` ${unit}`) : null;
      head.append(element("th", { scope: "col" }, text("span", name), small));
    }
    const body = element("tbody", {}, ...items.map((item, i) => this._row(item, i)));
    body.addEventListener("pointerleave", () => this.on.leave());
    this.table.replaceChildren(element("thead", {}, head), body);
  }

  /**
   * @param {Item} item
   * @param {number} i
   */
  _row({ name, values, real, facts = [] }, i) {
    const pin = button(name, () => this.on.choose(i), { title: t`Pin this one` });
    const row = element("tr", {}, element("th", { scope: "row" }, pin));
    row.append(...facts.map((words) => text("td", words, { className: "number" })));
    row.append(...this.designs.columns.map((_, k) => this._cell(k, values[k], real?.[k])));
    row.addEventListener("pointerenter", () => this.on.follow(i));
    pin.addEventListener("focus", () => this.on.follow(i));
    return row;
  }

  /**
   * @param {number} k
   * @param {number} value
   * @param {number | undefined} real
   */
  _cell(k, value, real) {
    const { designs } = this;
    const bar = element("i", { className: "bar-of" });
    bar.style.width = `${100 * (designs.share(k, designs.tidy(k, value)) ?? 0)}%`;
    const track = element("span", { className: "track" }, bar);
    const after = designs.text(k, value);
    const cell = element("td", { className: "number" });
    if (real === undefined) {
      cell.append(text("span", after), track);
      return cell;
    }
    const before = designs.text(k, real);
    const share = designs.share(k, real);
    const mark = element("i", { className: "mark-of", hidden: share === null });
    mark.style.left = `${100 * (share ?? 0)}%`;
    track.append(mark);
    const sameness = before === after ? "same" : "rebuilt";
    cell.append(text("span", before, { className: "real" }), text("span", after, { className: sameness }), track);
    return cell;
  }
}

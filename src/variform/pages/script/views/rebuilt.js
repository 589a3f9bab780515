// Test rows and what the model makes of them, the worst first.

/**
 * @import { Box } from "../types.js"
 */

import { floatsOf } from "../bytes.js";
import { numbersOf } from "../colouring.js";
import { element, note } from "../elements.js";
import { shown } from "../text.js";
import { Theme } from "../theme.js";
import { pinning, Rows, Wall } from "../walls.js";
import { say, t } from "../words.js";
import { View } from "./view.js";

const HOW = {
  table: "In each cell the value and, below it, what the model makes of it.",
  curve: "The row and, in blue, what the model makes of it.",
  outline: "The row and, in blue, what the model makes of it.",
  image: "Above each the row, below what the model makes of its posterior mean.",
};
const MEASURE = {
  one: "Below each its name and the root mean squared error.",
  none: "Below each its name and the root mean squared error in the data's own units.",
};
const LABEL = t`Reconstructions, the worst first; arrow keys go from one to the next`;
const WORDS = 20; // the height of what is written below each

export class RebuiltView extends View {
  static key = "rebuilt";
  static title = "Reconstructions";

  /** @param {HTMLElement} host */
  mount(host) {
    const { app } = this;
    const { rows } = app.contents;
    const { designs, cloud } = app.world;
    this.which = [...rows.worst, ...rows.others];
    this.points = this.which.map((i) => cloud.point(i));
    this.told = rows.contexts ? floatsOf(rows.contexts) : null;
    this.error = app.world.columns.find(({ role }) => role === "error");
    const [worst, others] = [rows.worst, rows.others].map(({ length }) => length);
    const some = t`The ${worst} worst of the ${say(rows.judged)} rows first, then ${others} from everywhere.`;
    const measure = MEASURE[this.error.unit ? "one" : "none"];
    host.append(note([some, say(HOW[designs.kind]), designs.kind === "table" ? "" : say(measure)].join(" ")));
    this.place = element("div", { className: "wall-place" });
    host.append(this.place);
    const on = pinning(app, (i) => this.points[i]);
    if (designs.kind === "table") this.table = new Rows(this.place, designs, on);
    else this.wall = new Wall(this.place, LABEL, on);
  }

  again() {
    this._key = null;
  }

  refresh() {
    const key = String(this.place.clientWidth);
    if (key === this._key) return;
    this._key = key;
    this._draw(key);
  }

  /** @param {string} key */
  async _draw(key) {
    const { app, which } = this;
    const values = await app.many(this.points, () => this._key === key, this.told);
    if (!values) return;
    const errors = numbersOf(this.error);
    const unit = this.error.unit ? ` ${this.error.unit}` : "";
    const texts = which.map((row) => `${shown(errors[row], errors[row] / 100)}${unit}`);
    if (this.table) this._showTable(values, texts);
    else this._showWall(values, texts);
  }

  /**
   * @param {Float32Array} values
   * @param {string[]} texts the error of each
   */
  _showTable(values, texts) {
    const { app } = this;
    const { designs, examples } = app.world;
    const items = this.which.map((row, i) => ({
      name: app.nameOf(row) || String(i + 1),
      values: designs.part(values, i),
      real: designs.part(examples.values, row),
      facts: [texts[i]],
    }));
    this.table.show(items, [this.error.unit ? t`error` : t`error, own units`]);
  }

  /**
   * @param {Float32Array} values
   * @param {string[]} texts the error of each
   */
  _showWall(values, texts) {
    const { designs } = this.app.world;
    const w = this.place.clientWidth;
    const isLine = Boolean(designs.lines);
    const count = this.which.length;
    const sheet = designs.sheet(values, count);
    this.wall.show({
      count,
      across: isLine ? Math.max(2, Math.round(w / 190)) : Math.max(5, Math.min(10, Math.round(w / 84))),
      aspect: isLine ? designs.aspect : designs.aspect / 2,
      gap: 8,
      below: WORDS,
      draw: (context, i, box) => {
        const inside = { ...box, h: box.h - WORDS };
        if (isLine) this._drawLines(context, i, inside, sheet);
        else this._drawPair(context, i, inside, sheet);
        this._write(context, i, box, texts[i]);
      },
    });
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} i
   * @param {Box} box
   * @param {import("../types.js").Sheet} sheet
   */
  _drawLines(context, i, box, sheet) {
    const { designs, examples } = this.app.world;
    sheet.draw(context, i, box);
    const inside = { x: box.x + 3, y: box.y + 3, w: box.w - 6, h: box.h - 6 };
    const row = designs.part(examples.values, this.which[i]);
    designs.lines.draw(context, row, inside, { colour: Theme.colours.second, width: 1.2 });
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} i
   * @param {Box} box
   * @param {import("../types.js").Sheet} sheet
   */
  _drawPair(context, i, { x, y, w, h }, sheet) {
    const half = h / 2;
    this.app.world.examples.draw(context, this.which[i], { x, y, w, h: half - 1 });
    sheet.draw(context, i, { x, y: y + half + 1, w, h: half - 1 });
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} i
   * @param {Box} box
   * @param {string} text
   */
  _write(context, i, { x, y, w, h }, text) {
    const { app } = this;
    const isOfWorst = i < app.contents.rows.worst.length;
    const name = app.nameOf(this.which[i]).split("/").at(-1);
    context.font = Theme.font(11, isOfWorst ? 600 : 400);
    context.fillStyle = Theme.colours.soft;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(name ? `${name}: ${text}` : text, x + w / 2, y + h - WORDS / 2, w);
  }
}

// What is known of the example under the pointer, beside it.

/**
 * @import { Description, Examples } from "./types.js"
 */

import { fitted, prepare } from "./canvas.js";
import { element, text } from "./elements.js";
import { t } from "./words.js";

const PICTURE = 96; // pixels across
const MOST_FACTS = 8;
const OFF = 12; // from the example to the tooltip

export class Tooltip {
  /**
   * @param {HTMLElement} host what it stays within
   * @param {Examples} examples
   * @param {number} aspect of an example
   */
  constructor(host, examples, aspect) {
    this.host = host;
    this.examples = examples;
    this.size = fitted(aspect, PICTURE, PICTURE);
    this.at = -1;
    this.x = 0;
    this.y = 0;
    this.picture = element("canvas", { "aria-hidden": "true" });
    this.words = element("div");
    this.box = element("div", { className: "tip", role: "tooltip", hidden: true }, this.picture, this.words);
    host.append(this.box);
  }

  /**
   * @param {number} i an example
   * @param {(i: number) => Description} describe
   * @param {[number, number]} place of it
   */
  show(i, describe, [x, y]) {
    if (i === this.at && x === this.x && y === this.y) return;
    if (i !== this.at) this._fill(i, describe(i));
    Object.assign(this, { at: i, x, y });
    this.box.hidden = false;
    const { offsetWidth: w, offsetHeight: h } = this.box;
    const { clientWidth, clientHeight } = this.host;
    const left = x + OFF + w < clientWidth ? x + OFF : x - OFF - w;
    this.box.style.left = `${Math.max(4, left)}px`;
    this.box.style.top = `${Math.max(4, Math.min(clientHeight - h - 4, y - h / 2))}px`;
  }

  hide() {
    this.at = -1;
    this.box.hidden = true;
  }

  /**
   * @param {number} i
   * @param {Description} description
   */
  _fill(i, { name, facts }) {
    const { w, h } = this.size;
    this.examples.draw(prepare(this.picture, w, h), i, { x: 0, y: 0, w, h });
    const known = facts
      .slice(0, MOST_FACTS)
      .map(([what, words]) => element("div", {}, text("dt", what), text("dd", words)));
    const title = this.examples.isReal(i) ? name : t`${name}, rebuilt`;
    this.words.replaceChildren(text("b", title), element("dl", {}, ...known));
  }
}

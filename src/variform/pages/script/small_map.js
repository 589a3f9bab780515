// A small map beside another view: where its designs lie among the examples.

/**
 * @import { App, Point } from "./types.js"
 */

import { element } from "./elements.js";
import { LatentMap } from "./latent_map.js";

export class SmallMap {
  /**
   * @param {App} app
   * @param {string} label what it shows, for those who do not see it
   */
  constructor(app, label) {
    this.app = app;
    this.element = element("div", { className: "map-place small" });
    this.map = new LatentMap(this.element, app.world, app.hand);
    this.map.moving.setAttribute("role", "img");
    this.map.moving.setAttribute("aria-label", label);
  }

  /** The examples, as the page colours them. */
  show() {
    this.map.show({ ...this.app.look(), marks: "dots" });
  }

  /**
   * What moves: the point, the example nearest to it, the pins and a way.
   *
   * @param {Point[] | null} way
   */
  mark(way = null) {
    const { live, near, state } = this.app;
    this.map.mark({ z: live, near: near.index, pins: state.pins, way });
  }
}

// Designs from the prior, or from a sampler that was fitted.

/**
 * @import { Contents, KeptPart } from "../types.js"
 */

import { whole } from "../address.js";
import { floatsOf } from "../bytes.js";
import { button, choice, element, note } from "../elements.js";
import { normals } from "../random.js";
import { pinning, Rows, Wall } from "../walls.js";
import { say, t } from "../words.js";
import { View } from "./view.js";

const LABEL = t`Samples; arrow keys go from one to the next, Enter pins one`;

export class SamplesView extends View {
  static key = "samples";
  static title = "Samples";

  /**
   * @param {Contents} contents
   * @returns {Record<string, KeptPart>}
   */
  static kept({ laws }) {
    const readLaw = whole(0, laws.length - 1);
    const readSeed = whole(0, 1e6);
    return {
      draw: {
        start: { law: 0, seed: 1 },
        read(text) {
          const [first, second] = text.split(",");
          const [law, seed] = [readLaw(first), readSeed(second)];
          return law === undefined || seed === undefined ? undefined : { law, seed };
        },
        write: ({ law, seed }) => `${law},${seed}`,
      },
    };
  }

  /** @param {HTMLElement} host */
  mount(host) {
    const { app } = this;
    const { laws } = app.contents;
    const { draw } = app.state;
    const bar = element("div", { className: "bar" });
    if (laws.length > 1) {
      const names = laws.map(({ name }, k) => /** @type {[number, string]} */ ([k, say(name)]));
      bar.append(
        choice(t`Draw z from`, names, draw.law, (value) => app.set({ draw: { law: Number(value), seed: 1 } })),
      );
    } else bar.append(note(t`z is drawn from ${say(laws[0].name)}, then decoded.`));
    const again = () => {
      const { law, seed } = app.state.draw;
      app.set({ draw: { law, seed: seed + 1 } });
    };
    bar.append(button(t`Draw again`, again));
    this.place = element("div", { className: "wall-place" });
    host.append(bar, this.place, note(t`The means of p(x|z); its noise is left out.`));
    if (laws.length === 1) host.append(note(t`A sampler fitted with variform sampler stands here beside the prior.`));
    const on = pinning(app, (i) => this.points[i]);
    if (app.world.designs.kind === "table") this.table = new Rows(this.place, app.world.designs, on);
    else this.wall = new Wall(this.place, LABEL, on);
  }

  again() {
    this._key = null;
  }

  refresh() {
    const { draw, context } = this.app.state;
    const key = [draw.law, draw.seed, ...context, this.place.clientWidth].join("|");
    if (key === this._key) return;
    this._key = key;
    this._draw(key);
  }

  /** @param {number} count */
  _points(count) {
    const { law, seed } = this.app.state.draw;
    const { dim } = this.app.contents.latents;
    const { codes } = this.app.contents.laws[law];
    const part = (/** @type {Float32Array} */ all, /** @type {number} */ at) => all.slice(at * dim, (at + 1) * dim);
    if (codes === null) {
      const drawn = normals(count * dim, seed);
      return Array.from({ length: count }, (_, i) => part(drawn, i));
    }
    const all = floatsOf(codes);
    const known = all.length / dim;
    return Array.from({ length: count }, (_, i) => part(all, ((seed - 1) * count + i) % known));
  }

  // How many designs there is room for: across, and in all.
  _room() {
    const { designs } = this.app.world;
    const w = this.place.clientWidth;
    const across = designs.lines ? Math.max(2, Math.round(w / 190)) : Math.max(4, Math.round(w / 86));
    const onNarrow = w < 480 ? 1.4 : 1;
    const down = Math.max(3, Math.round((designs.areWide ? 5 : 6) * onNarrow));
    return { across, count: this.table ? 16 : across * down };
  }

  /** @param {string} key */
  async _draw(key) {
    const { app } = this;
    const { designs } = app.world;
    const { across, count } = this._room();
    const points = this._points(count);
    const values = await app.many(points, () => this._key === key);
    if (!values) return;
    this.points = points;
    if (this.table) {
      this.table.show(points.map((_, i) => ({ name: String(i + 1), values: designs.part(values, i) })));
      return;
    }
    const { draw } = designs.sheet(values, count);
    this.wall.show({ count, across, aspect: designs.aspect, gap: 6, draw });
  }
}

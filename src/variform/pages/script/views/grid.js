// A grid of decoded designs: of equal prior mass, or in the plane of the map.

/**
 * @import { KeptPart, Point } from "../types.js"
 */

import { whole } from "../address.js";
import { floatsOf } from "../bytes.js";
import { choice, element, note, tick } from "../elements.js";
import { normalQuantile } from "../random.js";
import { SmallMap } from "../small_map.js";
import { pinning, Wall } from "../walls.js";
import { say, t } from "../words.js";
import { View } from "./view.js";

const SIZES = [8, 12, 15, 20].map((size) => /** @type {[number, string]} */ ([size, `${size} × ${size}`]));
const IN_PLANE = t`The plane of the map, decoded about the current point; the other directions stay as they are.`;
const ON_MAP = t`The design under the pointer on the map of the latent space; a click pins another point`;
const LABEL = t`Grid of decoded designs; arrow keys go from one to the next, Enter pins one`;

export class GridView extends View {
  static key = "grid";
  static title = "Grid";
  static isOfLatents = true;

  /** @returns {Record<string, KeptPart>} */
  static kept() {
    return { grid: { start: 15, read: whole(4, 30) } };
  }

  /** @param {HTMLElement} host */
  mount(host) {
    const { app } = this;
    const { dim, standard, prior, grid } = app.contents.latents;
    this.fixed = dim === 2 && !standard ? grid : null;
    const bar = element("div", { className: "bar" });
    if (!this.fixed) bar.append(choice(t`Size`, SIZES, app.state.grid, (value) => app.set({ grid: Number(value) })));
    bar.append(tick(t`Fog`, app.state.fog, (fog) => app.set({ fog })));
    const axes = dim === 2 ? t`z1 rises to the right, z2 upwards.` : t`z1 rises to the right.`;
    const ofMass = t`A grid of equal prior mass: each tile stands for the same share of ${say(prior)}.`;
    this.place = element("div", { className: "wall-place square" });
    const { aspect } = app.world.designs;
    if (aspect > 1) this.place.style.maxWidth = `min(100%, calc((100vh - 240px) * ${aspect}))`;
    this.map = new SmallMap(app, ON_MAP);
    const beside = element("div", { className: "beside" }, this.place, this.map.element);
    host.append(bar, beside, note(dim <= 2 ? `${ofMass} ${axes}` : IN_PLANE));
    this.wall = new Wall(
      this.place,
      LABEL,
      pinning(app, (i) => this.points[i]),
    );
  }

  again() {
    this._key = null;
  }

  refresh() {
    this.map.show();
    this.move();
    const { state, contents } = this.app;
    const off = contents.latents.dim > 2 ? [state.plane, ...this._offPlane()] : [];
    const key = [state.grid, state.fog, ...state.context, ...off, this.place.clientWidth].join("|");
    if (key === this._key) return;
    this._key = key;
    this._draw(key);
  }

  move() {
    this.map.mark();
  }

  // What of the point does not lie in the plane: the grid is about it.
  _offPlane() {
    const { app } = this;
    return Array.from(app.plane().at([0, 0], app.state.z), (value) => value.toFixed(3));
  }

  // The points of the grid, row by row from above.
  _lattice() {
    const { app } = this;
    const { dim } = app.contents.latents;
    if (this.fixed) return fixedLattice(floatsOf(this.fixed));
    const size = app.state.grid;
    const share = (/** @type {number} */ i) => (i + 0.5) / size;
    if (dim === 1) {
      const points = Array.from({ length: size }, (_, i) => Float32Array.of(normalQuantile(share(i))));
      return { across: size, points };
    }
    const point = dim === 2 ? ofPriorMass : this._inPlane();
    const points = Array.from({ length: size * size }, (_, i) => {
      const fromBelow = size - 1 - Math.floor(i / size);
      return point(share(i % size), share(fromBelow));
    });
    return { across: size, points };
  }

  // The point at shares of the plane's two axes, which lead over 99 of 100 examples.
  _inPlane() {
    const { app } = this;
    const { cloud } = app.world;
    const plane = app.plane();
    const places = Array.from({ length: cloud.count }, (_, i) => plane.place(cloud.means, i * cloud.dim));
    const [across, up] = [0, 1].map((axis) => {
      const sorted = Float64Array.from(places, (place) => place[axis]).sort();
      const low = sorted[Math.floor(0.005 * (sorted.length - 1))];
      const high = sorted[Math.ceil(0.995 * (sorted.length - 1))];
      return (/** @type {number} */ share) => low + share * (high - low);
    });
    return (/** @type {number} */ x, /** @type {number} */ y) => plane.at([across(x), up(y)], app.state.z);
  }

  /** @param {string} key */
  async _draw(key) {
    const { app } = this;
    const { designs } = app.world;
    const { points, across } = this._lattice();
    const values = await app.many(points, () => this._key === key);
    if (!values) return;
    this.points = points;
    const { draw } = designs.sheet(values, points.length);
    const covers = app.state.fog ? points.map((z) => this._cover(z)) : null;
    const tile = this.place.clientWidth / across;
    const cover = covers && ((/** @type {number} */ i) => covers[i]);
    this.wall.show({ count: points.length, across, aspect: designs.aspect, gap: tile > 28 ? 2 : 1, draw, cover });
  }

  /** @param {Point} z */
  _cover(z) {
    const { app } = this;
    const strangeness = app.world.nearness.strangeness(app.nearest(z).distance);
    return Math.max(0, Math.min(0.82, 0.45 * (strangeness - 1)));
  }
}

/**
 * The point of two latents below which a share of the prior lies.
 *
 * @param {number} x
 * @param {number} y
 */
const ofPriorMass = (x, y) => Float32Array.of(normalQuantile(x), normalQuantile(y));

/** @param {Float32Array} codes of a square grid, its rows from below */
function fixedLattice(codes) {
  const size = Math.round(Math.sqrt(codes.length / 2));
  const points = Array.from({ length: size * size }, (_, i) => {
    const fromBelow = size - 1 - Math.floor(i / size);
    const at = fromBelow * size + (i % size);
    return codes.slice(2 * at, 2 * at + 2);
  });
  return { across: size, points };
}

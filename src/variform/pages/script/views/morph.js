// From one pin to another, straight or along the data.

/**
 * @import { Box, KeptPart, Point, WayName } from "../types.js"
 */

import { MOST_PINS, whole } from "../address.js";
import { prepare } from "../canvas.js";
import { button, choice, element, note, segments } from "../elements.js";
import { between, distanceOf, straightWay, wayAlongData } from "../geometry.js";
import { Player } from "../player.js";
import { SmallMap } from "../small_map.js";
import { shown } from "../text.js";
import { Theme } from "../theme.js";
import { Wall } from "../walls.js";
import { t } from "../words.js";
import { View } from "./view.js";

const STEPS = 11; // designs that are shown
const FINE = 61; // points of a way
/** @type {[number, string][]} */
const SPEEDS = [
  [8, t`slow`],
  [4, t`medium`],
  [2, t`fast`],
];
const PRESSED_BY_SPACE = "button, input[type=checkbox]";
const ON_MAP = t`The way on the map of the latent space; a click pins another point`;
/** @type {[WayName, string][]} */
const WAYS = [
  ["straight", t`Straight`],
  ["data", t`Along the data`],
];

export class MorphView extends View {
  static key = "morph";
  static title = "Morph";
  static isOfLatents = true;

  /** @type {string | null} */
  _waysOf = null;

  /** @type {string | null} */
  _distancesOf = null;

  /** @type {string | null} */
  _barOf = null;

  /** @returns {Record<string, KeptPart>} */
  static kept() {
    return {
      morph: {
        start: { a: 0, b: 1, way: "straight", share: 0.5 },
        read: readMorph,
        write: ({ a, b, way, share }) => [a, b, way, Number(share.toFixed(3))].join(","),
      },
    };
  }

  /** @param {HTMLElement} host */
  mount(host) {
    const { app } = this;
    this._twoPins();
    this.bar = element("div", { className: "bar" });
    this.wallPlace = element("div", { className: "wall-place" });
    this.slider = element("input", {
      type: "range",
      min: 0,
      max: 1,
      step: 0.005,
      "aria-label": t`How far along the way`,
      oninput: () => this._along(Number(this.slider.value)),
    });
    this.player = new Player((share) => this._pass(share), STEPS);
    this.play = button(t`Play`, () => this._playOrPause(), { title: t`To and fro along the way (Space)` });
    const speed = choice(t`Speed`, SPEEDS, this.player.seconds, (seconds) => {
      this.player.seconds = Number(seconds);
    });
    const player = element("div", { className: "player" }, this.play, this.slider, speed);
    this.profile = element("canvas", {
      role: "img",
      "aria-label": t`Distance to the nearest example along the way`,
    });
    this.profilePlace = element("div", { className: "profile" }, this.profile);
    this.words = note("");
    this.map = new SmallMap(app, ON_MAP);
    host.append(this.bar, this.wallPlace, player, this.profilePlace, this.words, this.map.element);
    const shareOf = (/** @type {number} */ i) => i / (STEPS - 1);
    this.wall = new Wall(this.wallPlace, t`Designs along the way; arrow keys go from one to the next`, {
      follow: (i) => app.follow(this._point(shareOf(i))),
      leave: () => app.follow(app.state.z),
      choose: (i) => this._along(shareOf(i)),
    });
    this.refresh();
    this._along(app.state.morph.share);
  }

  again() {
    this._key = null;
  }

  refresh() {
    const { app } = this;
    this._twoPins();
    const { morph, context } = app.state;
    const [a, b] = this._ends();
    this._findWays(a, b);
    this._measureWays();
    this._showBar(a, b);
    this.way = this.ways[morph.way];
    if (!this.player.isPlaying) this.slider.value = String(morph.share);
    this.map.show();
    const key = [this._waysOf, morph.way, ...context, this.wallPlace.clientWidth].join("|");
    if (key !== this._key) {
      this._key = key;
      this._showWall(key);
    }
    this._drawProfile();
    this.move();
  }

  move() {
    this.map.mark(this.way);
  }

  /** @param {string} key */
  press(key) {
    if (key !== " " || document.activeElement.matches(PRESSED_BY_SPACE)) return false;
    this._playOrPause();
    return true;
  }

  leave() {
    if (this.player.isPlaying) this._playOrPause();
  }

  // A pause keeps the point where it is.
  _playOrPause() {
    if (this.player.isPlaying) return this._along(this.player.share);
    this.player.play(this.app.state.morph.share);
    this.play.textContent = t`Pause`;
  }

  /** @param {number} share that is played past */
  _pass(share) {
    this.slider.value = String(share);
    this.app.follow(this._point(share));
    this._drawProfile();
  }

  // A morph needs two pins: where there are fewer, two examples that are far from each other.
  _twoPins() {
    const { state, world } = this.app;
    if (state.pins.length > 1) return;
    const { cloud, order } = world;
    const first = state.pins[0] ?? cloud.point(order[0]);
    const some = order.slice(0, 200).map((i) => cloud.point(i));
    const farther = (/** @type {Point} */ best, /** @type {Point} */ z) =>
      distanceOf(z, first) > distanceOf(best, first) ? z : best;
    state.pins = [first, some.reduce(farther, first)];
    state.morph = { ...state.morph, a: 0, b: 1 };
  }

  // The two pins of the state, or where it names pins that are gone two that are there.
  _ends() {
    const { pins, morph } = this.app.state;
    const a = Math.min(morph.a, pins.length - 1);
    if (morph.b < pins.length && morph.b !== a) return [a, morph.b];
    return [a, a === 0 ? 1 : 0];
  }

  /**
   * @param {number} a
   * @param {number} b
   */
  _findWays(a, b) {
    const { pins } = this.app.state;
    const key = [a, b, ...pins.map((pin) => pin.join(","))].join("|");
    if (key === this._waysOf) return;
    this._waysOf = key;
    const { space, world } = this.app;
    const { cloud } = world;
    this.ways = {
      straight: straightWay(pins[a], pins[b], FINE, (a, b, share) =>
        space.between(/** @type {Point} */ (a), /** @type {Point} */ (b), share),
      ),
      data: wayAlongData(cloud, pins[a], pins[b], FINE).map((z) => space.nearest(z)),
    };
  }

  // How far the nearest example is all along both ways, under the condition that is chosen.
  _measureWays() {
    const { app } = this;
    const key = [this._waysOf, ...app.state.context].join("|");
    if (key === this._distancesOf) return;
    this._distancesOf = key;
    const distances = (/** @type {Point[]} */ way) => way.map((z) => app.nearest(z).distance);
    this.distances = { straight: distances(this.ways.straight), data: distances(this.ways.data) };
  }

  /**
   * @param {number} a
   * @param {number} b
   */
  _showBar(a, b) {
    const { app } = this;
    const { pins, morph } = app.state;
    const key = [this._waysOf, morph.way].join("|");
    if (key === this._barOf) return;
    this._barOf = key;
    const names = pins.map((_, i) => /** @type {[number, string]} */ ([i, t`pin ${i + 1}`]));
    const change = (/** @type {Partial<typeof morph>} */ changes) =>
      app.set({ morph: { ...app.state.morph, ...changes } });
    const controls = () => Array.from(this.bar.querySelectorAll("select, button"));
    const focused = controls().indexOf(document.activeElement);
    this.bar.replaceChildren(
      choice(t`From`, names, a, (value) => change({ a: Number(value), b: Number(value) === b ? a : b })),
      choice(t`to`, names, b, (value) => change({ b: Number(value), a: Number(value) === a ? b : a })),
      segments(t`Way`, WAYS, morph.way, (way) => change({ way: /** @type {WayName} */ (way) })),
    );
    const again = /** @type {HTMLElement | undefined} */ (controls()[focused]);
    again?.focus();
    const farthest = (/** @type {WayName} */ name) => shown(Math.max(...this.distances[name]), 0.01);
    const [straight, data] = [farthest("straight"), farthest("data")];
    this.words.textContent = t`Farthest from any example: ${straight} on the straight way, ${data} along the data.`;
  }

  /** @param {number} share */
  _point(share) {
    const at = share * (FINE - 1);
    const low = Math.min(FINE - 2, Math.floor(at));
    return between(this.way[low], this.way[low + 1], at - low);
  }

  /** @param {number} share */
  _along(share) {
    this.player.pause();
    this.play.textContent = t`Play`;
    this.app.set({ z: this._point(share), morph: { ...this.app.state.morph, share } });
  }

  /** @param {string} key */
  async _showWall(key) {
    const { app } = this;
    const { designs } = app.world;
    const points = Array.from({ length: STEPS }, (_, i) => this._point(i / (STEPS - 1)));
    const values = await app.many(points, () => this._key === key);
    if (!values) return;
    const sheet = designs.sheet(values, STEPS);
    const across = this.wallPlace.clientWidth < 480 ? 6 : STEPS;
    this.wall.show({ count: STEPS, across, aspect: designs.aspect, gap: 3, draw: sheet.draw });
  }

  // The distance to the nearest example along both ways.
  _drawProfile() {
    const { soft, accent, second } = Theme.colours;
    const w = this.profilePlace.clientWidth;
    const h = 84;
    const context = prepare(this.profile, w, h);
    const box = { x: 40, y: 16, w: w - 48, h: h - 22 };
    const { limit } = this.app.world.nearness;
    const { straight, data } = this.distances;
    const most = 1.1 * Math.max(limit, ...straight, ...data) || 1;
    context.clearRect(0, 0, w, h);
    drawFrame(context, box, limit, most);
    this._drawDistances(context, box, "straight", second, most);
    this._drawDistances(context, box, "data", accent, most);
    context.setLineDash([]);
    const { isPlaying, share } = this.player;
    const x = box.x + (isPlaying ? share : this.app.state.morph.share) * box.w;
    context.strokeStyle = soft;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, box.y);
    context.lineTo(x, box.y + box.h);
    context.stroke();
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Box} box
   * @param {WayName} name
   * @param {string} colour
   * @param {number} most
   */
  _drawDistances(context, box, name, colour, most) {
    const isChosen = name === this.app.state.morph.way;
    context.beginPath();
    this.distances[name].forEach((value, i) => {
      context.lineTo(box.x + (i / (FINE - 1)) * box.w, box.y + box.h * (1 - value / most));
    });
    context.strokeStyle = colour;
    context.lineWidth = isChosen ? 2.5 : 1;
    context.setLineDash(isChosen ? [] : [4, 3]);
    context.stroke();
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Box} box
 * @param {number} limit the distance from which on the fog lies
 * @param {number} most the distance at the upper edge
 */
function drawFrame(context, box, limit, most) {
  const { soft, line } = Theme.colours;
  context.fillStyle = Theme.colours.fog;
  context.globalAlpha = 0.6;
  context.fillRect(box.x, box.y, box.w, box.h * (1 - limit / most));
  context.globalAlpha = 1;
  context.font = Theme.font(11);
  context.fillStyle = soft;
  context.textBaseline = "top";
  context.textAlign = "left";
  const words = t`Distance to the nearest example`;
  const fog = t`fog: farther than is usual among the data`;
  context.fillText(box.w < 420 ? words : `${words}; ${fog}`, box.x, 0);
  context.strokeStyle = line;
  context.strokeRect(box.x + 0.5, box.y + 0.5, box.w - 1, box.h - 1);
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.fillText(shown(most / 1.1, 0.01), box.x - 5, box.y + 8);
  context.fillText("0", box.x - 5, box.y + box.h - 5);
}

/** @param {string} text two pins, a way and a share of it */
function readMorph(text) {
  const [first, second, way, share] = text.split(",");
  const [a, b] = [first, second].map(whole(0, MOST_PINS - 1));
  const isWay = WAYS.some(([name]) => name === way);
  if (a === undefined || b === undefined || !isWay) return undefined;
  return { a, b, way, share: Math.max(0, Math.min(1, Number(share) || 0)) };
}

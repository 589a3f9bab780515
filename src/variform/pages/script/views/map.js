// The map of the latent space with the data on it.

/**
 * @import { Colouring, Hand, State, Tool } from "../types.js"
 */

import { PICTURE } from "../address.js";
import { prepare, ticks } from "../canvas.js";
import { titleOf } from "../colouring.js";
import { curvedPlane, firstCurved, Globe } from "../curved.js";
import { button, choice, element, note, segments, text, tick } from "../elements.js";
import { LatentMap } from "../latent_map.js";
import { keyOfMarks } from "../marks.js";
import { lassoOf, rectangleOf } from "../region.js";
import { Search } from "../search.js";
import { ChosenExamples, Selection } from "../selection.js";
import { shown } from "../text.js";
import { scaleColour, Theme } from "../theme.js";
import { say, t } from "../words.js";
import { View } from "./view.js";

const SCALE = { w: 260, h: 30, margin: 18 }; // of the legend of numbers, in pixels
const LABEL =
  "Map of the latent space. Arrow keys move the point, with Shift further; Enter pins it; " +
  "N goes to the nearest example, and what is known of it is said beside it. Plus and minus zoom, 0 shows all.";
const STEP = 1.5; // of a key or a button
/** What a drag does. @type {[Tool, string][]} */
const TOOLS = [
  ["move", t`Move`],
  ["rectangle", t`Rectangle`],
  ["lasso", t`Lasso`],
];

export class MapView extends View {
  static key = "map";
  static title = "Map";
  static isOfLatents = true;

  /** @type {string | null} */
  _pairOf = null;

  /** The example that was gone to, until the mouse moves. */
  _gone = -1;

  /** What a drag does. @type {Tool} */
  _tool = "move";

  /** What was kept before the last two clicks, which a double click brings back. @type {Partial<State>[]} */
  _before = [];

  /** @param {HTMLElement} host */
  mount(host) {
    const { app } = this;
    const { world, state } = app;
    const bar = element("div", { className: "bar" });
    const isGlobe = firstCurved(app.contents.latents)?.startsWith("globe");
    const hasPlanes = app.contents.latents.dim > (isGlobe ? 3 : 2);
    if (hasPlanes || app.contents.embedding) bar.append(...this._planes());
    if (isGlobe) bar.append(this._turning());
    const columns = world.columns.map((column) => /** @type {[string, string]} */ ([column.name, titleOf(column)]));
    const pictures = world.designs.kind === "image" ? t`Thumbnails` : t`Glyphs`;
    /** @type {[string, string][]} */
    const marks = [
      ["dots", t`Dots`],
      ["pictures", pictures],
    ];
    bar.append(
      choice(t`Colour`, [["", t`none`], ...columns], state.colour, (colour) => app.set({ colour, only: -1 })),
      segments(t`Marks`, marks, state.marks, (value) => app.set({ marks: value })),
      tick(t`Fog`, state.fog, (fog) => app.set({ fog })),
    );
    if (world.study?.validity) {
      /** @type {[string, string][]} */
      const kinds = [
        ["validity", t`likely invalid`],
        ["data", t`no data`],
      ];
      bar.append(
        segments(t`Where the fog lies`, kinds, state.fogOf, (of) => {
          app.set({ fogOf: /** @type {"validity" | "data"} */ (of) });
        }),
      );
    }
    if (world.study) bar.append(tick(t`Evaluated designs`, state.designs, (designs) => app.set({ designs })));
    const place = element("div", { className: "map-place" });
    this.legend = element("div", { className: "legend" });
    this.search = new Search(app, (i) => this._go(i));
    this.selection = new Selection(app, {
      view: () => this._selectView(),
      pins: () => this._selectWithinPins(),
    });
    const drags = segments(t`What a drag does`, TOOLS, this._tool, (tool) => this._use(/** @type {Tool} */ (tool)));
    const what = element("span", { className: "field" }, text("span", t`Drag`, { "aria-hidden": "true" }), drags);
    const tools = element("div", { className: "bar find" }, this.search.element, what, this.selection.element);
    const chosen = element("div", { className: "chosen-examples" });
    this.ofPlane = note("");
    host.append(bar, tools, place, this.ofPlane, this.legend, chosen);
    this.chosen = new ChosenExamples(app, chosen, (i) => this._go(i));
    if (world.study) {
      this.ofFog = note("");
      host.append(keyOfMarks(world.study), this.ofFog);
    }
    this.map = new LatentMap(place, world, this._hand());
    place.append(this._zoomButtons());
    this._at = state.z;
    Object.assign(this.map.moving, { tabIndex: 0, id: "map" });
    this.map.moving.setAttribute("role", "application");
    this.map.moving.setAttribute("aria-label", say(LABEL));
    this.map.moving.addEventListener("keydown", (event) => {
      this.isByKey = event.key !== "Escape";
      app.arrows(event, this.map);
    });
    this.map.moving.addEventListener("pointermove", () => {
      this.isByKey = false;
      this._gone = -1;
    });
    if (world.rowsNote) host.append(note(world.rowsNote));
  }

  again() {
    this._key = null;
    this.chosen.again();
  }

  refresh() {
    if (this.pair) this._showPair();
    this.ofPlane.hidden = this.app.state.plane !== PICTURE;
    this.ofPlane.textContent = this.ofPlane.hidden ? "" : this._wordsOfPicture();
    if (this.ofFog) this.ofFog.textContent = this._wordsOfFog();
    const { state } = this.app;
    if (state.z !== this._at) this._bringIntoView();
    const look = { ...this.app.look(), zoom: state.zoom, selection: state.selection };
    this.map.show(look);
    this.selection.refresh();
    this.all.disabled = state.zoom === null;
    this.smaller.disabled = state.zoom === null;
    this._showLegend(look.colour);
    this.chosen.refresh();
    this.move();
  }

  move() {
    const { live, near, state } = this.app;
    this.map.mark({ z: live, near: near.index, pins: state.pins, found: this.search.found });
    if (this._gone >= 0) this.map.tell(this._gone);
    if (this.isByKey && this.map.moving === document.activeElement) this.map.tell(near.index);
  }

  /** @param {string} key */
  press(key) {
    const { app } = this;
    if (key === "+" || key === "=") this._zoomBy(STEP);
    else if (key === "-") this._zoomBy(1 / STEP);
    else if (key === "0") app.set({ zoom: null });
    else if (key === "/") this.search.field.focus();
    else if (key === "Escape" && app.state.selection) app.set({ selection: null });
    else return false;
    return true;
  }

  /** @returns {Hand} */
  _hand() {
    const { app } = this;
    const { hand } = app;
    const remember = () => {
      const { z, pins, labels } = app.state;
      this._before = [...this._before.slice(-1), { z, pins, labels }];
    };
    return {
      ...hand,
      choose: (z) => {
        remember();
        hand.choose(z);
      },
      keep: (z) => {
        remember();
        hand.keep(z);
      },
      zoom: (zoom) => {
        const { live } = app;
        this._before = [];
        app.set({ zoom });
        app.follow(live); // it is still under the pointer
      },
      whole: () => app.set({ ...(this._before.length > 1 ? this._before[0] : {}), zoom: null }),
      select: (selection) => app.set({ selection }),
      tool: () => this._tool,
    };
  }

  /** @param {Tool} tool */
  _use(tool) {
    this._tool = tool;
    this.map.moving.style.touchAction = tool === "move" ? "" : "none";
  }

  _zoomButtons() {
    const larger = button("+", () => this._zoomBy(STEP), { "aria-label": t`Zoom in`, title: t`Zoom in (+)` });
    this.smaller = button("−", () => this._zoomBy(1 / STEP), { "aria-label": t`Zoom out`, title: t`Zoom out (−)` });
    this.all = button(t`All`, () => this.app.set({ zoom: null }), {
      "aria-label": t`Show all of the map`,
      title: t`Show all of the map (0, or a double click)`,
    });
    return element("div", { className: "zooms" }, larger, this.smaller, this.all);
  }

  // About the point where it is in view, else about the middle.
  /** @param {number} factor */
  _zoomBy(factor) {
    const { app, map } = this;
    const { zoom, z } = app.state;
    const place = map.look.plane.place(z);
    const isInView = map.whole.showing(zoom, place) === zoom;
    const about = isInView ? map.toScreen(...place) : /** @type {[number, number]} */ ([map.w / 2, map.h / 2]);
    app.set({ zoom: map.whole.zoomed(zoom, factor, about) });
  }

  _bringIntoView() {
    const { state } = this.app;
    this._at = state.z;
    if (this.map.whole) state.zoom = this.map.whole.showing(state.zoom, this.app.plane().place(state.z));
  }

  _selectView() {
    const [x0, y0, x1, y1] = this.map.frame.inner;
    this.app.set({ selection: rectangleOf([x0, y0], [x1, y1]) });
  }

  _selectWithinPins() {
    const { pins } = this.app.state;
    const plane = this.app.plane();
    const selection = lassoOf(pins.map((z) => plane.place(z)));
    if (selection) this.app.set({ selection });
    else this.app.toast(t`The pins stand on one line of the map: nothing lies between them`);
  }

  /** @param {number} i an example */
  _go(i) {
    this._gone = i;
    this.app.set({ z: this.app.world.cloud.point(i) });
  }

  /**
   * Another plane: where it was zoomed and what was selected there is of the old one.
   *
   * @param {string} plane
   */
  _setPlane(plane) {
    this.app.set({ plane, zoom: null, selection: null });
  }

  _wordsOfPicture() {
    const { embedding, rows } = this.app.contents;
    const counts = [embedding.count, rows.count].map((count) => count.toLocaleString("en"));
    const who = embedding.count < rows.count ? t`It has ${counts[0]} of ${counts[1]} examples.` : "";
    const what = [
      t`${embedding.name} is a picture, and no distance: neighbours stand together.`,
      t`How far apart groups stand and how large they are means nothing.`,
    ];
    const where = t`Only examples have a place in it; the point goes from one to the next.`;
    return [...what, who, where].filter(Boolean).join(" ");
  }

  _wordsOfFog() {
    const { world, state } = this.app;
    const { validity, contents } = world.study;
    if (!validity) return say(contents.validity.note);
    if (state.fogOf === "data") return t`The fog lies where there are no data, which does not say what is valid.`;
    return `${t`The fog is the thicker, the likelier a design is invalid.`} ${say(contents.validity.note)}`;
  }

  // Which side of the globe is seen.
  _turning() {
    const { app } = this;
    /** @type {[string, "turn" | "tilt", number][]} */
    const ways = [
      [t`Turn`, "turn", 180],
      [t`Tilt`, "tilt", 90],
    ];
    const parts = ways.map(([name, key, most]) => {
      const start = Globe.parts(app.state.plane) ?? Globe.parts(firstCurved(app.contents.latents));
      const slider = element("input", { type: "range", min: -most, max: most, step: 5, value: start[key] });
      slider.addEventListener("input", () => {
        const side = Globe.parts(app.state.plane) ?? { ...start };
        side[key] = Number(slider.value);
        this._setPlane(`globe:${side.turn}:${side.tilt}`);
      });
      return element("label", { className: "turning" }, text("span", name), slider);
    });
    return element("span", { className: "pair" }, ...parts);
  }

  _planes() {
    const { app } = this;
    const [a, b] = app.contents.latents.order;
    /** @type {[string, string][]} */
    const planes = [["two", t`two latents`]];
    if (app.contents.latents.dim < 3) planes[0] = ["two", t`the latents`];
    if (app.contents.plane) planes.unshift(["pca", "PCA"]);
    if (app.contents.embedding) planes.push([PICTURE, t`${app.contents.embedding.name}, a picture`]);
    const curved = firstCurved(app.contents.latents);
    if (curved) planes.unshift([curved, curved === "disc" ? t`the disc` : t`the globe`]);
    const named = ["pca", PICTURE, ...(curved ? [curved] : [])];
    const key = Globe.parts(app.state.plane) ? curved : app.state.plane;
    const chosen = named.includes(key) ? key : "two";
    const two = app.contents.latents.dim < 3 ? "0,1" : `${a},${b}`;
    this.pair = element("span", { className: "pair" });
    return [choice(t`Plane`, planes, chosen, (key) => this._setPlane(named.includes(key) ? key : two)), this.pair];
  }

  // Which two latents, where the plane is one of two; either choice swaps them when it takes the other's.
  _showPair() {
    const { app } = this;
    const { plane } = app.state;
    if (this._pairOf === plane) return;
    this._pairOf = plane;
    this.pair.replaceChildren();
    if (
      plane === "pca" ||
      plane === PICTURE ||
      curvedPlane(plane, app.contents.latents) ||
      app.contents.latents.dim < 3
    )
      return;
    const [a, b] = plane.split(",").map(Number);
    const names = app.contents.latents.order.map((k) => /** @type {[number, string]} */ ([k, `z${k + 1}`]));
    this.pair.append(
      choice(t`across`, names, a, (value) => this._setPlane(`${value},${Number(value) === b ? a : b}`)),
      choice(t`up`, names, b, (value) => this._setPlane(`${Number(value) === a ? b : a},${value}`)),
    );
  }

  /** @param {Colouring | null} colour */
  _showLegend(colour) {
    const key = [colour?.name, this.app.state.only, Theme.dark].join("|");
    if (key === this._key) return;
    this._key = key;
    this.legend.replaceChildren();
    if (!colour) return;
    const name = titleOf(colour);
    const title = colour.unit ? `${name} [${colour.unit}]` : name;
    this.legend.append(text("span", title, { className: "legend-title" }));
    if (colour.kind === "number") this._showScale(colour);
    else this.legend.append(...colour.groups.map((group) => this._groupButton(group)));
  }

  /** @param {Colouring} colour */
  _showScale({ low, high, range, unit, missing }) {
    const ends = t`${shown(range[0])} to ${shown(range[1])}${unit ? ` ${unit}` : ""}`;
    const bar = element("canvas", { role: "img", "aria-label": t`colours from ${shown(low)} to ${shown(high)}` });
    this.legend.append(bar, text("span", t`min to max: ${ends}`, { className: "ends" }));
    drawScale(prepare(bar, SCALE.w, SCALE.h), low, high);
    if (missing) this.legend.append(this._missing(missing));
  }

  /** @param {number} count */
  _missing(count) {
    const swatch = element("i");
    swatch.style.background = Theme.colours.missing;
    const made = element("span", { className: "missing" });
    made.append(swatch, text("span", t`none: ${count.toLocaleString("en")} rows`));
    return made;
  }

  /** @param {Colouring["groups"][number]} colouredGroup */
  _groupButton({ name, count, shade, group }) {
    const { app } = this;
    const isAlone = app.state.only === group;
    const swatch = element("i");
    swatch.style.background = shade;
    const made = button("", () => app.set({ only: isAlone ? -1 : group }), {
      "aria-pressed": String(isAlone),
      title: t`${count.toLocaleString("en")} rows; click to see them alone`,
    });
    made.append(swatch, text("span", name));
    return made;
  }
}

/**
 * The colours of numbers with some of these below.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {number} low
 * @param {number} high
 */
function drawScale(context, low, high) {
  const { w, h, margin } = SCALE;
  const length = w - 2 * margin;
  context.clearRect(0, 0, w, h);
  for (let x = 0; x < length; x++) {
    context.fillStyle = scaleColour(x / (length - 1));
    context.fillRect(margin + x, 0, 1, 11);
  }
  context.font = Theme.font(11);
  context.fillStyle = Theme.colours.soft;
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const value of ticks(low, high, 4)) {
    const x = margin + ((value - low) / (high - low || 1)) * (length - 1);
    context.fillRect(Math.round(x), 11, 1, 4);
    context.fillText(shown(value), x, 17);
  }
}

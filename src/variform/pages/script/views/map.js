// The map of the latent space with the data on it.

/**
 * @import { Colouring } from "../types.js"
 */

import { prepare, ticks } from "../canvas.js";
import { button, choice, element, note, segments, text, tick } from "../elements.js";
import { LatentMap } from "../latent_map.js";
import { keyOfMarks } from "../marks.js";
import { shown } from "../text.js";
import { scaleColour, Theme } from "../theme.js";
import { View } from "./view.js";

const SCALE = { w: 260, h: 30, margin: 18 }; // of the legend of numbers, in pixels
const LABEL =
  "Map of the latent space. Arrow keys move the point, with Shift further; Enter pins it; " +
  "N goes to the nearest example, and what is known of it is said beside it.";

export class MapView extends View {
  static key = "map";
  static title = "Map";
  static isOfLatents = true;

  /** @type {string | null} */
  _pairOf = null;

  /** @param {HTMLElement} host */
  mount(host) {
    const { app } = this;
    const { world, state } = app;
    const bar = element("div", { className: "bar" });
    if (app.contents.latents.dim > 2) bar.append(...this._planes());
    const columns = world.columns.map(({ name }) => /** @type {[string, string]} */ ([name, name]));
    const pictures = world.designs.kind === "image" ? "Thumbnails" : "Glyphs";
    /** @type {[string, string][]} */
    const marks = [
      ["dots", "Dots"],
      ["pictures", pictures],
    ];
    bar.append(
      choice("Colour", [["", "none"], ...columns], state.colour, (colour) => app.set({ colour, only: -1 })),
      segments("Marks", marks, state.marks, (value) => app.set({ marks: value })),
      tick("Fog", state.fog, (fog) => app.set({ fog })),
    );
    if (world.study?.validity) {
      /** @type {[string, string][]} */
      const kinds = [
        ["validity", "likely invalid"],
        ["data", "no data"],
      ];
      bar.append(
        segments("Where the fog lies", kinds, state.fogOf, (of) => {
          app.set({ fogOf: /** @type {"validity" | "data"} */ (of) });
        }),
      );
    }
    if (world.study) bar.append(tick("Evaluated designs", state.designs, (designs) => app.set({ designs })));
    const place = element("div", { className: "map-place" });
    this.legend = element("div", { className: "legend" });
    host.append(bar, place, this.legend);
    if (world.study) {
      this.ofFog = note("");
      host.append(keyOfMarks(world.study), this.ofFog);
    }
    this.map = new LatentMap(place, world, app.hand);
    Object.assign(this.map.moving, { tabIndex: 0, id: "map" });
    this.map.moving.setAttribute("role", "application");
    this.map.moving.setAttribute("aria-label", LABEL);
    this.map.moving.addEventListener("keydown", (event) => {
      this.isByKey = event.key !== "Escape";
      app.arrows(event, this.map);
    });
    this.map.moving.addEventListener("pointermove", () => {
      this.isByKey = false;
    });
    if (world.rowsNote) host.append(note(world.rowsNote));
  }

  again() {
    this._key = null;
  }

  refresh() {
    if (this.pair) this._showPair();
    if (this.ofFog) this.ofFog.textContent = this._wordsOfFog();
    const look = this.app.look();
    this.map.show(look);
    this._showLegend(look.colour);
    this.move();
  }

  move() {
    const { live, near, state } = this.app;
    this.map.mark({ z: live, near: near.index, pins: state.pins });
    if (this.isByKey && this.map.moving === document.activeElement) this.map.tell(near.index);
  }

  _wordsOfFog() {
    const { world, state } = this.app;
    const { validity, contents } = world.study;
    if (!validity) return contents.validity.note;
    if (state.fogOf === "data") return "The fog lies where there are no data, which does not say what is valid.";
    return `The fog is the thicker, the likelier a design is invalid. ${contents.validity.note}`;
  }

  _planes() {
    const { app } = this;
    const [a, b] = app.contents.latents.order;
    /** @type {[string, string][]} */
    const planes = [["two", "two latents"]];
    if (app.contents.plane) planes.unshift(["pca", "PCA"]);
    const chosen = app.state.plane === "pca" ? "pca" : "two";
    this.pair = element("span", { className: "pair" });
    return [choice("Plane", planes, chosen, (key) => app.set({ plane: key === "pca" ? key : `${a},${b}` })), this.pair];
  }

  // Which two latents, where the plane is one of two; either choice swaps them when it takes the other's.
  _showPair() {
    const { app } = this;
    const { plane } = app.state;
    if (this._pairOf === plane) return;
    this._pairOf = plane;
    this.pair.replaceChildren();
    if (plane === "pca") return;
    const [a, b] = plane.split(",").map(Number);
    const names = app.contents.latents.order.map((k) => /** @type {[number, string]} */ ([k, `z${k + 1}`]));
    this.pair.append(
      choice("across", names, a, (value) => app.set({ plane: `${value},${Number(value) === b ? a : b}` })),
      choice("up", names, b, (value) => app.set({ plane: `${Number(value) === a ? b : a},${value}` })),
    );
  }

  /** @param {Colouring | null} colour */
  _showLegend(colour) {
    const key = [colour?.name, this.app.state.only, Theme.dark].join("|");
    if (key === this._key) return;
    this._key = key;
    this.legend.replaceChildren();
    if (!colour) return;
    const title = colour.unit ? `${colour.name} [${colour.unit}]` : colour.name;
    this.legend.append(text("span", title, { className: "legend-title" }));
    if (colour.kind === "number") this._showScale(colour);
    else this.legend.append(...colour.groups.map((group) => this._groupButton(group)));
  }

  /** @param {Colouring} colour */
  _showScale({ low, high, range, unit, missing }) {
    const ends = `${shown(range[0])} to ${shown(range[1])}${unit ? ` ${unit}` : ""}`;
    const bar = element("canvas", { role: "img", "aria-label": `colours from ${shown(low)} to ${shown(high)}` });
    this.legend.append(bar, text("span", `min to max: ${ends}`, { className: "ends" }));
    drawScale(prepare(bar, SCALE.w, SCALE.h), low, high);
    if (missing) this.legend.append(this._missing(missing));
  }

  /** @param {number} count */
  _missing(count) {
    const swatch = element("i");
    swatch.style.background = Theme.colours.missing;
    const made = element("span", { className: "missing" });
    made.append(swatch, text("span", `none: ${count.toLocaleString("en")} rows`));
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
      title: `${count.toLocaleString("en")} rows; click to see them alone`,
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

// The page: its state, the point that follows the hand, the keyboard and its frame.

/**
 * @import { LatentMap } from "./latent_map.js"
 * @import { ColourColumn, Colouring, Contents, Decoder, Description, Hand } from "./types.js"
 * @import { Examples, Limit, Look, Point, RowsOfData, Sheet, State, World } from "./types.js"
 * @import { View } from "./views/view.js"
 */

import { Address, MOST_PINS, PICTURE, THEMES } from "./address.js";
import { csvOf, floatsOf, npyOf, save } from "./bytes.js";
import { colouring, numbersOf, titleOf, wordsOf } from "./colouring.js";
import { curvedPlane, Globe, spaceOf } from "./curved.js";
import { Designs } from "./designs.js";
import { button, byId, element, text, unbroken } from "./elements.js";
import { Cloud, Picture, Plane } from "./geometry.js";
import { Nearness } from "./nearness.js";
import { Panel } from "./panel.js";
import { pictureOfPage } from "./picture.js";
import { quantitiesOf, within } from "./quantities.js";
import { shuffled } from "./random.js";
import { isWithin } from "./region.js";
import { Study } from "./study.js";
import { away, rowName } from "./text.js";
import { Theme } from "./theme.js";
import { contextOf, Thumbnails } from "./thumbnails.js";
import { Tour } from "./tour.js";
import { VIEWS } from "./views/index.js";
import { RebuiltView } from "./views/rebuilt.js";
import { say, t } from "./words.js";

const POINT_KEYS = [
  ["Arrow keys", "on the map: move the point, with Shift further; on pictures: go from one to the next"],
  ["Enter or P", "pin the point"],
  ["X", "take the last pin away"],
  ["N", "go to the nearest example"],
  ["+, −, 0", "on the map: larger, smaller, all of it; so do wheel, pinch and double click"],
  ["Space", "in a morph: play to and fro, or pause"],
  ["Drag", "on the map: move it; with Shift select examples, Escape selects none"],
  ["/", "on the map: find an example"],
];
const PICTURE_KEYS = [["Arrow keys", "on pictures: go from one to the next"]];
const HINT =
  "Each point of the latent space decodes to a design. Move the pointer over the map and the design follows; a click " +
  "pins the point and keeps it. Fog lies where there are no data: what is decoded there is extrapolated.";
const NO_MAP =
  "The model has collapsed: every point of its latent space decodes to the same design, so that there is no map of it.";

/** Where arrow keys lead. @type {Record<string, [number, number]>} */
const TOWARDS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const MOST_RESPONSES = 6; // below the nearest example
const TOLD = ["label", "response"]; // roles of what stands with the name of an example

const WRITTEN_INTO = "input:not([type=range]):not([type=checkbox]), select, textarea";

const dialog = () => /** @type {HTMLDialogElement} */ (byId("help"));

export class App {
  /** Tells a notebook around the page what is selected. @type {(() => void) | null} */
  tell = null;

  /** @type {View | null} */
  view = null;

  /** @type {Map<string, Plane>} */
  _planes = new Map();

  /** @type {Limit[] | null} */
  _insideOf = null;

  /** @type {Uint8Array | null} */
  _inside = null;

  /** @type {Uint8Array | null} */
  _chosen = null;

  /** @type {unknown[]} */
  _chosenOf = [];

  /** @type {{ key: string, colour: Colouring | null } | null} */
  _colouring = null;

  // What was wanted last, and what of it is on the page.
  _wanted = 0;
  _shown = -1;

  /**
   * @param {Contents} contents
   * @param {Decoder} decoder
   */
  constructor(contents, decoder) {
    this.contents = contents;
    this.decoder = decoder;
    Theme.palettes = contents.palettes;
    this.views = VIEWS.filter((view) => (!contents.collapsed || !view.isOfLatents) && view.isFor(contents));
    this.space = spaceOf(contents.latents);
    this.first = contents.collapsed ? RebuiltView : this.views[0];
    /** @type {Hand} */
    this.hand = {
      describe: (i) => this.describe(i),
      about: () => this.state.z,
      follow: (z) => this.follow(z),
      leave: () => this.follow(this.state.z),
      choose: (z) => this.pin(z),
      keep: (z) => this.set({ z }),
    };
  }

  async start() {
    const { contents } = this;
    this.world = await worldOf(
      contents,
      (i) => this._rebuilt(i),
      () => this.schedule(false),
    );
    this._addresses = new Address(this);
    this.state = this._addresses.start();
    this._readAddress();
    this.live = this.state.z;
    this.near = this.nearest(this.live);
    byId("title").textContent = contents.title;
    byId("summary").textContent = say(contents.summary);
    this._warn(contents.numbers.warnings);
    this._buildTools();
    this._buildTabs();
    this._buildHelp();
    this._applyTheme();
    this.panel = new Panel(this, byId("design"));
    this.open(this.state.view);
    this._listen();
    await this._decodeLive();
  }

  /** @param {string[]} sentences */
  _warn(sentences) {
    const host = byId("warnings");
    host.hidden = !sentences.length;
    for (const sentence of sentences) {
      host.append(element("p", {}, text("b", `${t`Warning.`} `), ...unbroken(say(sentence))));
    }
  }

  _listen() {
    new ResizeObserver(() => this.schedule(true)).observe(byId("view"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this._applyTheme());
    addEventListener("hashchange", () => {
      if (location.hash === this._address) return;
      this._readAddress();
      this._applyTheme();
      this.set({});
      this.open(this.state.view);
    });
    document.addEventListener("keydown", (event) => this._shortcut(event));
    byId("skip").addEventListener("click", (event) => {
      event.preventDefault();
      byId("view").focus();
    });
  }

  // --- what is kept, and the point that follows the hand

  /** @param {Partial<State>} changes */
  set(changes) {
    Object.assign(this.state, changes);
    this.state.z = this.space.nearest(this.state.z);
    this.live = this.state.z;
    this.schedule(true);
    clearTimeout(this._writing);
    this._writing = setTimeout(() => this._writeAddress(), 200);
  }

  /** @param {Point} z */
  follow(z) {
    this.live = this.space.nearest(z);
    this.schedule(false);
  }

  /** @param {Point} at */
  pin(at) {
    const z = this.space.nearest(at);
    const { pins } = this.state;
    if (pins.length < MOST_PINS) this.set({ z, pins: [...pins, z] });
    else {
      this.set({ z });
      this.toast(t`The page keeps ${MOST_PINS} pins: save them as a file, or take one away`);
    }
  }

  /** @param {number} at */
  unpin(at) {
    const pins = this.state.pins.filter((_, i) => i !== at);
    const labels = this.state.labels.filter((_, i) => i !== at);
    this.set({ pins, labels, morph: { ...this.state.morph, a: 0, b: 1 } });
  }

  /**
   * One frame does all that has changed since the last one.
   *
   * @param {boolean} isWhole whether more has changed than the point that follows the hand
   */
  schedule(isWhole) {
    this._isWhole ||= isWhole;
    this._wanted++;
    if (this._frame) return;
    this._frame = requestAnimationFrame(() => this._draw());
  }

  _draw() {
    const isWhole = this._isWhole;
    this._frame = 0;
    this._isWhole = false;
    this.near = this.nearest(this.live);
    if (isWhole) {
      this.view.refresh();
      this.panel.refresh();
    } else this.view.move();
    this._decodeLive();
  }

  // The newest point wins: what the hand has left meanwhile is never decoded.
  async _decodeLive() {
    if (this._busy) return;
    this._busy = true;
    try {
      while (this._shown !== this._wanted) {
        const wanted = this._wanted;
        const live = this.live;
        const { context, spread } = this.state;
        this.values = await this.decode(live);
        const deviations = spread ? await this.decoder.spread(live, context.length ? context : null) : null;
        this._shown = wanted;
        this.panel.show(live, this.values, deviations);
        this._say(live);
      }
    } catch (error) {
      this.toast(t`The decoder failed: ${error.message}`);
    }
    this._busy = false;
  }

  /**
   * @param {Float32Array} codes one or many
   * @param {Float32Array} context for all, or one for each
   */
  decode(codes, context = this.state.context) {
    return this.decoder.decode(codes, context.length ? context : null);
  }

  /**
   * What the model makes of the posterior mean of an example; null where it is not known what it was given.
   *
   * @param {number} i
   * @returns {Sheet | Promise<Sheet> | null}
   */
  _rebuilt(i) {
    const { designs, cloud, columns } = this.world;
    const context = contextOf(this.contents.conditions, columns, i);
    if (!context) return null;
    const values = this.decoder.decode(cloud.point(i), context.length ? context : null);
    if (values instanceof Promise) return values.then((later) => designs.sheet(later, 1));
    return designs.sheet(values, 1);
  }

  /**
   * The nearest example under the condition that is chosen.
   *
   * @param {Point} z
   */
  nearest(z) {
    return this.world.nearness.nearest(z, this.state.context);
  }

  /**
   * The designs of many points, a few at a time so that the hand is never kept waiting; null when they are not wanted
   * any more.
   *
   * @param {Point[]} points
   * @param {() => boolean} isWanted
   * @param {Float32Array | null} contexts one for each; without them that of the state
   * @returns {Promise<Float32Array | null>}
   */
  async many(points, isWanted, contexts = null) {
    const { dim } = this.contents.latents;
    const { size } = this.world.designs;
    const width = this.state.context.length;
    const values = new Float32Array(points.length * size);
    let done = 0;
    let atOnce = 8;
    while (done < points.length) {
      const some = points.slice(done, done + atOnce);
      const codes = new Float32Array(some.length * dim);
      some.forEach((z, i) => {
        codes.set(z, i * dim);
      });
      const before = performance.now();
      const context = contexts?.subarray(done * width, (done + some.length) * width);
      values.set(await this.decode(codes, context), done * size);
      if (!isWanted()) return null;
      done += some.length;
      const took = performance.now() - before;
      if (took < 6) atOnce *= 2;
      if (took > 14) atOnce = Math.max(1, atOnce >> 1);
      if (done < points.length && took > 3) await new Promise((resolve) => setTimeout(resolve));
      if (!isWanted()) return null;
    }
    return values;
  }

  /** @returns {Look} how the map shows the data */
  look() {
    const { marks, fog, fogOf, designs, z: about } = this.state;
    const study = designs ? this.world.study : null;
    const validity = fogOf === "validity" ? (this.world.study?.validity ?? null) : null;
    const plane = this.plane();
    return { plane, colour: this.colour(), marks, fog, chosen: this.chosen(), study, validity, about };
  }

  /** The colours of the examples. */
  colour() {
    const key = `${this.state.colour}|${Theme.dark}`;
    if (this._colouring?.key !== key) this._colouring = { key, colour: colouring(this.world, this.state.colour) };
    return this._colouring.colour;
  }

  /** Which examples are within all limits, selected, and of the category that is looked at alone; null for all. */
  chosen() {
    const { only, selection } = this.state;
    const [inside, plane, colour] = [this.inside(), this.plane(), this.colour()];
    const depends = [inside, plane, only < 0 ? null : colour, only, selection];
    if (depends.some((value, k) => value !== this._chosenOf[k])) {
      this._chosenOf = depends;
      const isAll = !inside && !selection && (only < 0 || !colour);
      this._chosen = isAll ? null : this._whichAreChosen();
    }
    return this._chosen;
  }

  _whichAreChosen() {
    const { only, selection } = this.state;
    const { cloud } = this.world;
    const [inside, colour] = [this.inside(), this.colour()];
    const places = this.plane().placesOf(cloud);
    return Uint8Array.from({ length: cloud.count }, (_, i) => {
      const isIn = !inside || inside[i] === 1;
      const isOfGroup = only < 0 || !colour || colour.group(i) === only;
      const isSelected = !selection || isWithin(selection, places[2 * i], places[2 * i + 1]);
      return isIn && isOfGroup && isSelected ? 1 : 0;
    });
  }

  /** The examples that are not faint. */
  chosenExamples() {
    const chosen = this.chosen();
    const every = Array.from({ length: this.world.cloud.count }, (_, i) => i);
    return chosen ? every.filter((i) => chosen[i] === 1) : every;
  }

  /** Which examples are within all limits; null where there are none. */
  inside() {
    const { limits } = this.state;
    if (limits !== this._insideOf) {
      this._insideOf = limits;
      this._inside = within(this.world.quantities, limits, this.world.cloud.count);
    }
    return this._inside;
  }

  /** The plane of the map. */
  plane() {
    const { plane } = this.state;
    if (this._planes.has(plane)) return this._planes.get(plane);
    const { latents, plane: pca, embedding } = this.contents;
    const made =
      plane === PICTURE
        ? new Picture(embedding.name, floatsOf(embedding.places), this.world.cloud)
        : (curvedPlane(plane, latents) ?? Plane.named(plane, latents, pca));
    if (made instanceof Globe) this._planes.clear(); // one for each turn would be many
    this._planes.set(plane, made);
    return made;
  }

  /**
   * What an example is called: the name of its row, and its label if it has one.
   *
   * @param {number} i
   */
  nameOf(i) {
    const { label } = this.world;
    const category = label?.categories[numbersOf(label)[i]];
    return [rowName(this.contents.rows.names?.[i]), category].filter(Boolean).join(", ");
  }

  /**
   * What is known of an example: its label and its responses, and that by which the map is coloured.
   *
   * @param {number} i
   * @returns {Description}
   */
  describe(i) {
    const { colour } = this.state;
    const isTold = (/** @type {ColourColumn} */ { name, role }) => TOLD.includes(role) || name === colour;
    const columns = this.world.columns.filter(isTold);
    return {
      name: rowName(this.contents.rows.names?.[i]) ?? t`example ${i + 1}`,
      facts: columns.map((column) => [titleOf(column), wordsOf(column, i)]),
    };
  }

  /**
   * The responses of an example in words, empty without any.
   *
   * @param {number} i
   */
  responsesOf(i) {
    const responses = this.world.columns.filter(({ role }) => role === "response").slice(0, MOST_RESPONSES);
    return responses.map((column) => `${column.name} ${wordsOf(column, i)}`).join(", ");
  }

  // --- views, keyboard, words

  /** @param {string} key of a view */
  open(key) {
    const host = byId("view");
    host.replaceChildren();
    this.state.view = key;
    document.body.dataset.view = key;
    this.view?.leave();
    const Kind = this.views.find((view) => view.key === key);
    this.view = new Kind(this);
    this.view.mount(host);
    for (const tab of byId("tabs").querySelectorAll("button")) {
      const isOn = tab.id === `tab-${key}`;
      tab.setAttribute("aria-selected", String(isOn));
      tab.tabIndex = isOn ? 0 : -1;
      if (isOn) tab.scrollIntoView?.({ block: "nearest", inline: "nearest" });
    }
    host.setAttribute("aria-labelledby", `tab-${key}`);
    this.set({});
  }

  /**
   * What a key does on a map.
   *
   * @param {KeyboardEvent} event
   * @param {LatentMap} map
   */
  arrows(event, map) {
    const { z } = this.state;
    const { plane } = map.look;
    const step = (event.shiftKey ? 40 : 8) / map.scale;
    const towards = TOWARDS[event.key];
    if (event.key === "Enter") this.pin(this.live);
    else if (towards) this.set({ z: plane.beside(z, towards, step) });
    else return;
    event.preventDefault();
  }

  /** @param {KeyboardEvent} event */
  _shortcut(event) {
    const { target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || dialog().open) return;
    if (target instanceof Element && target.matches(WRITTEN_INTO)) return;
    const at = Number(event.key);
    if (at >= 1 && at <= this.views.length) this.open(this.views[at - 1].key);
    else if (event.key === "p") this.pin(this.live);
    else if (event.key === "x") this.unpin(this.state.pins.length - 1);
    else if (event.key === "n") this.toNearest();
    else if (event.key === "t") this._nextTheme();
    else if (event.key === "l") this._copyLink();
    else if (event.key === "i") this.savePicture();
    else if (event.key === "?") dialog().showModal();
    else if (!this.view.press(event.key)) return;
    event.preventDefault();
  }

  toNearest() {
    const { cloud } = this.world;
    this.set({ z: cloud.point(this.nearest(this.live).index) });
  }

  /**
   * The point of a design is the point from now on, under the condition that its study gave.
   *
   * @param {Point} z
   */
  goTo(z) {
    const context = this.contents.study?.context ?? [];
    this.set(context.length ? { z, context: Float32Array.from(context) } : { z });
  }

  /** @param {Point} z */
  _say(z) {
    clearTimeout(this._saying);
    this._saying = setTimeout(() => {
      byId("said").textContent = this._wordsOf(z);
    }, 700);
  }

  /** @param {Point} z */
  _wordsOf(z) {
    const where = Array.from(z.slice(0, 6), (value, k) => `z${k + 1} ${value.toFixed(2)}`).join(", ");
    if (this.contents.collapsed) return where;
    const near = this.nearest(z);
    const { name, facts } = this.describe(near.index);
    const known = facts.map(([what, words]) => `; ${what} ${words}`).join("");
    return t`${where}. Nearest example ${name}, ${away(near.distance)}${known}.`;
  }

  /** @param {string} words */
  toast(words) {
    byId("toast").textContent = words;
    byId("toast").classList.add("on");
    clearTimeout(this._toasting);
    this._toasting = setTimeout(() => byId("toast").classList.remove("on"), 2600);
  }

  // --- the frame of the page

  _buildTabs() {
    const host = byId("tabs");
    for (const { key, title } of this.views) {
      const roles = { id: `tab-${key}`, role: "tab", "aria-controls": "view" };
      host.append(button(say(title), () => this.open(key), roles));
    }
    host.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key] ?? 0;
      if (!step) return;
      const at = this.views.findIndex(({ key }) => key === this.state.view);
      const { key } = this.views[(at + step + this.views.length) % this.views.length];
      this.open(key);
      byId(`tab-${key}`).focus();
      event.preventDefault();
    });
  }

  _buildTools() {
    this.themeButton = button("", () => this._nextTheme(), { title: t`Light, dark, or as the system says (T)` });
    byId("tools").append(
      button(t`Save picture`, () => this.savePicture(), { title: t`Save this view as a PNG file (I)` }),
      button(t`Copy link`, () => this._copyLink(), { title: t`Copy the address of what you see (L)` }),
      this.themeButton,
      button("?", () => dialog().showModal(), { title: t`Keys and hints (?)` }),
    );
    this.tour = new Tour(this, byId("tools"));
  }

  _buildHelp() {
    const { collapsed } = this.contents;
    const keys = [
      [`1 … ${this.views.length}`, "open a view"],
      ...(collapsed ? PICTURE_KEYS : POINT_KEYS),
      ["T", "light or dark"],
      ["L", "copy the address of what you see"],
      ["I", "save this view as a picture"],
      ["?", "this list"],
    ];
    const list = element("dl", { className: "keys" });
    for (const [key, words] of keys) list.append(element("dt", {}, text("kbd", say(key))), text("dd", say(words)));
    byId("help").append(
      text("h2", t`How to explore`, { id: "help-title" }),
      text("p", say(collapsed ? NO_MAP : HINT)),
      list,
      element("form", { method: "dialog" }, text("button", t`Close`)),
    );
  }

  _nextTheme() {
    this.state.theme = THEMES[(THEMES.indexOf(this.state.theme) + 1) % THEMES.length];
    this._applyTheme();
    this.set({});
  }

  _applyTheme() {
    const { theme } = this.state;
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    this.themeButton.textContent = say(theme[0].toUpperCase() + theme.slice(1));
    this.themeButton.setAttribute("aria-label", t`Theme: ${say(theme)}`);
    Theme.read();
    if (!this.view) return;
    this.view.again();
    this.panel.again();
    this.schedule(true);
  }

  // --- the address

  _readAddress() {
    Object.assign(this.state, this._addresses.read(location.hash));
  }

  _writeAddress() {
    this._address = this._addresses.write(this.state);
    try {
      history.replaceState(null, "", this._address);
    } catch {
      // a frame in a notebook has no address of its own
    }
  }

  async _copyLink() {
    this._writeAddress();
    try {
      await navigator.clipboard.writeText(location.href.split("#")[0] + this._address);
      this.toast(t`The address of this view is copied`);
    } catch {
      this.toast(t`The address bar holds the address of this view`);
    }
  }

  // --- what can be saved

  /** @param {"npy" | "csv"} kind */
  saveDesign(kind) {
    const { event } = this.contents;
    const { designs } = this.world;
    const file = kind === "npy" ? npyOf(this.values, event.shape) : csvOf(designs.cells(this.values));
    this.save(file, `design.${kind}`);
  }

  async savePicture() {
    const { view } = this.state;
    this.save(await pictureOfPage(view), `${view}.png`);
  }

  /**
   * @param {Blob} file
   * @param {string} name
   */
  save(file, name) {
    save(file, name);
    this.toast(t`Saved ${name}`);
  }
}

/**
 * What the page knows of the data.
 *
 * @param {Contents} contents
 * @param {(i: number) => Sheet | Promise<Sheet> | null} rebuilt what the model makes of an example
 * @param {() => void} ready the picture of an example has come
 * @returns {Promise<World>}
 */
async function worldOf({ event, rows, latents, conditions, study }, rebuilt, ready) {
  const designs = new Designs(event);
  const { columns, count } = rows;
  rows.names ??= rows.numbers?.map((number) => `row ${number}`) ?? null;
  const sheet = await designs.examples(rows);
  const thumbnails = new Thumbnails(sheet.draw, rows.picture?.rows ?? null, count, rebuilt, ready);
  const isReal = (/** @type {number} */ i) => thumbnails.isReal(i);
  /** @type {Examples} */
  const examples = { draw: (context, i, box) => thumbnails.draw(context, i, box), values: sheet.values, isReal };
  const cloud = new Cloud(floatsOf(rows.means), latents.dim);
  return {
    designs,
    quantities: quantitiesOf(designs, columns, examples.values),
    cloud,
    nearness: new Nearness(cloud, conditions, columns),
    columns,
    examples,
    label: columns.find((column) => column.kind === "category" && column.name !== "split"),
    order: shuffled(count).sort((a, b) => Number(isReal(b)) - Number(isReal(a))), // those with a picture first
    rowsNote: noteOf(rows),
    study: study ? await Study.of(study, designs, latents.dim) : null,
  };
}

/**
 * Which of the rows are shown, in words.
 *
 * @param {RowsOfData} rows
 */
function noteOf({ count, total, picture }) {
  const said = (/** @type {number} */ number) => number.toLocaleString("en");
  const notes = [];
  if (count < total) notes.push(t`${said(count)} of ${said(total)} rows are shown, drawn at random with a fixed seed.`);
  if (picture?.rows) {
    notes.push(
      t`The page holds pictures of ${said(picture.rows.length)} rows; others are shown as the model rebuilds them.`,
    );
  }
  return notes.join(" ");
}

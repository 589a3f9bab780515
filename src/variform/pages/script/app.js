// The page: its state, the point that follows the hand, the keyboard, the address and what can be saved.

const VIEWS = [
  ["map", "Map", MapView],
  ["sliders", "Sliders", SlidersView],
  ["morph", "Morph", MorphView],
  ["grid", "Grid", GridView],
  ["samples", "Samples", SamplesView],
  ["rebuilt", "Reconstructions", RebuiltView],
  ["numbers", "Numbers", NumbersView],
];
// Views of a latent space, which a collapsed model has not.
const OF_THE_LATENTS = ["map", "sliders", "morph", "grid"];
const POINT_KEYS = [
  ["Arrow keys", "on the map: move the point, with Shift further; on pictures: go from one to the next"],
  ["Enter or P", "pin the point"],
  ["X", "take the last pin away"],
  ["N", "go to the nearest example"],
];
const HINT = "Each point of the latent space decodes to a design. Move the pointer over the map and the design follows; a click pins the point and keeps it. Fog lies where there are no data: what is decoded there is extrapolated.";
const NO_MAP = "The model has collapsed: every point of its latent space decodes to the same design, so that there is no map of it.";
const MOST_PINS = 9;
const THEMES = ["auto", "light", "dark"];

// The parts of a sentence, the names of options each in one piece, which a line does not break.
const whole = (text) => text.split(/(--[a-z-]+)/).map((part, i) => (i % 2 ? element("span", { className: "option", textContent: part }) : part));
const byId = (name) => document.getElementById(name);

class App {
  constructor(contents, decoder) {
    Object.assign(this, { contents, decoder, wanted: 0 });
    this.views = VIEWS.filter(([name]) => !contents.collapsed || !OF_THE_LATENTS.includes(name));
    this.hand = {
      about: () => this.state.z,
      follow: (z) => this.follow(z),
      leave: () => this.follow(this.state.z),
      choose: (z) => this.pin(z),
      keep: (z) => this.set({ z }),
    };
  }

  async start() {
    const { contents } = this;
    const designs = new Designs(contents.event);
    const cloud = new Cloud(Bytes.floats(contents.rows.means), contents.latents.dim);
    const { count, total } = contents.rows;
    const columns = contents.rows.columns;
    this.world = {
      designs,
      cloud,
      columns,
      examples: await designs.examples(contents.rows),
      label: columns.find((column) => column.kind === "category" && column.name !== "split"),
      order: shuffled(count),
      rowsNote: count < total ? `${count.toLocaleString("en")} of ${total.toLocaleString("en")} rows are shown, drawn at random with a fixed seed.` : "",
    };
    const { dim, order } = contents.latents;
    this.state = {
      view: contents.collapsed ? "rebuilt" : "map",
      z: this._middle(),
      pins: [],
      theme: "auto",
      plane: dim < 3 ? "0,1" : contents.plane ? "pca" : `${order[0]},${order[1]}`,
      colour: (columns.find((column) => column.name !== "split") ?? columns[0]).name,
      marks: "dots",
      fog: true,
      only: -1,
      context: Float32Array.from(contents.context),
      page: 0,
      morph: { a: 0, b: 1, way: "straight", share: 0.5 },
      grid: 15,
      law: 0,
      draw: 1,
    };
    this._readAddress();
    this.live = this.state.z;
    this.near = this.nearest(this.live);
    byId("title").textContent = contents.title;
    byId("summary").textContent = contents.summary;
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

  _warn(sentences) {
    const host = byId("warnings");
    host.hidden = !sentences.length;
    host.append(...sentences.map((text) => element("p", {}, element("b", { textContent: "Warning. " }), ...whole(text))));
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

  // The posterior mean that is nearest to the middle of them all: a point that looks like something.
  _middle() {
    const { cloud } = this.world;
    const sum = new Float32Array(cloud.dim);
    for (let i = 0; i < cloud.count; i++) for (let k = 0; k < cloud.dim; k++) sum[k] += cloud.means[i * cloud.dim + k] / cloud.count;
    return cloud.point(cloud.nearest(sum).index);
  }

  // --- what is kept, and the point that follows the hand

  set(changes) {
    Object.assign(this.state, changes);
    this.live = this.state.z;
    this.schedule(true);
    clearTimeout(this._writing);
    this._writing = setTimeout(() => this._writeAddress(), 200);
  }

  follow(z) {
    this.live = z;
    this.schedule(false);
  }

  pin(z) {
    this.set({ z, pins: [...this.state.pins, z].slice(-MOST_PINS) });
  }

  unpin(at) {
    this.set({ pins: this.state.pins.filter((_, i) => i !== at), morph: { ...this.state.morph, a: 0, b: 1 } });
  }

  // One frame does all that has changed since the last one.
  schedule(isWhole) {
    this._whole ||= isWhole;
    this.wanted++;
    if (this._frame) return;
    this._frame = requestAnimationFrame(() => {
      this._frame = 0;
      const whole = this._whole;
      this._whole = false;
      this.near = this.nearest(this.live);
      if (whole) {
        this.view.refresh();
        this.panel.refresh();
      } else this.view.move();
      this._decodeLive();
    });
  }

  // The newest point wins: what the hand has left meanwhile is never decoded.
  async _decodeLive() {
    if (this._busy) return;
    this._busy = true;
    try {
      while (this._shown !== this.wanted) {
        const [wanted, z] = [this.wanted, this.live];
        this.values = await this.decode(z);
        this._shown = wanted;
        this.panel.show(z, this.values);
        this._say(z);
      }
    } catch (error) {
      this.toast(`The decoder failed: ${error.message}`);
    }
    this._busy = false;
  }

  decode(codes, told = this.state.context) {
    return this.decoder.decode(codes, told.length ? told : null);
  }

  // The nearest example; of a model that is told a category, among those of the category that is chosen.
  nearest(z) {
    const { cloud, columns } = this.world;
    const [condition] = this.contents.conditions;
    const column = condition?.categories.length ? columns.find(({ name, kind }) => name === condition.name && kind === "category") : null;
    if (!column) return cloud.nearest(z);
    column.plain ??= Bytes.integers(column.values);
    const found = cloud.nearest(z, column.plain, this.state.context.slice(0, condition.categories.length).indexOf(1));
    return found.index < 0 ? cloud.nearest(z) : found;
  }

  // Many points, a few at a time so that the hand is never kept waiting; null when they are not wanted any more.
  async many(points, isWanted, told = null) {
    const { dim } = this.contents.latents;
    const { size } = this.world.designs;
    const values = new Float32Array(points.length * size);
    let [done, atOnce] = [0, 8];
    while (done < points.length) {
      const some = points.slice(done, done + atOnce);
      const codes = new Float32Array(some.length * dim);
      some.forEach((z, i) => codes.set(z, i * dim));
      const before = performance.now();
      const width = this.state.context.length;
      values.set(await this.decode(codes, told?.subarray(done * width, (done + some.length) * width)), done * size);
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

  look() {
    const { state } = this;
    return { plane: this.plane(), colour: colouring(this.world, state.colour), marks: state.marks, fog: state.fog, only: state.only };
  }

  plane() {
    const { state, contents } = this;
    if (this._planeOf !== state.plane) {
      this._planeOf = state.plane;
      const [a, b] = state.plane.split(",").map(Number);
      this._plane = state.plane === "pca" ? Plane.ofPca(contents.latents.dim, contents.plane) : Plane.ofLatents(contents.latents.dim, a, b);
    }
    return this._plane;
  }

  // What an example is called: its label, if it has one.
  nameOf(i) {
    const { label } = this.world;
    if (!label) return "";
    label.plain ??= Bytes.integers(label.values);
    return label.categories[label.plain[i]] ?? "";
  }

  // --- views, keyboard, words

  open(name) {
    const host = byId("view");
    host.replaceChildren();
    this.state.view = name;
    document.body.dataset.view = name;
    this.view?.leave?.();
    this.view = new (this.views.find(([key]) => key === name)[2])(this);
    this.view.mount(host);
    for (const tab of byId("tabs").children) {
      const isOn = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", String(isOn));
      tab.tabIndex = isOn ? 0 : -1;
      if (isOn && tab.scrollIntoView) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    host.setAttribute("aria-labelledby", `tab-${name}`);
    this.set({});
  }

  arrows(event, map) {
    const step = (event.shiftKey ? 40 : 8) / map.scale;
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    if (event.key === "Enter") this.pin(this.live);
    else if (move) {
      const [x, y] = map.look.plane.place(this.state.z);
      this.set({ z: map.look.plane.at([x + move[0], y + move[1]], this.state.z) });
    } else return;
    event.preventDefault();
  }

  _shortcut(event) {
    const { target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    if (target.matches?.("input:not([type=range]):not([type=checkbox]), select, textarea")) return;
    const at = Number(event.key);
    if (at >= 1 && at <= this.views.length) this.open(this.views[at - 1][0]);
    else if (event.key === "p") this.pin(this.live);
    else if (event.key === "x") this.unpin(this.state.pins.length - 1);
    else if (event.key === "n") this.toNearest();
    else if (event.key === "t") this._nextTheme();
    else if (event.key === "l") this._copyLink();
    else if (event.key === "i") this.savePicture();
    else if (event.key === "?") byId("help").showModal();
    else return;
    event.preventDefault();
  }

  toNearest() {
    const { cloud } = this.world;
    this.set({ z: cloud.point(this.nearest(this.live).index) });
  }

  _say(z) {
    clearTimeout(this._saying);
    this._saying = setTimeout(() => {
      const where = Array.from(z.slice(0, 6), (value, k) => `z${k + 1} ${value.toFixed(2)}`).join(", ");
      const near = this.nearest(z);
      const name = this.nameOf(near.index);
      byId("said").textContent = this.contents.collapsed ? where : `${where}. Nearest example${name ? ` ${name}` : ""}, ${away(near.distance)}.`;
    }, 700);
  }

  toast(text) {
    byId("toast").textContent = text;
    byId("toast").classList.add("on");
    clearTimeout(this._toasting);
    this._toasting = setTimeout(() => byId("toast").classList.remove("on"), 2600);
  }

  // --- the frame of the page

  _buildTabs() {
    const host = byId("tabs");
    for (const [name, text] of this.views) {
      host.append(element("button", { type: "button", id: `tab-${name}`, role: "tab", "aria-controls": "view", textContent: text, onclick: () => this.open(name) }));
    }
    host.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const at = this.views.findIndex(([name]) => name === this.state.view);
      const [name] = this.views[(at + step + this.views.length) % this.views.length];
      this.open(name);
      byId(`tab-${name}`).focus();
      event.preventDefault();
    });
  }

  _buildTools() {
    const button = (text, title, onclick) => element("button", { type: "button", textContent: text, title, onclick });
    this.themeButton = button("", "Light, dark, or as the system says (T)", () => this._nextTheme());
    byId("tools").append(
      button("Save picture", "Save this view as a PNG file (I)", () => this.savePicture()),
      button("Copy link", "Copy the address of what you see (L)", () => this._copyLink()),
      this.themeButton,
      button("?", "Keys and hints (?)", () => byId("help").showModal()),
    );
  }

  _buildHelp() {
    const keys = [
      [`1 … ${this.views.length}`, "open a view"],
      ...(this.contents.collapsed ? [["Arrow keys", "on pictures: go from one to the next"]] : POINT_KEYS),
      ["T", "light or dark"],
      ["L", "copy the address of what you see"],
      ["I", "save this view as a picture"],
      ["?", "this list"],
    ];
    const list = element("dl", { className: "keys" });
    for (const [key, text] of keys) list.append(element("dt", {}, element("kbd", { textContent: key })), element("dd", { textContent: text }));
    byId("help").append(
      element("h2", { id: "help-title", textContent: "How to explore" }),
      element("p", { textContent: this.contents.collapsed ? NO_MAP : HINT }),
      list,
      element("form", { method: "dialog" }, element("button", { textContent: "Close" })),
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
    this.themeButton.textContent = { auto: "Auto", light: "Light", dark: "Dark" }[theme];
    this.themeButton.setAttribute("aria-label", `Theme: ${theme}`);
    Theme.read();
    if (!this.view) return;
    this.view.again?.();
    this.panel.again();
    this.schedule(true);
  }

  // --- the address

  _writeAddress() {
    const { state } = this;
    const numbers = (z) => Array.from(z, (value) => String(Number(value.toFixed(4)))).join(",");
    const { a, b, way, share } = state.morph;
    const parts = {
      view: state.view,
      z: numbers(state.z),
      pins: state.pins.map(numbers).join("~"),
      theme: state.theme,
      plane: state.plane,
      colour: state.colour,
      marks: state.marks,
      fog: state.fog ? "1" : "0",
      only: String(state.only),
      told: numbers(state.context),
      page: String(state.page),
      morph: [a, b, way, Number(share.toFixed(3))].join(","),
      grid: String(state.grid),
      draw: [state.law, state.draw].join(","),
    };
    const kept = Object.entries(parts).filter(([, value]) => value !== "");
    this._address = `#${kept.map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2C", ",")}`).join("&")}`;
    try {
      history.replaceState(null, "", this._address);
    } catch {
      // a frame in a notebook has no address of its own
    }
  }

  _readAddress() {
    const parts = new URLSearchParams(location.hash.slice(1));
    const { state, contents } = this;
    const { dim } = contents.latents;
    const point = (text, length) => {
      const values = Float32Array.from(text.split(","), Number);
      return values.length === length && values.every(Number.isFinite) ? values : null;
    };
    const of = (name, known, read = (text) => text) => {
      const value = parts.has(name) ? read(parts.get(name)) : undefined;
      if (value !== undefined && known(value)) state[name] = value;
    };
    const whole = (least, most) => (value) => Number.isInteger(value) && value >= least && value <= most;
    of("view", (value) => this.views.some(([name]) => name === value));
    of("z", (value) => value, (text) => point(text, dim));
    of("pins", () => true, (text) => text.split("~").map((pin) => point(pin, dim)).filter(Boolean).slice(-MOST_PINS));
    of("theme", (value) => THEMES.includes(value));
    of("plane", (value) => this._knows(value));
    of("colour", (value) => value === "" || this.world.columns.some((column) => column.name === value));
    of("marks", (value) => ["dots", "pictures"].includes(value));
    of("fog", () => true, (text) => text !== "0");
    of("only", whole(-1, 99), Number);
    const told = parts.has("told") && point(parts.get("told"), contents.context.length);
    if (told && told.length) state.context = told;
    of("page", whole(0, Math.ceil(dim / 6) - 1), Number);
    of("grid", whole(4, 30), Number);
    const [a, b, way, share] = (parts.get("morph") ?? "").split(",");
    if (["straight", "data"].includes(way) && whole(0, 8)(Number(a)) && whole(0, 8)(Number(b))) {
      state.morph = { a: Number(a), b: Number(b), way, share: Math.max(0, Math.min(1, Number(share) || 0)) };
    }
    const [law, draw] = (parts.get("draw") ?? "").split(",").map(Number);
    if (whole(0, contents.laws.length - 1)(law) && whole(0, 1e6)(draw)) Object.assign(state, { law, draw });
  }

  _knows(plane) {
    const { dim } = this.contents.latents;
    if (plane === "pca") return this.contents.plane !== null;
    const latents = plane.split(",").map(Number);
    return dim < 3 ? plane === "0,1" : latents.length === 2 && latents[0] !== latents[1] && latents.every((k) => Number.isInteger(k) && k >= 0 && k < dim);
  }

  async _copyLink() {
    this._writeAddress();
    try {
      await navigator.clipboard.writeText(location.href.split("#")[0] + this._address);
      this.toast("The address of this view is copied");
    } catch {
      this.toast("The address bar holds the address of this view");
    }
  }

  // --- what can be saved

  saveDesign(kind) {
    const { designs } = this.world;
    const name = `design.${kind}`;
    Bytes.save(kind === "npy" ? Bytes.npy(this.values, this.contents.event.shape) : Bytes.csv(designs.cells(this.values)), name);
    this.toast(`Saved ${name}`);
  }

  // The view and the design beside it as a PNG: their elements drawn by the browser itself, from a picture of SVG.
  async savePicture() {
    const main = document.querySelector("main");
    const { width, height } = main.getBoundingClientRect();
    const copy = main.cloneNode(true);
    const [before, after] = [main, copy].map((node) => [...node.querySelectorAll("canvas, select, input")]);
    before.forEach((node, i) => {
      if (node instanceof HTMLCanvasElement) {
        const picture = element("img", { src: node.toDataURL(), className: node.className, width: node.clientWidth, height: node.clientHeight });
        picture.style.cssText = node.style.cssText;
        after[i].replaceWith(picture);
      } else if (node instanceof HTMLSelectElement) {
        after[i].replaceWith(element("span", { className: "chosen", textContent: node.selectedOptions[0]?.textContent ?? "" }));
      } else {
        after[i].setAttribute("value", node.value);
        if (node.checked) after[i].setAttribute("checked", "");
      }
    });
    const body = document.createElement("body");
    body.dataset.view = this.state.view;
    body.append(copy);
    const inside = new XMLSerializer().serializeToString(body);
    const style = document.querySelector("style").textContent.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" data-theme="${Theme.dark ? "dark" : "light"}"><style>${style}</style><foreignObject width="100%" height="100%">${inside}</foreignObject></svg>`;
    const picture = new Image();
    picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
    await picture.decode();
    const canvas = element("canvas", { width: 2 * width, height: 2 * height });
    const context = canvas.getContext("2d");
    context.fillStyle = Theme.colours.paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    Bytes.save(blob, `${this.state.view}.png`);
    this.toast(`Saved ${this.state.view}.png`);
  }
}

function shuffled(count) {
  const next = uniforms(1);
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

const MOST_COLOURS = 10;

// The colour of every row by a column: of(i), group(i), and what a legend needs.
function colouring(world, name) {
  const column = world.columns.find((item) => item.name === name);
  if (!column) return null;
  column.plain ??= column.kind === "category" ? Bytes.integers(column.values) : Bytes.floats(column.values);
  const values = column.plain;
  if (column.kind === "number") {
    column.sorted ??= Float32Array.from(values.filter(Number.isFinite)).sort();
    const low = column.sorted[Math.floor(0.01 * (column.sorted.length - 1))];
    const high = column.sorted[Math.ceil(0.99 * (column.sorted.length - 1))];
    const of = (i) => (Number.isFinite(values[i]) ? scaleColour((values[i] - low) / (high - low || 1)) : Theme.colours.missing);
    return { ...column, low, high, of, group: () => 0 };
  }
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const known = column.categories.map((_, k) => k).filter((k) => counts.has(k));
  const palette = PALETTES[Theme.dark ? "dark" : "light"];
  const kept = known.length <= MOST_COLOURS ? known : known.toSorted((a, b) => counts.get(b) - counts.get(a)).slice(0, MOST_COLOURS - 1);
  const place = new Map(kept.map((k, i) => [k, i]));
  const group = (i) => place.get(values[i]) ?? (values[i] < 0 ? MOST_COLOURS + 1 : MOST_COLOURS);
  const shade = (at) => (at < kept.length ? palette[at] : Theme.colours.missing);
  const groups = kept.map((k, i) => ({ name: column.categories[k], count: counts.get(k), shade: palette[i], group: i }));
  const others = known.length - kept.length;
  const left = known.filter((k) => !place.has(k)).reduce((sum, k) => sum + counts.get(k), 0);
  if (others) groups.push({ name: `${others} others`, count: left, shade: Theme.colours.missing, group: MOST_COLOURS });
  if (counts.has(-1)) groups.push({ name: "none", count: counts.get(-1), shade: Theme.colours.missing, group: MOST_COLOURS + 1 });
  return { ...column, groups, group, of: (i) => shade(group(i)) };
}

async function boot() {
  try {
    const { contents, decoder } = JSON.parse(byId("data").textContent);
    byId("data").remove();
    const app = new App(contents, await Decoder.create(decoder));
    await app.start();
    performance.mark("variform-ready");
    return app;
  } catch (error) {
    document.querySelector("main").prepend(element("p", { className: "failure", role: "alert", textContent: `The explorer could not start: ${error.message}` }));
    throw error;
  }
}

window.variform = { ready: boot() };
window.variform.ready.catch((error) => console.error(error));

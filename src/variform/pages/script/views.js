// The views. Each has mount(host), refresh() when what is kept changes, and move() when the point moves.

// An element with properties, attributes (of names with a dash, and `role`) and children; strings become text.
function element(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value === true ? "" : value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function choice(label, options, value, onchange) {
  const select = element("select", { onchange: () => onchange(select.value) });
  for (const [key, text] of options) select.append(element("option", { value: key, textContent: text, selected: String(key) === String(value) }));
  return element("label", { className: "field" }, element("span", { textContent: label }), select);
}

// Buttons of which one is on.
function segments(label, options, value, onchange) {
  const group = element("div", { className: "segments", role: "group", "aria-label": label });
  for (const [key, text] of options) {
    group.append(
      element("button", {
        type: "button",
        textContent: text,
        "aria-pressed": String(key === value),
        onclick(event) {
          for (const button of group.children) button.setAttribute("aria-pressed", String(button === event.currentTarget));
          onchange(key);
        },
      }),
    );
  }
  return group;
}

function tick(label, value, onchange) {
  const box = element("input", { type: "checkbox", checked: value, onchange: () => onchange(box.checked) });
  return element("label", { className: "tick" }, box, element("span", { textContent: label }));
}

const note = (text) => element("p", { className: "note", textContent: text });

// Many designs on one canvas; the pointer and the arrow keys pick one.
class Wall {
  constructor(host, label, on) {
    Object.assign(this, { host, on, at: -1 });
    this.canvas = element("canvas", { className: "wall", tabIndex: 0, role: "application", "aria-label": label });
    this.canvas.addEventListener("pointermove", (event) => this._point(event) && this.on.follow(this.at));
    this.canvas.addEventListener("pointerleave", () => this._leave());
    this.canvas.addEventListener("blur", () => this._leave());
    this.canvas.addEventListener("click", (event) => this._point(event) && this.on.choose(this.at));
    this.canvas.addEventListener("keydown", (event) => this._key(event));
    host.append(this.canvas);
  }

  // `draw(context, i, box)` draws the one at i; `faded(i)` says how much of it the fog covers.
  show({ count, across, aspect, gap, draw, faded = null, below = 0 }) {
    Object.assign(this, { count, across, aspect, gap, draw, faded, below });
    this.paint();
  }

  paint() {
    if (!this.count) return;
    const w = this.host.clientWidth;
    const tile = (w - this.gap * (this.across - 1)) / this.across;
    this.tile = { w: tile, h: tile / this.aspect + this.below };
    const down = Math.ceil(this.count / this.across);
    const context = prepare(this.canvas, w, down * (this.tile.h + this.gap) - this.gap);
    context.clearRect(0, 0, w, down * (this.tile.h + this.gap));
    for (let i = 0; i < this.count; i++) {
      this.draw(context, i, this.box(i));
      const cover = this.faded ? this.faded(i) : 0;
      if (cover > 0) {
        const { x, y, w: width, h } = this.box(i);
        context.globalAlpha = cover;
        context.fillStyle = Theme.colours.card;
        context.fillRect(x - 0.5, y - 0.5, width + 1, h + 1);
        context.globalAlpha = 1;
      }
    }
    if (this.at >= 0) {
      const { x, y, w: width, h } = this.box(this.at);
      context.strokeStyle = Theme.colours.second;
      context.lineWidth = 3;
      context.strokeRect(x + 1.5, y + 1.5, width - 3, h - 3);
    }
  }

  box(i) {
    const { w, h } = this.tile;
    return { x: (i % this.across) * (w + this.gap), y: Math.floor(i / this.across) * (h + this.gap), w, h };
  }

  _point(event) {
    if (!this.count) return false;
    const frame = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - frame.left) / (this.tile.w + this.gap));
    const row = Math.floor((event.clientY - frame.top) / (this.tile.h + this.gap));
    const i = row * this.across + column;
    if (column < 0 || column >= this.across || i < 0 || i >= this.count) return false;
    if (i !== this.at) {
      this.at = i;
      this.paint();
    }
    return true;
  }

  _leave() {
    if (this.at < 0) return;
    this.at = -1;
    this.paint();
    this.on.leave();
  }

  _key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.across, ArrowDown: this.across }[event.key];
    if (event.key === "Enter" && this.at >= 0) this.on.choose(this.at);
    else if (step) {
      const to = this.at < 0 ? 0 : this.at + step;
      if (to >= 0 && to < this.count) this.at = to;
      this.paint();
      this.on.follow(this.at);
    } else return;
    event.preventDefault();
  }
}

class MapView {
  constructor(app) {
    this.app = app;
  }

  mount(host) {
    const { app } = this;
    const { world, state } = app;
    const bar = element("div", { className: "bar" });
    const { dim, order } = app.contents.latents;
    if (dim > 2) {
      this.pair = element("span", { className: "pair" });
      const planes = [...(app.contents.plane ? [["pca", "PCA"]] : []), ["two", "two latents"]];
      const change = (value) => app.set({ plane: value === "pca" ? "pca" : `${order[0]},${order[1]}` });
      bar.append(choice("Plane", planes, state.plane === "pca" ? "pca" : "two", change), this.pair);
    }
    bar.append(
      choice("Colour", [["", "none"], ...world.columns.map((column) => [column.name, column.name])], state.colour, (value) => app.set({ colour: value, only: -1 })),
      segments("Marks", [["dots", "Dots"], ["pictures", world.designs.kind === "image" ? "Thumbnails" : "Glyphs"]], state.marks, (value) => app.set({ marks: value })),
      tick("Fog", state.fog, (value) => app.set({ fog: value })),
    );
    const place = element("div", { className: "map-place" });
    this.legend = element("div", { className: "legend" });
    host.append(bar, place, this.legend);
    this.map = new LatentMap(place, world, app.hand);
    Object.assign(this.map.moving, { tabIndex: 0, id: "map" });
    this.map.moving.setAttribute("role", "application");
    this.map.moving.setAttribute("aria-label", "Map of the latent space. Arrow keys move the point, with Shift further; Enter pins it; N goes to the nearest example.");
    this.map.moving.addEventListener("keydown", (event) => app.arrows(event, this.map));
    if (world.rowsNote) host.append(note(world.rowsNote));
  }

  again() {
    this._key = null;
  }

  refresh() {
    const { app } = this;
    if (this.pair) this._pair();
    const look = app.look();
    this.map.show(look);
    this._legend(look.colour);
    this.move();
  }

  move() {
    const { app } = this;
    this.map.mark({ z: app.live, near: app.near.index, pins: app.state.pins });
  }

  _pair() {
    const { app } = this;
    const { state } = app;
    if (this._pairOf === state.plane) return;
    this._pairOf = state.plane;
    this.pair.replaceChildren();
    if (state.plane === "pca") return;
    const [a, b] = state.plane.split(",").map(Number);
    const names = app.contents.latents.order.map((k) => [k, `z${k + 1}`]);
    this.pair.append(
      choice("across", names, a, (value) => app.set({ plane: `${value},${Number(value) === b ? a : b}` })),
      choice("up", names, b, (value) => app.set({ plane: `${Number(value) === a ? b : a},${value}` })),
    );
  }

  _legend(colour) {
    const key = [colour?.name, this.app.state.only, Theme.dark].join("|");
    if (key === this._key) return;
    this._key = key;
    this.legend.replaceChildren();
    if (!colour) return;
    this.legend.append(element("span", { className: "legend-title", textContent: colour.unit ? `${colour.name} [${colour.unit}]` : colour.name }));
    if (colour.kind === "number") {
      const bar = element("canvas", { role: "img", "aria-label": `from ${shown(colour.low)} to ${shown(colour.high)}` });
      this.legend.append(element("span", { textContent: shown(colour.low) }), bar, element("span", { textContent: shown(colour.high) }));
      const context = prepare(bar, 160, 12);
      for (let x = 0; x < 160; x++) {
        context.fillStyle = scaleColour(x / 159);
        context.fillRect(x, 0, 1, 12);
      }
      return;
    }
    for (const { name, count, shade, group } of colour.groups) {
      const swatch = element("i");
      swatch.style.background = shade;
      const button = element(
        "button",
        {
          type: "button",
          "aria-pressed": String(this.app.state.only === group),
          title: `${count.toLocaleString("en")} rows; click to see them alone`,
          onclick: () => this.app.set({ only: this.app.state.only === group ? -1 : group }),
        },
        swatch,
        element("span", { textContent: name }),
      );
      this.legend.append(button);
    }
  }
}

// --- sliders

const AT_ONCE = 6;
const STRIP = 9;

class SlidersView {
  constructor(app) {
    this.app = app;
  }

  mount(host) {
    const { app } = this;
    const { latents } = app.contents;
    const most = Math.ceil(latents.dim / AT_ONCE);
    const bar = element("div", { className: "bar" });
    bar.append(note(`Most informative first, by ${latents.what}. Each strip moves one latent and leaves the others where they are.`));
    if (most > 1) {
      const turn = (step) => () => {
        app.state.page = (app.state.page + step + most) % most;
        this._rows();
        app.set({});
      };
      this.pages = element("span", { className: "pages" });
      bar.append(element("div", { className: "pager" }, element("button", { type: "button", textContent: "‹", "aria-label": "Previous latents", onclick: turn(-1) }), this.pages, element("button", { type: "button", textContent: "›", "aria-label": "Next latents", onclick: turn(1) })));
    }
    this.list = element("div", { className: "sliders" });
    const zero = element("button", { type: "button", textContent: "All to 0", onclick: () => app.set({ z: new Float32Array(latents.dim) }) });
    host.append(bar, this.list, element("div", { className: "bar" }, zero));
    this._rows();
  }

  _rows() {
    const { app } = this;
    const { order, measure, unit, what, ranges, dim } = app.contents.latents;
    const first = app.state.page * AT_ONCE;
    if (this.pages) this.pages.textContent = `${first + 1}–${Math.min(dim, first + AT_ONCE)} of ${dim}`;
    this.list.replaceChildren();
    this.rows = order.slice(first, first + AT_ONCE).map((k) => {
      const [low, high] = ranges[k];
      const row = { k, low, high, strip: element("canvas", { "aria-hidden": "true" }), value: element("output") };
      row.input = element("input", {
        type: "range", min: low, max: high, step: (high - low) / 400, "aria-label": `z${k + 1}, ${what} ${shown(measure[k])} ${unit}`,
        oninput: () => this._move(k, Number(row.input.value)),
      });
      row.strip.addEventListener("pointerdown", (event) => this._move(k, this._valueAt(row, event)));
      row.strip.addEventListener("pointermove", (event) => {
        const z = app.state.z.slice();
        z[k] = this._valueAt(row, event);
        if (event.buttons) app.set({ z });
        else app.follow(z);
      });
      row.strip.addEventListener("pointerleave", () => app.follow(app.state.z));
      const name = element("div", { className: "name" }, element("b", { textContent: `z${k + 1}` }), element("small", { textContent: unit ? `${shown(measure[k], 0.01)} ${unit}` : `var ${shown(measure[k], 0.01)}` }));
      row.frame = element("div", { className: "strip" }, row.strip);
      this.list.append(element("div", { className: "slider" }, name, element("div", {}, row.frame, row.input), row.value));
      return row;
    });
    this._stripsOf = null;
  }

  _valueAt(row, event) {
    const frame = row.strip.getBoundingClientRect();
    return row.low + Math.max(0, Math.min(1, (event.clientX - frame.left) / frame.width)) * (row.high - row.low);
  }

  _move(k, value) {
    const z = this.app.state.z.slice();
    z[k] = value;
    this.app.set({ z });
  }

  again() {
    this._stripsOf = null;
  }

  refresh() {
    this.move();
    const { z, context } = this.app.state;
    const key = [...z, ...context, this.list.clientWidth].join(",");
    if (key === this._stripsOf) return;
    this._stripsOf = key;
    clearTimeout(this._waiting);
    this._waiting = setTimeout(() => this._strips(key), this._drawn ? 40 : 0);
  }

  move() {
    const { live } = this.app;
    for (const { k, input, value } of this.rows) {
      if (input !== document.activeElement || Math.abs(Number(input.value) - live[k]) > 0.02) input.value = live[k];
      value.textContent = shown(live[k], 0.01);
      input.setAttribute("aria-valuetext", value.textContent);
    }
  }

  leave() {
    this._stripsOf = null;
    clearTimeout(this._waiting);
  }

  async _strips(key) {
    const { app } = this;
    const { designs } = app.world;
    this._drawn = true;
    for (const row of this.rows) {
      const points = Array.from({ length: STRIP }, (_, i) => {
        const z = app.state.z.slice();
        z[row.k] = row.low + ((i + 0.5) / STRIP) * (row.high - row.low);
        return z;
      });
      const values = await app.many(points, () => this._stripsOf === key);
      if (!values) return;
      const w = row.frame.clientWidth;
      const tile = w / STRIP;
      const h = Math.min(tile / designs.aspect, 96);
      const context = prepare(row.strip, w, h);
      const sheet = designs.sheet(values, STRIP);
      context.clearRect(0, 0, w, h);
      for (let i = 0; i < STRIP; i++) sheet.draw(context, i, fitted(designs.aspect, tile - 2, h, i * tile + 1, 0));
    }
  }
}

// --- morph

const STEPS = 11;
const FINE = 61;

class MorphView {
  constructor(app) {
    this.app = app;
  }

  mount(host) {
    const { app } = this;
    this._twoPins();
    this.bar = element("div", { className: "bar" });
    const place = element("div", { className: "map-place small" });
    this.wallPlace = element("div", { className: "wall-place" });
    this.slider = element("input", { type: "range", min: 0, max: 1, step: 0.005, "aria-label": "How far along the way", oninput: () => this._along(Number(this.slider.value)) });
    this.profile = element("canvas", { role: "img", "aria-label": "Distance to the nearest example along the way" });
    this.profilePlace = element("div", { className: "profile" }, this.profile);
    this.words = note("");
    host.append(this.bar, this.wallPlace, this.slider, this.profilePlace, this.words, place);
    this.map = new LatentMap(place, app.world, app.hand);
    this.map.moving.setAttribute("role", "img");
    this.map.moving.setAttribute("aria-label", "The way on the map of the latent space; a click pins another point");
    const along = (i) => this._point(i / (STEPS - 1));
    this.wall = new Wall(this.wallPlace, "Designs along the way; arrow keys go from one to the next", {
      follow: (i) => app.follow(along(i)),
      leave: () => app.follow(app.state.z),
      choose: (i) => this._along(i / (STEPS - 1)),
    });
    this.refresh();
    this._along(app.state.morph.share);
  }

  // A morph needs two pins: where there are fewer, two examples that are far from each other.
  _twoPins() {
    const { state, world } = this.app;
    const { cloud } = world;
    if (state.pins.length < 2) {
      const first = state.pins[0] ?? cloud.point(world.order[0]);
      const some = world.order.slice(0, 200).map((i) => cloud.point(i));
      const second = some.reduce((best, z) => (distanceOf(z, first) > distanceOf(best, first) ? z : best), first);
      state.pins = [first, second];
      state.morph = { ...state.morph, a: 0, b: 1 };
    }
  }

  again() {
    this._key = null;
  }

  refresh() {
    const { app } = this;
    this._twoPins();
    const { pins, morph, context } = app.state;
    const a = Math.min(morph.a, pins.length - 1);
    const b = morph.b < pins.length && morph.b !== a ? morph.b : a === 0 ? 1 : 0;
    const ways = [a, b, ...pins.map((pin) => pin.join(","))].join("|");
    if (ways !== this._ways) {
      this._ways = ways;
      const { cloud } = app.world;
      this.ways = { straight: straightWay(pins[a], pins[b], FINE), data: wayAlongData(cloud, pins[a], pins[b], FINE) };
      this.distances = Object.fromEntries(Object.entries(this.ways).map(([name, way]) => [name, way.map((z) => cloud.nearest(z).distance)]));
    }
    if (this._barOf !== [ways, morph.way].join("|")) this._bar(a, b, [ways, morph.way].join("|"));
    this.way = this.ways[morph.way];
    this.slider.value = morph.share;
    const look = app.look();
    this.map.show({ ...look, marks: "dots", only: -1 });
    const key = [ways, morph.way, ...context, this.wallPlace.clientWidth].join("|");
    if (key !== this._key) {
      this._key = key;
      this._wall(key);
    }
    this._profile();
    this.move();
  }

  move() {
    const { app } = this;
    const { pins } = app.state;
    this.map.mark({ z: app.live, near: app.near.index, pins, way: this.way });
  }

  _bar(a, b, key) {
    const { app } = this;
    const { pins, morph } = app.state;
    this._barOf = key;
    const names = pins.map((_, i) => [i, `pin ${i + 1}`]);
    const change = (changes) => app.set({ morph: { ...app.state.morph, ...changes } });
    const focused = this.bar.contains(document.activeElement) ? [...this.bar.querySelectorAll("select, button")].indexOf(document.activeElement) : -1;
    this.bar.replaceChildren(
      choice("From", names, a, (value) => change({ a: Number(value), b: Number(value) === b ? a : b })),
      choice("to", names, b, (value) => change({ b: Number(value), a: Number(value) === a ? b : a })),
      segments("Way", [["straight", "Straight"], ["data", "Along the data"]], morph.way, (way) => change({ way })),
    );
    if (focused >= 0) this.bar.querySelectorAll("select, button")[focused]?.focus();
    const worst = (name) => Math.max(...this.distances[name]);
    this.words.textContent = `Farthest from any example: ${shown(worst("straight"), 0.01)} on the straight way, ${shown(worst("data"), 0.01)} along the data.`;
  }

  _point(share) {
    const at = share * (FINE - 1);
    const low = Math.min(FINE - 2, Math.floor(at));
    return between(this.way[low], this.way[low + 1], at - low);
  }

  _along(share) {
    this.app.set({ z: this._point(share), morph: { ...this.app.state.morph, share } });
  }

  async _wall(key) {
    const { app } = this;
    const { designs } = app.world;
    const points = Array.from({ length: STEPS }, (_, i) => this._point(i / (STEPS - 1)));
    const values = await app.many(points, () => this._key === key);
    if (!values) return;
    const sheet = designs.sheet(values, STEPS);
    const narrow = this.wallPlace.clientWidth < 480;
    this.wall.show({ count: STEPS, across: narrow ? 6 : STEPS, aspect: designs.aspect, gap: 3, draw: sheet.draw });
  }

  // The distance to the nearest example along both ways.
  _profile() {
    const { soft, line, accent, second, fog } = Theme.colours;
    const w = this.profilePlace.clientWidth;
    const h = 84;
    const context = prepare(this.profile, w, h);
    const box = { x: 40, y: 16, w: w - 48, h: h - 22 };
    const { limit } = this.app.world.cloud;
    const most = 1.1 * Math.max(limit, ...this.distances.straight, ...this.distances.data) || 1;
    context.clearRect(0, 0, w, h);
    context.fillStyle = fog;
    context.globalAlpha = 0.6;
    context.fillRect(box.x, box.y, box.w, box.h * (1 - limit / most));
    context.globalAlpha = 1;
    context.font = Theme.font(11);
    context.fillStyle = soft;
    context.textBaseline = "top";
    context.textAlign = "left";
    context.fillText("Distance to the nearest example; fog: farther than is usual among the data", box.x, 0);
    context.strokeStyle = line;
    context.strokeRect(box.x + 0.5, box.y + 0.5, box.w - 1, box.h - 1);
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillText(shown(most / 1.1, 0.01), box.x - 5, box.y + 8);
    context.fillText("0", box.x - 5, box.y + box.h - 5);
    for (const [name, colour] of [["straight", second], ["data", accent]]) {
      context.beginPath();
      this.distances[name].forEach((value, i) => context.lineTo(box.x + (i / (FINE - 1)) * box.w, box.y + box.h * (1 - value / most)));
      context.strokeStyle = colour;
      context.lineWidth = name === this.app.state.morph.way ? 2.5 : 1;
      context.setLineDash(name === this.app.state.morph.way ? [] : [4, 3]);
      context.stroke();
    }
    context.setLineDash([]);
    const x = box.x + this.app.state.morph.share * box.w;
    context.strokeStyle = soft;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, box.y);
    context.lineTo(x, box.y + box.h);
    context.stroke();
  }
}

// --- the grid

class GridView {
  constructor(app) {
    this.app = app;
  }

  mount(host) {
    const { app } = this;
    const { dim, standard, prior } = app.contents.latents;
    this.fixed = dim === 2 && !standard && app.contents.latents.grid;
    const bar = element("div", { className: "bar" });
    if (!this.fixed) bar.append(choice("Size", [[8, "8 × 8"], [12, "12 × 12"], [15, "15 × 15"], [20, "20 × 20"]], app.state.grid, (value) => app.set({ grid: Number(value) })));
    bar.append(tick("Fog", app.state.fog, (value) => app.set({ fog: value })));
    const mass = dim <= 2;
    this.words = note(
      mass
        ? `A grid of equal prior mass: each tile stands for the same share of ${prior}. z1 rises to the right${dim === 2 ? ", z2 upwards" : ""}.`
        : "The plane of the map, decoded about the current point; the other directions stay as they are.",
    );
    this.place = element("div", { className: "wall-place square" });
    host.append(bar, this.place, this.words);
    this.wall = new Wall(this.place, "Grid of decoded designs; arrow keys go from one to the next, Enter pins one", {
      follow: (i) => app.follow(this.points[i]),
      leave: () => app.follow(app.state.z),
      choose: (i) => app.pin(this.points[i]),
    });
  }

  again() {
    this._key = null;
  }

  refresh() {
    const { state, contents } = this.app;
    const { dim } = contents.latents;
    const off = dim > 2 ? [state.plane, ...this._offPlane()] : [];
    const key = [state.grid, state.fog, ...state.context, ...off, this.place.clientWidth].join("|");
    if (key === this._key) return;
    this._key = key;
    this._draw(key);
  }

  move() {}

  // What of the point does not lie in the plane: the grid is about it.
  _offPlane() {
    const { state } = this.app;
    return Array.from(this.app.plane().at([0, 0], state.z), (value) => value.toFixed(3));
  }

  _lattice() {
    const { app } = this;
    const { dim, grid } = app.contents.latents;
    if (this.fixed) {
      const codes = Bytes.floats(grid);
      const size = Math.round(Math.sqrt(codes.length / 2));
      const row = (i) => size - 1 - Math.floor(i / size);
      return { across: size, points: Array.from({ length: size * size }, (_, i) => codes.slice(2 * (row(i) * size + (i % size)), 2 * (row(i) * size + (i % size)) + 2)) };
    }
    const size = app.state.grid;
    const share = (i) => (i + 0.5) / size;
    if (dim === 1) return { across: size, points: Array.from({ length: size }, (_, i) => Float32Array.of(normalQuantile(share(i)))) };
    const down = (i) => size - 1 - Math.floor(i / size);
    if (dim === 2) return { across: size, points: Array.from({ length: size * size }, (_, i) => Float32Array.of(normalQuantile(share(i % size)), normalQuantile(share(down(i))))) };
    const plane = app.plane();
    const { cloud } = app.world;
    const places = Array.from({ length: cloud.count }, (_, i) => plane.place(cloud.means, i * cloud.dim));
    const range = [0, 1].map((axis) => {
      const sorted = Float64Array.from(places, (place) => place[axis]).sort();
      return [sorted[Math.floor(0.005 * (sorted.length - 1))], sorted[Math.ceil(0.995 * (sorted.length - 1))]];
    });
    const at = ([low, high], part) => low + part * (high - low);
    return { across: size, points: Array.from({ length: size * size }, (_, i) => plane.at([at(range[0], share(i % size)), at(range[1], share(down(i)))], app.state.z)) };
  }

  async _draw(key) {
    const { app } = this;
    const { designs, cloud } = app.world;
    const { points, across } = this._lattice();
    const values = await app.many(points, () => this._key === key);
    if (!values) return;
    this.points = points;
    const sheet = designs.sheet(values, points.length);
    const cover = app.state.fog ? points.map((z) => Math.max(0, Math.min(0.82, 0.45 * (cloud.strangeness(cloud.nearest(z).distance) - 1)))) : null;
    const tile = this.place.clientWidth / across;
    this.wall.show({ count: points.length, across, aspect: designs.aspect, gap: tile > 28 ? 2 : 1, draw: sheet.draw, faded: cover ? (i) => cover[i] : null });
  }
}

// --- samples

class SamplesView {
  constructor(app) {
    this.app = app;
  }

  mount(host) {
    const { app } = this;
    const { laws } = app.contents;
    const bar = element("div", { className: "bar" });
    if (laws.length > 1) bar.append(choice("Draw z from", laws.map((law, k) => [k, law.name]), app.state.law, (value) => app.set({ law: Number(value), draw: 1 })));
    else bar.append(note(`z is drawn from ${laws[0].name}, then decoded.`));
    bar.append(element("button", { type: "button", textContent: "Draw again", onclick: () => app.set({ draw: app.state.draw + 1 }) }));
    this.place = element("div", { className: "wall-place" });
    host.append(bar, this.place);
    host.append(note("The means of p(x|z); its noise is left out."));
    if (laws.length === 1) host.append(note("A sampler fitted with variform sampler stands here beside the prior."));
    this.on = { follow: (i) => app.follow(this.points[i]), leave: () => app.follow(app.state.z), choose: (i) => app.pin(this.points[i]) };
    if (app.world.designs.kind === "table") this.table = new Rows(this.place, app, this.on);
    else this.wall = new Wall(this.place, "Samples; arrow keys go from one to the next, Enter pins one", this.on);
  }

  again() {
    this._key = null;
  }

  refresh() {
    const { law, draw, context } = this.app.state;
    const key = [law, draw, ...context, this.place.clientWidth].join("|");
    if (key === this._key) return;
    this._key = key;
    this._draw(key);
  }

  move() {}

  _points(count) {
    const { law, draw } = this.app.state;
    const { dim } = this.app.contents.latents;
    const { codes } = this.app.contents.laws[law];
    if (codes === null) {
      const drawn = normals(count * dim, draw);
      return Array.from({ length: count }, (_, i) => drawn.slice(i * dim, (i + 1) * dim));
    }
    const all = Bytes.floats(codes);
    const known = all.length / dim;
    return Array.from({ length: count }, (_, i) => {
      const at = ((draw - 1) * count + i) % known;
      return all.slice(at * dim, (at + 1) * dim);
    });
  }

  async _draw(key) {
    const { app } = this;
    const { designs } = app.world;
    const w = this.place.clientWidth;
    const across = designs.kind === "curve" ? Math.max(2, Math.round(w / 190)) : Math.max(4, Math.round(w / 86));
    const count = this.table ? 16 : across * Math.max(3, Math.round((designs.areWide ? 5 : 6) * (w < 480 ? 1.4 : 1)));
    const points = this._points(count);
    const values = await app.many(points, () => this._key === key);
    if (!values) return;
    this.points = points;
    if (this.table) {
      this.table.show(points.map((_, i) => ({ name: String(i + 1), values: values.subarray(i * designs.size, (i + 1) * designs.size) })));
      return;
    }
    const sheet = designs.sheet(values, count);
    this.wall.show({ count, across, aspect: designs.aspect, gap: 6, draw: sheet.draw });
  }
}

// Rows of a table as a table, each cell with a bar from the least to the greatest value of its column.
class Rows {
  constructor(host, app, on) {
    Object.assign(this, { app, on });
    this.table = element("table", { className: "rows" });
    host.append(element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Rows" }, this.table));
  }

  // Each item: name, values, and what they are compared with (`real`), if anything.
  show(items, heads = []) {
    const { designs } = this.app.world;
    const head = element("tr", {}, element("th", { scope: "col", textContent: "" }), ...heads.map((text) => element("th", { scope: "col", textContent: text })));
    for (const { name, unit } of designs.columns) head.append(element("th", { scope: "col" }, element("span", { textContent: name }), unit ? element("small", { textContent: ` ${unit}` }) : null));
    const body = element("tbody");
    items.forEach((item, i) => {
      const button = element("button", { type: "button", textContent: item.name, title: "Pin this one", onclick: () => this.on.choose(i) });
      const row = element("tr", {}, element("th", { scope: "row" }, button), ...(item.facts ?? []).map((text) => element("td", { className: "number", textContent: text })));
      designs.columns.forEach((_, k) => row.append(this._cell(k, item.values[k], item.real?.[k])));
      row.addEventListener("pointerenter", () => this.on.follow(i));
      button.addEventListener("focus", () => this.on.follow(i));
      body.append(row);
    });
    body.addEventListener("pointerleave", () => this.on.leave());
    this.table.replaceChildren(element("thead", {}, head), body);
  }

  _cell(k, value, real) {
    const { designs } = this.app.world;
    const bar = element("i", { className: "bar-of" });
    bar.style.width = `${100 * (designs.share(k, designs.tidy(k, value)) ?? 0)}%`;
    const cell = element("td", { className: "number" });
    if (real !== undefined) {
      const [before, after] = [designs.text(k, real), designs.text(k, value)];
      cell.append(element("span", { className: "real", textContent: before }), element("span", { className: before === after ? "same" : "rebuilt", textContent: after }));
      const mark = element("i", { className: "mark-of" });
      const share = designs.share(k, real);
      mark.style.left = `${100 * (share ?? 0)}%`;
      mark.hidden = share === null;
      cell.append(element("span", { className: "track" }, bar, mark));
    } else cell.append(element("span", { textContent: designs.text(k, value) }), element("span", { className: "track" }, bar));
    return cell;
  }
}

// --- reconstructions

class RebuiltView {
  constructor(app) {
    this.app = app;
  }

  mount(host) {
    const { app } = this;
    const { rows } = app.contents;
    const { designs } = app.world;
    this.which = [...rows.worst, ...rows.others];
    this.points = this.which.map((i) => app.world.cloud.point(i));
    this.told = rows.contexts ? Bytes.floats(rows.contexts) : null;
    this.on = { follow: (i) => app.follow(this.points[i]), leave: () => app.follow(app.state.z), choose: (i) => app.pin(this.points[i]) };
    const how = designs.kind === "table" ? "In each cell the value and, below it, what the model makes of it." : designs.kind === "curve" ? "The row and, in blue, what the model makes of it." : "Above each the row, below what the model makes of its posterior mean.";
    host.append(note(`The ${rows.worst.length} worst of the ${rows.judged} rows first, then ${rows.others.length} from everywhere. ${how}`));
    this.place = element("div", { className: "wall-place" });
    host.append(this.place);
    if (designs.kind === "table") this.table = new Rows(this.place, app, this.on);
    else this.wall = new Wall(this.place, "Reconstructions, the worst first; arrow keys go from one to the next", this.on);
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

  move() {}

  async _draw(key) {
    const { app, which } = this;
    const { designs, examples } = app.world;
    const values = await app.many(this.points, () => this._key === key, this.told);
    if (!values) return;
    const errors = colouring(app.world, "reconstruction error").plain;
    if (this.table) {
      const part = (all, i) => all.subarray(i * designs.size, (i + 1) * designs.size);
      this.table.show(which.map((row, i) => ({ name: app.nameOf(row) || String(i + 1), values: part(values, i), real: part(examples.values, row), facts: [shown(errors[row], errors[row] / 100)] })), ["error"]);
      return;
    }
    const w = this.place.clientWidth;
    const isCurve = designs.kind === "curve";
    const across = isCurve ? Math.max(2, Math.round(w / 190)) : Math.max(5, Math.min(10, Math.round(w / 84)));
    const sheet = designs.sheet(values, which.length);
    const label = 20;
    this.wall.show({
      count: which.length,
      across,
      aspect: isCurve ? designs.aspect : designs.aspect / 2,
      gap: 8,
      below: label,
      draw: (context, i, { x, y, w: width, h }) => {
        const half = (h - label) / 2;
        if (isCurve) {
          sheet.draw(context, i, { x, y, w: width, h: h - label });
          designs._curve(context, examples.values, which[i] * designs.size, { x: x + 3, y: y + 3, w: width - 6, h: h - label - 6 }, Theme.colours.second, 1.2);
        } else {
          examples.draw(context, which[i], { x, y, w: width, h: half - 1 });
          sheet.draw(context, i, { x, y: y + half + 1, w: width, h: half - 1 });
        }
        const name = app.nameOf(which[i]);
        context.font = Theme.font(11, i < app.contents.rows.worst.length ? 600 : 400);
        context.fillStyle = Theme.colours.soft;
        context.textAlign = "center";
        context.textBaseline = "middle";
        context.fillText(`${name ? `${name}: ` : ""}${shown(errors[which[i]], errors[which[i]] / 100)}`, x + width / 2, y + h - label / 2, width);
      },
    });
  }
}

// --- numbers

class NumbersView {
  constructor(app) {
    this.app = app;
  }

  mount(host) {
    const { numbers, latents } = this.app.contents;
    const isNumber = (text) => /^[-+\u2212]?\.?\d/.test(text);
    const cells = (row) => row.slice(1).map((text) => element("td", { className: isNumber(text) ? "number" : "", textContent: text.replace(/^-/, MINUS) }));
    host.append(
      element("h2", { textContent: "Held-out numbers" }),
      element(
        "div",
        { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Held-out numbers" },
        element(
          "table",
          { className: "numbers" },
          element("thead", {}, element("tr", {}, ...numbers.header.map((text, i) => element("th", { scope: "col", className: i ? "number" : "", textContent: text })))),
          element("tbody", {}, ...numbers.rows.map((row) => element("tr", {}, element("th", { scope: "row", textContent: row[0] }), ...cells(row)))),
        ),
      ),
      note("Mean ± standard error over the rows. Lower NLL is better, higher ELBO is better; constants are included."),
      element("h2", { textContent: latents.unit ? "KL per latent dimension" : "Variance of each posterior mean" }),
      this._bars(),
      note(`${numbers.active.count} of ${numbers.active.of} units are active: their posterior mean varies by more than 0.01.`),
      element("h2", { textContent: "The run" }),
      element("dl", { className: "facts" }, ...numbers.facts.map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value })))),
    );
    const notes = numbers.notes;
    if (notes.length) host.append(element("h2", { textContent: "To be known" }), element("ul", { className: "notes" }, ...notes.map((text) => element("li", { textContent: text }))));
  }

  _bars() {
    const { order, measure, errors, unit } = this.app.contents.latents;
    const most = Math.max(...measure, 1e-9);
    const list = element("ol", { className: "kl" });
    for (const k of order) {
      const bar = element("i");
      bar.style.width = `${(100 * Math.max(0, measure[k])) / most}%`;
      const error = errors?.[k] ? ` ± ${shown(errors[k], errors[k])}` : "";
      list.append(element("li", {}, element("b", { textContent: `z${k + 1}` }), element("span", { className: "track" }, bar), element("span", { className: "number", textContent: `${shown(measure[k], errors?.[k] || 0.001)}${error} ${unit}` })));
    }
    return list;
  }

  refresh() {}

  move() {}
}

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
    if (world.planes.length > 1) {
      bar.append(choice("Plane", world.planes, state.plane, (value) => app.set({ plane: value })));
      if (world.cloud.dim > 2) {
        this.pair = element("span", { className: "pair" });
        bar.append(this.pair);
      }
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
    host.append(note(world.rowsNote));
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
    const { state, world } = app;
    this.pair.replaceChildren();
    if (state.plane === "pca") return;
    const [a, b] = state.plane.split(",").map(Number);
    const names = world.order.latents.map((k) => [k, `z${k + 1}`]);
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

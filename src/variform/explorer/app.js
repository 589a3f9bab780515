// The page: its state, the point that follows the hand, the design beside it, the keyboard and the address.

const VIEWS = [["map", "Map", MapView]];

class App {
  constructor(contents, decoder) {
    this.contents = contents;
    this.decoder = decoder;
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
    this.world = {
      designs,
      cloud,
      examples: await designs.examples(contents.rows),
      columns: contents.rows.columns,
      planes: planesOf(contents),
      order: Object.assign(shuffled(count), { latents: contents.latents.order }),
      rowsNote: count < total ? `${count.toLocaleString("en")} of ${total.toLocaleString("en")} rows are shown, drawn at random with a fixed seed.` : "",
    };
    this.state = {
      view: "map",
      z: contents.latents.dim ? this._middle() : new Float32Array(),
      pins: [],
      theme: "",
      plane: this.world.planes[0][0],
      colour: this.world.columns[0]?.name ?? "",
      marks: "dots",
      fog: true,
      only: -1,
      context: Float32Array.from(contents.context),
    };
    this.live = this.state.z;
    Theme.read();
    document.getElementById("title").textContent = contents.title;
    document.getElementById("summary").textContent = contents.summary;
    this._buildDesign();
    this._buildTabs();
    this.open("map");
    new ResizeObserver(() => this.schedule(true)).observe(document.getElementById("view"));
    await this._decodeLive();
  }

  // The posterior mean that is nearest to the middle of them all: a point that looks like something.
  _middle() {
    const { means, dim, count } = this.world.cloud;
    const sum = new Float32Array(dim);
    for (let i = 0; i < count; i++) for (let k = 0; k < dim; k++) sum[k] += means[i * dim + k] / count;
    return this.world.cloud.point(this.world.cloud.nearest(sum).index);
  }

  // --- state

  set(changes) {
    Object.assign(this.state, changes);
    if (changes.z) this.live = changes.z;
    this.schedule(true);
  }

  follow(z) {
    this.live = z;
    this.schedule(false);
  }

  pin(z) {
    this.set({ z, pins: [...this.state.pins, z].slice(-9) });
  }

  // One frame does all that has changed since the last one.
  schedule(isWhole) {
    this._whole ||= isWhole;
    if (this._frame) return;
    this._frame = requestAnimationFrame(() => {
      this._frame = 0;
      const whole = this._whole;
      this._whole = false;
      this.near = this.world.cloud.nearest(this.live);
      if (whole) this.view.refresh();
      else this.view.move();
      this._decodeLive();
    });
  }

  // The newest point wins: what the hand has left meanwhile is never decoded.
  async _decodeLive() {
    if (this._busy) return;
    this._busy = true;
    while (this._shown !== this.live) {
      const z = this.live;
      this.values = await this.decoder.decode(z, this.state.context.length ? this.state.context : null);
      this._shown = z;
      this._drawDesign();
    }
    this._busy = false;
  }

  look() {
    const { state, world } = this;
    return { plane: this.plane(), colour: colouring(world, state.colour), marks: state.marks, fog: state.fog, only: state.only };
  }

  plane() {
    const { state, contents } = this;
    if (this._planeOf !== state.plane) {
      this._planeOf = state.plane;
      const [a, b] = state.plane.split(",").map(Number);
      this._planeIs = state.plane === "pca" ? Plane.ofPca(contents.latents.dim, contents.plane) : Plane.ofLatents(contents.latents.dim, a, b);
    }
    return this._planeIs;
  }

  open(name) {
    const host = document.getElementById("view");
    host.replaceChildren();
    this.state.view = name;
    this.view = new (VIEWS.find(([key]) => key === name)[2])(this);
    this.view.mount(host);
    this.near = this.world.cloud.nearest(this.live);
    this.schedule(true);
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

  _buildTabs() {}

  _buildDesign() {
    const aside = document.getElementById("design");
    this.parts = { decoded: element("canvas"), nearest: element("canvas"), caption: element("figcaption") };
    aside.append(
      element("figure", {}, this.parts.decoded, element("figcaption", { textContent: "Decoded" })),
      element("figure", {}, this.parts.nearest, this.parts.caption),
    );
  }

  _drawDesign() {
    const { designs, examples } = this.world;
    const side = 150;
    const box = { x: 0, y: 0, w: side, h: side / designs.aspect };
    designs.sheet(this.values, 1).draw(prepare(this.parts.decoded, box.w, box.h), 0, box);
    const near = this.world.cloud.nearest(this._shown);
    examples.draw(prepare(this.parts.nearest, box.w, box.h), near.index, box);
    this.parts.caption.textContent = `Nearest example, ${shown(near.distance)} away`;
  }
}

function planesOf({ latents, plane }) {
  const [a, b] = latents.order;
  if (latents.dim < 3) return [["0,1", "z1, z2"]];
  const pair = `${a},${b}`;
  return plane ? [["pca", "PCA"], [pair, "two latents"]] : [[pair, "two latents"]];
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
    const high = column.sorted[Math.floor(0.99 * (column.sorted.length - 1))];
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
  const { contents, decoder } = JSON.parse(document.getElementById("data").textContent);
  const app = new App(contents, await Decoder.create(decoder));
  await app.start();
  return app;
}

window.variform = { ready: boot() };

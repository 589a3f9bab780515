// The panel beside the view: the current design, the nearest real example, where the point is, and the pins.

const NEARNESS = ["among the data", "at the edge of the data", "far from all data: extrapolated"];

class Panel {
  constructor(app, host) {
    this.app = app;
    const { designs } = app.world;
    this.now = element("div", { className: `now ${designs.kind}` });
    this.more = element("div", { className: "more" });
    const { occupancy, conditions } = app.contents;
    this.occupancy = occupancy ? new Occupancy(occupancy, conditions) : null;
    this.unseen = element("p", { className: "unseen", role: "status", hidden: true });
    host.append(this.now, this.more);
    this._buildNow();
    this.now.append(this.unseen);
    this._buildMore();
  }

  // --- the design

  _buildNow() {
    const { designs } = this.app.world;
    // A collapsed model puts all examples at one place: none is nearer than another.
    this.alone = this.app.contents.collapsed;
    const beside = (...parts) => (this.alone ? [] : parts);
    this.where = element("p", { className: "where" }, element("i"), element("span"));
    this.caption = element("span");
    if (designs.kind === "image") {
      this.decoded = element("canvas", { role: "img", "aria-label": "The decoded design" });
      this.nearest = element("canvas", { role: "img", "aria-label": "The nearest real example" });
      this.now.append(
        element("figure", {}, this.decoded, element("figcaption", {}, element("b", { textContent: "Decoded" }), element("span", { className: "codes-short" }))),
        ...beside(element("figure", {}, this.nearest, element("figcaption", {}, element("b", { textContent: "Nearest example" }), this.caption)), this.where),
      );
      return;
    }
    const keys = element("p", { className: "keys-of" }, element("b", { className: "first", textContent: "Decoded" }), ...beside(element("b", { className: "second", textContent: "Nearest example" }), this.caption));
    if (designs.kind === "curve") {
      this.decoded = element("canvas", { role: "img", "aria-label": this.alone ? "The decoded curve" : "The decoded curve, and the nearest real example" });
      this.now.append(keys, element("figure", { className: "wide" }, this.decoded), ...beside(this.where));
      return;
    }
    this.lines = designs.columns.map((column) => {
      const parts = {
        bar: element("i", { className: "bar-of" }),
        mark: element("i", { className: "mark-of" }),
        value: element("td", { className: "number" }),
        near: element("td", { className: "number near" }),
      };
      const unit = column.unit ? element("small", { textContent: ` ${column.unit}` }) : null;
      parts.row = element(
        "tr",
        {},
        element("th", { scope: "row", title: column.full }, element("span", { textContent: column.name }), unit, element("span", { className: "track" }, parts.bar, parts.mark)),
        parts.value,
        ...beside(parts.near),
      );
      return parts;
    });
    const head = element("tr", {}, element("th", { scope: "col", textContent: "Column" }), element("th", { scope: "col", className: "first number", textContent: "Decoded" }), ...beside(element("th", { scope: "col", className: "second number", textContent: "Nearest" })));
    this.now.append(
      element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "The decoded row" }, element("table", { className: "design" }, element("thead", {}, head), element("tbody", {}, ...this.lines.map((line) => line.row)))),
      ...beside(element("p", { className: "keys-of" }, element("span", { textContent: "Nearest example " }), this.caption), this.where),
    );
  }

  show(z, values) {
    const { app } = this;
    const { designs, examples, cloud } = app.world;
    const near = app.nearest(z);
    const name = app.nameOf(near.index);
    this.caption.textContent = `${name ? `${name}, ` : ""}${away(near.distance)}`;
    const strangeness = cloud.strangeness(near.distance);
    const level = strangeness <= 1 ? 0 : strangeness <= 3 ? 1 : 2;
    this.where.dataset.level = level;
    this.where.lastChild.textContent = NEARNESS[level];
    if (designs.kind === "image") {
      const box = this._box();
      designs.sheet(values, 1).draw(prepare(this.decoded, box.w, box.h), 0, box);
      if (!this.alone) examples.draw(prepare(this.nearest, box.w, box.h), near.index, box);
      this.now.querySelector(".codes-short").textContent = `at ${this._short(z)}`;
    } else if (designs.kind === "curve") {
      const w = this.decoded.parentNode.clientWidth || 300;
      const h = Math.round(Math.min(200, Math.max(110, 0.58 * w)));
      const real = this.alone ? null : examples.values.subarray(near.index * designs.size, (near.index + 1) * designs.size);
      designs.plot(prepare(this.decoded, w, h), values, real, { w, h });
    } else this._showRow(values, examples.values, near.index * designs.size);
    this._showCodes(z);
  }

  _box() {
    const { aspect } = this.app.world.designs;
    const isNarrow = matchMedia("(max-width: 760px)").matches;
    const w = isNarrow ? Math.round(76 * Math.min(1, aspect)) : Math.floor(this.decoded.parentNode.clientWidth || 140);
    return { x: 0, y: 0, w, h: Math.round(w / aspect) };
  }

  _showRow(values, real, start) {
    const { designs } = this.app.world;
    this.lines.forEach((line, k) => {
      const [share, other] = [designs.share(k, designs.tidy(k, values[k])), designs.share(k, real[start + k])];
      line.bar.style.width = `${100 * (share ?? 0)}%`;
      line.mark.style.left = `${100 * (other ?? 0)}%`;
      line.mark.hidden = this.alone || other === null;
      line.value.textContent = designs.text(k, values[k]);
      line.near.textContent = designs.text(k, real[start + k]);
    });
  }

  _short(z) {
    const { order } = this.app.contents.latents;
    const some = z.length > 2 ? `${order.slice(0, 2).map((k) => shown(z[k], 0.01)).join(", ")}, …` : Array.from(z, (value) => shown(value, 0.01)).join(", ");
    return `(${some})`;
  }

  // --- the rest

  _buildMore() {
    const { app } = this;
    const { latents, conditions } = app.contents;
    this.codes = latents.order.slice(0, this.alone ? 0 : 6).sort((a, b) => a - b).map((k) => {
      const value = element("dd");
      return { k, value, parts: [element("dt", { textContent: `z${k + 1}` }), value] };
    });
    const list = element("dl", { className: "codes" }, ...this.codes.flatMap(({ parts }) => [element("div", {}, ...parts)]));
    const rest = latents.dim - this.codes.length;
    const button = (text, title, onclick) => element("button", { type: "button", textContent: text, title, onclick });
    this.told = element("div", { className: "told" });
    this.pins = element("ul", { className: "pins" });
    const saving = [
      button("Save .npy", "The decoded design for NumPy", () => app.saveDesign("npy")),
      button("Save .csv", "The decoded design as text", () => app.saveDesign("csv")),
    ];
    if (this.alone) this.more.append(element("div", { className: "actions" }, ...saving));
    else {
      const pin = button("Pin", "Keep this point (P)", () => app.pin(app.live));
      const near = button("Go to example", "Move to the nearest real example (N)", () => app.toNearest());
      const others = rest > 0 ? [note(`and ${rest} more; see Sliders`)] : [];
      this.more.append(element("h2", { textContent: "Point" }), list, ...others, element("div", { className: "actions" }, pin, near, ...saving));
    }
    if (conditions.length) this.more.append(element("h2", { textContent: "Condition" }), this.told);
    if (!this.alone) this.more.append(element("h2", { textContent: "Pins" }), this.pins);
  }

  _showCodes(z) {
    for (const { k, value } of this.codes) value.textContent = shown(z[k], 0.001);
  }

  refresh() {
    this._showConditions();
    this._showUnseen();
    this._showPins();
  }

  again() {
    this._pinsOf = this._toldOf = null;
  }

  _showConditions() {
    const { app } = this;
    const key = app.state.context.join(",");
    if (key === this._toldOf || !app.contents.conditions.length || this.told.contains(document.activeElement)) return;
    this._toldOf = key;
    this.told.replaceChildren();
    let start = 0;
    for (const condition of app.contents.conditions) {
      const at = start;
      const change = (values) => {
        const context = app.state.context.slice();
        context.set(values, at);
        app.set({ context });
      };
      if (condition.categories.length) {
        const width = condition.categories.length;
        const chosen = app.state.context.slice(at, at + width).indexOf(1);
        const options = condition.categories.map((name, k) => [k, name]);
        this.told.append(choice(condition.name, options, chosen, (value) => change(Array.from({ length: width }, (_, k) => (k === Number(value) ? 1 : 0)))));
        start += width;
        continue;
      }
      const text = (value) => `${shown(value * condition.scale + condition.shift)}${condition.unit ? ` ${condition.unit}` : ""}`;
      const value = element("output", { textContent: text(app.state.context[at]) });
      const [low, high] = condition.range;
      const input = element("input", {
        type: "range", min: low, max: high, step: (high - low) / 200 || 1, value: app.state.context[at],
        oninput() {
          value.textContent = text(Number(input.value));
          input.setAttribute("aria-valuetext", value.textContent);
          change([Number(input.value)]);
        },
      });
      input.setAttribute("aria-valuetext", value.textContent);
      this.told.append(element("label", { className: "field" }, element("span", { textContent: condition.name }), input, value));
      start += 1;
    }
  }

  _showUnseen() {
    const text = this.occupancy?.remark(this.app.state.context) ?? "";
    if (this.unseen.textContent !== text) this.unseen.textContent = text;
    this.unseen.hidden = !text;
    this.where.classList.toggle("beside", Boolean(text));
  }

  async _showPins() {
    const { app } = this;
    const { pins, context } = app.state;
    const key = [...pins, context].map((pin) => pin.join(",")).join("~");
    if (key === this._pinsOf) return;
    this._pinsOf = key;
    const values = pins.length ? await app.many(pins, () => this._pinsOf === key) : [];
    if (this._pinsOf !== key || !values) return;
    this.pins.replaceChildren();
    if (!pins.length) this.pins.append(element("li", { className: "note", textContent: "Click the map, or press P, to keep a point. Two pins make a morph." }));
    const { designs } = app.world;
    const sheet = pins.length ? designs.sheet(values, pins.length) : null;
    pins.forEach((pin, i) => {
      const picture = element("canvas", { "aria-hidden": "true" });
      const { w, h } = fitted(designs.aspect, 52, 52);
      sheet.draw(prepare(picture, w, h), i, { x: 0, y: 0, w, h });
      this.pins.append(
        element(
          "li",
          {},
          element("button", { type: "button", className: "pin", title: `Go to pin ${i + 1}`, "aria-label": `Go to pin ${i + 1}`, onclick: () => app.set({ z: pin }) }, picture, element("b", { textContent: i + 1 })),
          element("button", { type: "button", className: "away", title: `Take pin ${i + 1} away`, "aria-label": `Take pin ${i + 1} away`, textContent: "×", onclick: () => app.unpin(i) }),
        ),
      );
    });
  }
}

// Designs: how one example looks (an image, a row of a table, a curve), and how its numbers read.

const Theme = {
  colours: {},
  dark: false,

  read() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["paper", "card", "ink", "soft", "line", "accent", "second", "fog", "panel", "missing", "lit"]) {
      Theme.colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
    Theme.dark = style.getPropertyValue("--is-dark").trim() === "1";
  },

  font: (size, weight = 400) => `${weight} ${size}px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif`,
};

// Colours by Okabe and Ito (2008) that colour-blind readers can tell apart, and more that keep that distance.
const PALETTES = {
  light: ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#222222", "#8800ff", "#663311", "#b8a800"],
  dark: ["#3d9be0", "#f0ab20", "#1fc095", "#f0762b", "#8fd3ff", "#e59cc6", "#f2f2f2", "#a566ff", "#b0764a", "#f0e442"],
};
const VIRIDIS = ["#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725"];

// How far away something is, in words.
function away(distance) {
  return distance < 0.005 ? "right here" : `${distance < 10 ? distance.toFixed(2) : shown(distance)} away`;
}

const MINUS = "\u2212";

function hexOf(text) {
  return [1, 3, 5].map((place) => parseInt(text.slice(place, place + 2), 16));
}

// A colour of the perceptually uniform scale, for a share in [0, 1].
function scaleColour(share) {
  const at = Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1);
  const low = Math.min(VIRIDIS.length - 2, Math.floor(at));
  const [from, to] = [hexOf(VIRIDIS[low]), hexOf(VIRIDIS[low + 1])];
  return `rgb(${from.map((value, k) => Math.round(value + (to[k] - value) * (at - low))).join(",")})`;
}

// A number for reading: as many digits as are needed to tell values apart that are `unit` from each other.
function shown(value, unit = 0) {
  if (value === null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  let text;
  if (unit > 0 && size < 1e6) text = value.toFixed(Math.max(0, Math.min(8, -Math.floor(Math.log10(unit)))));
  else if (size !== 0 && (size >= 1e5 || size < 1e-3)) text = value.toExponential(2);
  else text = String(Number(value.toPrecision(4)));
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", MINUS);
}

class Designs {
  constructor(event) {
    this.event = event;
    this.kind = event.kind;
    this.size = event.shape.reduce((product, side) => product * side, 1);
    this.columns = event.columns ?? [];
    if (this.kind === "image") [this.channels, this.height, this.width] = event.shape;
    this.aspect = this.kind === "image" ? this.width / this.height : this.kind === "curve" ? 1.6 : 1;
    [this.low, this.high] = event.range;
    this.areWide = this.kind !== "image";
  }

  // Many designs, ready to be drawn one by one.
  sheet(values, count = values.length / this.size) {
    if (this.kind !== "image") return { count, draw: (context, i, box) => this._glyph(context, values, i * this.size, box) };
    const across = Math.max(1, Math.ceil(Math.sqrt(count)));
    const canvas = document.createElement("canvas");
    canvas.width = across * this.width;
    canvas.height = Math.max(1, Math.ceil(count / across)) * this.height;
    const picture = new ImageData(canvas.width, canvas.height);
    for (let i = 0; i < count; i++) this._pixels(picture, values, i * this.size, (i % across) * this.width, Math.floor(i / across) * this.height);
    canvas.getContext("2d").putImageData(picture, 0, 0);
    return { count, draw: tileOf(canvas, across, this.width, this.height) };
  }

  // The real examples: of images one picture, else values.
  async examples(rows) {
    if (this.kind !== "image") {
      const values = Bytes.floats(rows.values);
      return { ...this.sheet(values), values };
    }
    const { data, type, across, width, height } = rows.picture;
    const picture = await createImageBitmap(new Blob([Bytes.of(data)], { type }));
    return { count: rows.count, draw: tileOf(picture, across, width, height), values: null };
  }

  _pixels(picture, values, start, left, top) {
    const area = this.width * this.height;
    const factor = 255 / (this.high - this.low || 1);
    for (let row = 0; row < this.height; row++) {
      let at = 4 * ((top + row) * picture.width + left);
      for (let column = 0; column < this.width; column++, at += 4) {
        const place = start + row * this.width + column;
        for (let channel = 0; channel < 3; channel++) {
          const value = values[place + (this.channels === 3 ? channel * area : 0)];
          picture.data[at + channel] = (value - this.low) * factor + 0.5; // clamped by its type
        }
        picture.data[at + 3] = 255;
      }
    }
  }

  _glyph(context, values, start, { x, y, w, h }) {
    context.fillStyle = Theme.colours.panel;
    context.fillRect(x, y, w, h);
    if (this.kind === "curve") this._curve(context, values, start, { x: x + 3, y: y + 3, w: w - 6, h: h - 6 }, Theme.colours.accent, w > 160 ? 2 : 1.4);
    else this._bars(context, values, start, { x: x + 3, y: y + 3, w: w - 6, h: h - 6 });
  }

  // One bar a column, from the least to the greatest value of the data.
  _bars(context, values, start, { x, y, w, h }) {
    const count = Math.min(this.size, Math.max(1, Math.floor(h / 3)));
    const step = h / count;
    for (let k = 0; k < count; k++) {
      const share = this.share(k, values[start + k]);
      context.fillStyle = Theme.colours.line;
      context.fillRect(x, y + k * step, w, Math.max(1, step - 1));
      if (share === null) continue;
      context.fillStyle = Theme.colours.accent;
      context.fillRect(x, y + k * step, Math.max(1, w * share), Math.max(1, step - 1));
    }
  }

  _curve(context, values, start, { x, y, w, h }, colour, width) {
    const places = this.event.places;
    const first = places[0];
    const whole = places.at(-1) - first || 1;
    const height = this.high - this.low || 1;
    context.beginPath();
    let drawing = false;
    for (let k = 0; k < this.size; k++) {
      const value = values[start + k];
      if (!Number.isFinite(value)) {
        drawing = false;
        continue;
      }
      const at = [x + ((places[k] - first) / whole) * w, y + h - ((Math.max(this.low, Math.min(this.high, value)) - this.low) / height) * h];
      drawing ? context.lineTo(...at) : context.moveTo(...at);
      drawing = true;
    }
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.stroke();
  }

  // Where a value lies between the least and the greatest of its column, in [0, 1]; null for a missing one.
  share(column, value) {
    if (!Number.isFinite(value)) return null;
    const { low, high } = this.columns[column];
    return high > low ? Math.max(0, Math.min(1, (value - low) / (high - low))) : 0.5;
  }

  // A value of a column as a table holds it: whole numbers and categories are rounded.
  tidy(column, value) {
    const { kind, categories, whole, low, high } = this.columns[column];
    if (!Number.isFinite(value)) return NaN;
    if (categories.length) return Math.max(0, Math.min(categories.length - 1, Math.round(value)));
    if (kind === "count") return Math.max(0, Math.round(value));
    return this.event.columns.some((item) => item.kind !== "real") ? Math.max(low, Math.min(high, whole ? Math.round(value) : value)) : value;
  }

  text(column, value) {
    const { categories, low, high, whole, kind } = this.columns[column];
    const tidy = this.tidy(column, value);
    if (!Number.isFinite(tidy)) return "missing";
    if (categories.length) return categories[tidy];
    if (whole && kind !== "real") return shown(tidy, 1);
    return shown(tidy, (high - low) / 500 || 0);
  }

  // The design as rows of a .csv file.
  cells(values) {
    if (this.kind !== "image") {
      const row = this.columns.map((column, k) => {
        const value = this.tidy(k, values[k]);
        return column.categories.length && Number.isFinite(value) ? column.categories[value] : float32Text(value);
      });
      return [this.columns.map((column) => column.full), row];
    }
    const names = this.channels === 3 ? ["red", "green", "blue"] : ["value"];
    const area = this.width * this.height;
    const rows = [["row", "column", ...names]];
    for (let i = 0; i < area; i++) rows.push([Math.floor(i / this.width), i % this.width, ...names.map((_, c) => float32Text(values[c * area + i]))]);
    return rows;
  }

  // A curve with its axes, and another one to compare it with.
  plot(context, values, other, { w, h }) {
    const { soft, line, accent, second } = Theme.colours;
    const box = { x: 44, y: 8, w: w - 52, h: h - 30 };
    context.clearRect(0, 0, w, h);
    context.font = Theme.font(11);
    context.fillStyle = soft;
    context.strokeStyle = line;
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const value of ticks(this.low, this.high, 4)) {
      const y = Math.round(box.y + box.h - ((value - this.low) / (this.high - this.low || 1)) * box.h) + 0.5;
      context.beginPath();
      context.moveTo(box.x, y);
      context.lineTo(box.x + box.w, y);
      context.stroke();
      context.fillText(shown(value), box.x - 6, y);
    }
    const places = this.event.places;
    context.textBaseline = "top";
    for (const [value, align] of [[places[0], "left"], [places.at(-1), "right"]]) {
      context.textAlign = align;
      context.fillText(shown(value), align === "left" ? box.x : box.x + box.w, box.y + box.h + 7);
    }
    if (other) this._curve(context, other, 0, box, second, 1.5);
    this._curve(context, values, 0, box, accent, 2);
  }
}

function tileOf(picture, across, width, height) {
  return (context, i, { x, y, w, h }) => {
    context.imageSmoothingEnabled = w < width;
    context.drawImage(picture, (i % across) * width, Math.floor(i / across) * height, width, height, x, y, w, h);
  };
}

// Round numbers from low to high, about `count` of them.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

// A canvas of w x h CSS pixels, sharp on any screen.
function prepare(canvas, w, h) {
  const ratio = Math.min(3, window.devicePixelRatio || 1);
  const [width, height] = [Math.max(1, Math.round(w * ratio)), Math.max(1, Math.round(h * ratio))];
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  canvas.style.width = `${w}px`;
  canvas.style.height = `${h}px`;
  const context = canvas.getContext("2d");
  context.setTransform(width / w, 0, 0, height / h, 0, 0);
  return context;
}

// The largest box of an aspect that fits into w x h, centred.
function fitted(aspect, w, h, x = 0, y = 0) {
  const width = Math.min(w, h * aspect);
  const height = width / aspect;
  return { x: x + (w - width) / 2, y: y + (h - height) / 2, w: width, h: height };
}

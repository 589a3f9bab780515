// The map: a plane of latent space with the data on it. What stands still is drawn once; what moves, on a second canvas.

class LatentMap {
  // `on` has follow(z), leave() and choose(z); without it the map only shows.
  constructor(host, world, on = null) {
    Object.assign(this, { host, world, on });
    this.still = document.createElement("canvas");
    this.moving = document.createElement("canvas");
    this.still.className = "still";
    this.moving.className = "moving";
    this.still.setAttribute("aria-hidden", "true");
    host.classList.add("map");
    host.append(this.still, this.moving);
    this.look = { plane: null, colour: null, marks: "dots", fog: true, only: -1 };
    if (on) this._listen();
  }

  _listen() {
    const here = (event) => {
      const frame = this.moving.getBoundingClientRect();
      return this.look.plane.at(this.toPlane(event.clientX - frame.left, event.clientY - frame.top), this.on.about());
    };
    this.moving.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse" || event.buttons) this.on.follow(here(event));
    });
    this.moving.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.on.leave());
    this.moving.addEventListener("pointerdown", (event) => {
      this.moving.focus({ preventScroll: true });
      this._down = [event.clientX, event.clientY];
      if (event.pointerType !== "mouse") {
        this.moving.setPointerCapture(event.pointerId);
        this.on.follow(here(event));
      }
    });
    this.moving.addEventListener("pointerup", (event) => {
      if (event.button !== 0) return;
      if (event.pointerType === "mouse") this.on.choose(here(event));
      else this.on.keep(here(event));
    });
  }

  // What stands still; draws only what has changed.
  show(look) {
    const w = this.host.clientWidth;
    const h = this.host.clientHeight;
    if (!w || !h) return;
    const key = [w, h, Theme.dark, look.plane.names, look.colour?.name, look.marks, look.fog, look.only, devicePixelRatio].join("|");
    this.look = look;
    if (key === this._key && look.plane === this._plane) return;
    Object.assign(this, { _key: key, _plane: look.plane, w, h });
    this._locate();
    this._drawStill();
  }

  _locate() {
    const { cloud } = this.world;
    const points = new Float32Array(2 * cloud.count);
    for (let i = 0; i < cloud.count; i++) [points[2 * i], points[2 * i + 1]] = this.look.plane.place(cloud.means, i * cloud.dim);
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < cloud.count; i++) {
      x0 = Math.min(x0, points[2 * i]);
      x1 = Math.max(x1, points[2 * i]);
      y0 = Math.min(y0, points[2 * i + 1]);
      y1 = Math.max(y1, points[2 * i + 1]);
    }
    const room = { left: 34, right: 10, top: 10, bottom: 26 };
    const scale = Math.min((this.w - room.left - room.right) / ((x1 - x0) * 1.12 || 1), (this.h - room.top - room.bottom) / ((y1 - y0) * 1.12 || 1));
    this.points = points;
    this.scale = scale;
    this.middle = [(x0 + x1) / 2, (y0 + y1) / 2];
    this.centre = [(this.w + room.left - room.right) / 2, (this.h + room.top - room.bottom) / 2];
    const [left, top] = this.toPlane(0, 0);
    const [right, bottom] = this.toPlane(this.w, this.h);
    this.box = { x0: left, x1: right, y0: bottom, y1: top };
  }

  toPlane(x, y) {
    return [this.middle[0] + (x - this.centre[0]) / this.scale, this.middle[1] - (y - this.centre[1]) / this.scale];
  }

  toScreen(x, y) {
    return [this.centre[0] + (x - this.middle[0]) * this.scale, this.centre[1] - (y - this.middle[1]) * this.scale];
  }

  _drawStill() {
    const context = prepare(this.still, this.w, this.h);
    context.fillStyle = Theme.colours.lit;
    context.fillRect(0, 0, this.w, this.h);
    if (this.look.fog) this._drawFog(context);
    this._drawAxes(context);
    if (this.look.marks === "pictures") this._drawPictures(context);
    else this._drawDots(context);
    prepare(this.moving, this.w, this.h);
  }

  _drawFog(context) {
    const size = 96;
    const density = densityOf(this.points, this.box, size);
    const small = document.createElement("canvas");
    small.width = small.height = size;
    const picture = new ImageData(size, size);
    const [r, g, b] = hexOf(Theme.colours.fog);
    for (let row = 0; row < size; row++) {
      for (let column = 0; column < size; column++) {
        const t = Math.max(0, Math.min(1, (density[row * size + column] - 0.01) / 0.16));
        picture.data.set([r, g, b, 255 * (1 - t * t * (3 - 2 * t))], 4 * ((size - 1 - row) * size + column));
      }
    }
    small.getContext("2d").putImageData(picture, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, this.w, this.h);
  }

  _drawAxes(context) {
    const { soft, line } = Theme.colours;
    context.font = Theme.font(11);
    context.fillStyle = soft;
    context.strokeStyle = line;
    context.lineWidth = 1;
    context.textBaseline = "alphabetic";
    const count = Math.max(3, Math.round(this.w / 110));
    context.textAlign = "center";
    for (const value of ticks(this.box.x0, this.box.x1, count)) {
      const x = Math.round(this.toScreen(value, 0)[0]) + 0.5;
      if (x < 30 || x > this.w - 10) continue;
      context.beginPath();
      context.moveTo(x, this.h - 22);
      context.lineTo(x, this.h - 18);
      context.stroke();
      context.fillText(shown(value), x, this.h - 7);
    }
    context.textAlign = "right";
    context.textBaseline = "middle";
    if (this.look.plane.second) {
      for (const value of ticks(this.box.y0, this.box.y1, Math.max(3, Math.round(this.h / 110)))) {
        const y = Math.round(this.toScreen(0, value)[1]) + 0.5;
        if (y < 22 || y > this.h - 26) continue;
        context.beginPath();
        context.moveTo(30, y);
        context.lineTo(34, y);
        context.stroke();
        context.fillText(shown(value), 27, y);
      }
    }
    const [first, second] = this.look.plane.names;
    context.font = Theme.font(11.5, 600);
    context.textAlign = "right";
    context.fillText(first, this.w - 10, this.h - 33);
    context.textAlign = "left";
    if (second) context.fillText(second, 10, 14);
  }

  _drawDots(context) {
    const { cloud } = this.world;
    const { colour, only } = this.look;
    const radius = Math.max(1.6, Math.min(3.4, 3.9 - Math.log10(cloud.count) / 2 + this.w / 1500));
    context.lineWidth = 0;
    for (let pass = only >= 0 ? 0 : 1; pass < 2; pass++) {
      for (let i = 0; i < cloud.count; i++) {
        const isShown = only < 0 || colour.group(i) === only;
        if ((pass === 1) !== isShown) continue;
        const [x, y] = this.toScreen(this.points[2 * i], this.points[2 * i + 1]);
        context.globalAlpha = pass === 0 ? 0.12 : 0.8;
        context.fillStyle = colour ? colour.of(i) : Theme.colours.accent;
        context.beginPath();
        context.arc(x, y, radius, 0, 6.2832);
        context.fill();
      }
    }
    context.globalAlpha = 1;
  }

  // Thumbnails where there is room for them: the first in the seeded order of the rows takes the place.
  _drawPictures(context) {
    const { cloud, designs, examples } = this.world;
    const { colour, only } = this.look;
    const side = Math.max(20, Math.min(44, this.w / 22));
    const [w, h] = designs.aspect >= 1 ? [side, side / designs.aspect] : [side * designs.aspect, side];
    const step = [w + 5, h + 5];
    const taken = new Set();
    const order = this.world.order;
    for (const i of order) {
      if (only >= 0 && colour.group(i) !== only) continue;
      const [x, y] = this.toScreen(this.points[2 * i], this.points[2 * i + 1]);
      const cell = [Math.round(x / step[0]), Math.round(y / step[1])];
      const name = cell.join(" ");
      if (taken.has(name)) continue;
      taken.add(name);
      const box = { x: Math.round(cell[0] * step[0] - w / 2), y: Math.round(cell[1] * step[1] - h / 2), w, h };
      if (box.x < 36 || box.y < 22 || box.x + w > this.w - 4 || box.y + h > this.h - 24) continue;
      examples.draw(context, i, box);
      if (colour) {
        context.strokeStyle = colour.of(i);
        context.lineWidth = 2;
        context.strokeRect(box.x - 1, box.y - 1, w + 2, h + 2);
      }
    }
  }

  // What moves: the point, its nearest example, pins and a way.
  mark({ z, near = -1, pins = [], way = null, chosen = [] }) {
    if (!this.points) return;
    const { ink, card, accent, second } = Theme.colours;
    const context = this.moving.getContext("2d");
    context.clearRect(0, 0, this.w, this.h);
    const where = (point) => this.toScreen(...this.look.plane.place(point));
    if (way) {
      context.beginPath();
      way.forEach((point, i) => (i ? context.lineTo(...where(point)) : context.moveTo(...where(point))));
      for (const [colour, width] of [[card, 6], [accent, 2.5]]) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.lineJoin = "round";
        context.stroke();
      }
    }
    const [x, y] = where(z);
    if (near >= 0) {
      const [u, v] = this.toScreen(this.points[2 * near], this.points[2 * near + 1]);
      context.strokeStyle = ink;
      context.globalAlpha = 0.55;
      context.lineWidth = 1;
      context.setLineDash([3, 3]);
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(u, v);
      context.stroke();
      context.setLineDash([]);
      context.globalAlpha = 1;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(u, v, 6, 0, 6.2832);
      context.stroke();
    }
    pins.forEach((pin, i) => this._drawPin(context, where(pin), String(chosen.length ? (chosen[i] ?? "") : i + 1)));
    for (const [colour, width] of [[card, 5], [second, 2.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, 8, 0, 6.2832);
      for (const [a, b] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 8 * a, y + 8 * b);
        context.lineTo(x + 14 * a, y + 14 * b);
      }
      context.stroke();
    }
  }

  _drawPin(context, [x, y], text) {
    const { ink, card } = Theme.colours;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x - 4, y - 8);
    context.lineTo(x + 4, y - 8);
    context.closePath();
    context.arc(x, y - 15, 9, 0, 6.2832);
    context.fillStyle = ink;
    context.strokeStyle = card;
    context.lineWidth = 2;
    context.stroke();
    context.fill();
    context.fillStyle = card;
    context.font = Theme.font(11, 700);
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(text, x, y - 14.5);
  }
}

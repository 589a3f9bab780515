// Curved spaces of latents: what lies in them, between two points, and a globe or a disc as the plane of the map.

/**
 * @import { Latents, Place, Point } from "./types.js"
 * @import { Cloud } from "./geometry.js"
 */

import { Plane, between as straight } from "./geometry.js";
import { t } from "./words.js";

const RIM = 240; // corners of a circle
const EVERY = 30; // degrees between the lines of a globe
const DEGREE = Math.PI / 180;
const GLOBE = /^globe:(-?\d{1,3}):(-?\d{1,2})$/;

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} b */
const product = (a, b) => Array.from(a).reduce((sum, value, k) => sum + value * b[k], 0);

/** @param {ArrayLike<number>} a */
const length = (a) => Math.sqrt(product(a, a));

// Flat latents: all points are theirs.
class Flat {
  /** @param {Point} z */
  nearest(z) {
    return z;
  }

  /**
   * The point with another value of one latent, the others as near to what they were as they can be.
   *
   * @param {Point} z
   * @param {number} k
   * @param {number} value
   */
  moved(z, k, value) {
    const point = z.slice();
    point[k] = value;
    return point;
  }

  /**
   * The point at a share of the shortest way.
   *
   * @param {Point} a
   * @param {Point} b
   * @param {number} share
   */
  between(a, b, share) {
    return straight(a, b, share);
  }
}

// The unit sphere: its shortest ways are arcs of great circles, and along one it comes nearer to an axis.
class Sphere {
  /** @param {Point} z */
  nearest(z) {
    const size = length(z);
    if (size > 1e-9) return z.map((value) => value / size);
    return z.map((_, k) => (k ? 0 : 1));
  }

  /**
   * @param {Point} z
   * @param {number} k
   * @param {number} value
   */
  moved(z, k, value) {
    const height = Math.max(-1, Math.min(1, value));
    const rest = z.map((other, i) => (i === k ? 0 : other));
    if (length(rest) < 1e-9) rest[k ? 0 : 1] = 1;
    const factor = Math.sqrt(1 - height * height) / length(rest);
    return rest.map((other, i) => (i === k ? height : factor * other));
  }

  /**
   * @param {Point} a
   * @param {Point} b
   * @param {number} share
   */
  between(a, b, share) {
    const angle = Math.acos(Math.max(-1, Math.min(1, product(a, b))));
    const sine = Math.sin(angle);
    if (sine < 1e-6) return this.nearest(straight(a, b, share));
    const [first, second] = [Math.sin((1 - share) * angle) / sine, Math.sin(share * angle) / sine];
    return a.map((value, k) => first * value + second * b[k]);
  }
}

// Hyperbolic space as the Poincaré ball: its shortest ways are arcs that meet its edge squarely.
class Ball {
  /** @param {number} radius */
  constructor(radius) {
    this.radius = radius;
  }

  /** @param {Point} z */
  nearest(z) {
    const size = length(z) / this.radius;
    const most = Math.tanh(8);
    return size > most ? z.map((value) => (value * most) / size) : z;
  }

  /**
   * @param {Point} z
   * @param {number} k
   * @param {number} value
   */
  moved(z, k, value) {
    const point = z.slice();
    point[k] = value;
    return this.nearest(point);
  }

  /**
   * x (+) y of Möbius: where y comes to lie when the origin is moved to x.
   *
   * @param {Point} x
   * @param {Point} y
   */
  _added(x, y) {
    const c = 1 / this.radius ** 2;
    const [xy, xx, yy] = [c * product(x, y), c * product(x, x), c * product(y, y)];
    const below = 1 + 2 * xy + xx * yy;
    return x.map((value, k) => ((1 + 2 * xy + yy) * value + (1 - xx) * y[k]) / below);
  }

  /**
   * @param {Point} a
   * @param {Point} b
   * @param {number} share
   */
  between(a, b, share) {
    const [from, to] = [Float64Array.from(a), Float64Array.from(b)];
    const way = this._added(/** @type {any} */ (from.map((value) => -value)), /** @type {any} */ (to));
    const size = length(way) / this.radius;
    if (size < 1e-12) return Float32Array.from(a);
    const shorter = Math.tanh(share * Math.atanh(Math.min(size, 1 - 1e-15))) / size;
    return Float32Array.from(
      this._added(/** @type {any} */ (from), /** @type {any} */ (way.map((value) => value * shorter))),
    );
  }
}

/** @param {Latents} latents */
export function spaceOf({ space }) {
  if (space?.kind === "sphere") return new Sphere();
  return space?.kind === "ball" ? new Ball(space.radius) : new Flat();
}

/** @param {number} radius @returns {Place[]} */
function circle(radius) {
  return Array.from({ length: RIM + 1 }, (_, i) => {
    const angle = (2 * Math.PI * i) / RIM;
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  });
}

// A sphere as it is seen from afar. Of one with more than three numbers it is that of the three axes along which the
// examples lie furthest apart, and what a point has beside them stays.
export class Globe extends Plane {
  /**
   * @param {number[][]} axes three of length 1, at right angles
   * @param {number} turn degrees about the upright axis
   * @param {number} tilt degrees towards the eye
   */
  constructor(axes, turn, tilt) {
    const [sine, cosine] = [Math.sin(turn * DEGREE), Math.cos(turn * DEGREE)];
    const [up, along] = [Math.sin(tilt * DEGREE), Math.cos(tilt * DEGREE)];
    const mixed = (/** @type {number} */ a, /** @type {number} */ b, /** @type {number} */ c) =>
      axes[0].map((value, k) => a * value + b * axes[1][k] + c * axes[2][k]);
    const names = axes[0].length > 3 ? [t`the three principal axes`, ""] : ["", ""];
    super(mixed(-sine, cosine, 0), mixed(-up * cosine, -up * sine, along), new Float64Array(axes[0].length), names);
    this.towards = mixed(along * cosine, along * sine, up);
    this.axes = axes;
    this.isCurved = true;
  }

  /** @param {string} name */
  static parts(name) {
    const [, turn, tilt] = GLOBE.exec(name) ?? [];
    return turn === undefined ? null : { turn: Number(turn), tilt: Number(tilt) };
  }

  /**
   * How far before the middle of the globe a point lies.
   *
   * @param {ArrayLike<number>} z
   */
  depth(z, start = 0) {
    let sum = 0;
    for (let k = 0; k < this.dim; k++) sum += z[start + k] * this.towards[k];
    return sum;
  }

  // Of examples behind the globe there is no place.
  /** @param {Cloud} cloud */
  _placed(cloud) {
    const places = super._placed(cloud);
    for (let i = 0; i < cloud.count; i++) {
      if (this.depth(cloud.means, i * cloud.dim) < 0) places.fill(Number.NaN, 2 * i, 2 * i + 2);
    }
    return places;
  }

  /**
   * The point of the near side; beside the globe, that of its edge.
   *
   * @param {Place} place
   * @param {ArrayLike<number>} about
   */
  at([x, y], about) {
    const inAxes = this.axes.map((axis) => product(axis, about));
    const inside = this.dim > 3 ? length(inAxes) : 1;
    const size = Math.max(inside, 1e-3);
    const far = Math.hypot(x, y) / size;
    const [u, v] = far > 1 ? [x / far, y / far] : [x, y];
    const w = Math.sqrt(Math.max(0, size * size - u * u - v * v));
    return Float32Array.from({ length: this.dim }, (_, k) => {
      const rest = this.dim > 3 ? about[k] - inAxes.reduce((sum, value, a) => sum + value * this.axes[a][k], 0) : 0;
      return rest + u * this.first[k] + v * this.second[k] + w * this.towards[k];
    });
  }

  /** What the frame holds, and is drawn below the examples: the edge, and lines of equal height and turn. */
  lines() {
    const lines = [circle(1)];
    const [east, north, up] = this.axes;
    const point = (/** @type {number} */ turn, /** @type {number} */ height) =>
      east.map(
        (value, k) =>
          Math.cos(height) * (Math.cos(turn) * value + Math.sin(turn) * north[k]) + Math.sin(height) * up[k],
      );
    const visible = (/** @type {number[][]} */ points) => {
      /** @type {Place[]} */
      let line = [];
      for (const z of points) {
        if (this.depth(z) >= 0) line.push(this.place(z));
        else if (line.length) line = lines[lines.push(line) - 1] && [];
      }
      if (line.length) lines.push(line);
    };
    for (let degree = 0; degree < 360; degree += EVERY) {
      visible(Array.from({ length: 61 }, (_, i) => point(degree * DEGREE, (i * 3 - 90) * DEGREE)));
    }
    for (let degree = EVERY - 90; degree < 90; degree += EVERY) {
      visible(Array.from({ length: 121 }, (_, i) => point(i * 3 * DEGREE, degree * DEGREE)));
    }
    return lines;
  }
}

// The Poincaré disc: the latents as they are, within its edge.
export class Disc extends Plane {
  /** @param {number} radius */
  constructor(radius) {
    super(Float64Array.of(1, 0), Float64Array.of(0, 1), new Float64Array(2), ["z1", "z2"]);
    this.ball = new Ball(radius);
    this.isCurved = true;
  }

  /** @param {Place} place */
  at(place) {
    return this.ball.nearest(Float32Array.from(place));
  }

  /** The edge, and circles at every second unit of distance from the origin. */
  lines() {
    const { radius } = this.ball;
    return [radius, ...[2, 4, 6].map((distance) => radius * Math.tanh(distance / 2))].map(circle);
  }
}

/**
 * The name of the plane that is shown first of a curved space; none of others.
 *
 * @param {Latents} latents
 */
export function firstCurved({ space, dim }) {
  if (space?.kind === "sphere" && space.axes) return "globe:30:20";
  return space?.kind === "ball" && dim === 2 ? "disc" : null;
}

/**
 * The plane of such a name; null for another name.
 *
 * @param {string} name
 * @param {Latents} latents
 */
export function curvedPlane(name, latents) {
  const first = firstCurved(latents);
  const turned = Globe.parts(name);
  if (turned && first?.startsWith("globe")) return new Globe(latents.space.axes, turned.turn, turned.tilt);
  return name === "disc" && first === "disc" ? new Disc(latents.space.radius) : null;
}

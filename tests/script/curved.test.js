// Curved spaces: shortest ways by their defining properties, and a globe whose places and points are each other's.

import assert from "node:assert/strict";
import { test } from "node:test";

import { curvedPlane, firstCurved, spaceOf } from "../../src/variform/pages/script/curved.js";
import { Cloud } from "../../src/variform/pages/script/geometry.js";

const UNIT = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
];
const SPHERE = { dim: 3, order: [0, 1, 2], space: { kind: "sphere", radius: 1, axes: UNIT } };
const BALL = { dim: 2, order: [0, 1], space: { kind: "ball", radius: 2, axes: null } };

const near = (/** @type {ArrayLike<number>} */ a, /** @type {ArrayLike<number>} */ b, within = 1e-5) => {
  assert.equal(a.length, b.length);
  for (let k = 0; k < a.length; k++)
    assert.ok(Math.abs(a[k] - b[k]) < within, `${Array.from(a)} is not ${Array.from(b)}`);
};

// The textbook's distance on the ball of radius r, by the inverse hyperbolic cosine.
const far = (/** @type {ArrayLike<number>} */ a, /** @type {ArrayLike<number>} */ b) => {
  const [ax, ay, bx, by] = [a[0], a[1], b[0], b[1]].map((value) => value / 2);
  const gap = (ax - bx) ** 2 + (ay - by) ** 2;
  return 2 * Math.acosh(1 + (2 * gap) / ((1 - ax ** 2 - ay ** 2) * (1 - bx ** 2 - by ** 2)));
};

test("the shortest way on a sphere keeps its length and its speed", () => {
  const sphere = spaceOf(SPHERE);
  const [a, b] = [Float32Array.of(1, 0, 0), Float32Array.of(0, 0.6, 0.8)];
  near(sphere.between(a, b, 0.5), [Math.SQRT1_2, 0.6 * Math.SQRT1_2, 0.8 * Math.SQRT1_2]);
  near(sphere.between(a, b, 1 / 3), [Math.cos(Math.PI / 6), 0.3, 0.4]);
  near(sphere.between(a, b, 1), b);
  near(sphere.nearest(Float32Array.of(0, 3, 4)), b);
  near(sphere.moved(b, 0, 0.6), [0.6, 0.48, 0.64]);
});

test("the shortest way on the ball is as long as its parts", () => {
  const ball = spaceOf(BALL);
  const [a, b] = [Float32Array.of(1.5, 0.2), Float32Array.of(-0.3, 1.2)];
  for (const share of [0, 0.25, 0.7, 1]) {
    const z = ball.between(a, b, share);
    assert.ok(Math.abs(far(a, z) - share * far(a, b)) < 1e-4);
    assert.ok(Math.abs(far(z, b) - (1 - share) * far(a, b)) < 1e-4);
  }
  const outside = ball.nearest(Float32Array.of(30, 40));
  assert.ok(Math.hypot(...outside) < 2 && outside[0] > 1.19);
});

test("a place on the near side of a globe is the point that stands there, and the far side is hidden", () => {
  const globe = curvedPlane("globe:30:20", SPHERE);
  const z = globe.at([0.3, -0.5], [1, 0, 0]);
  near([Math.hypot(...z)], [1]);
  near(globe.place(z), [0.3, -0.5]);
  assert.ok(globe.depth(z) > 0);
  near([Math.hypot(...globe.place(globe.at([3, 4], [1, 0, 0])))], [1]);
  const behind = z.map((value) => -value);
  const places = globe.placesOf(new Cloud(Float32Array.of(...z, ...behind), 3));
  near(places.slice(0, 2), [0.3, -0.5]);
  assert.ok(Number.isNaN(places[2]) && Number.isNaN(places[3]));
  for (const line of globe.lines()) for (const [x, y] of line) assert.ok(Math.hypot(x, y) < 1 + 1e-9);
});

test("of a sphere with more numbers the globe turns three and leaves the others", () => {
  const axes = [
    [1, 0, 0, 0],
    [0, 1, 0, 0],
    [0, 0, 1, 0],
  ];
  const latents = { dim: 4, order: [0, 1, 2, 3], space: { kind: "sphere", radius: 1, axes } };
  const globe = curvedPlane("globe:0:0", latents);
  const z = globe.at([0.2, 0.3], [0.5, 0.5, 0.5, 0.5]);
  near([z[3], Math.hypot(...z)], [0.5, 1]);
  near(globe.place(z), [0.2, 0.3]);
});

test("planes of curved spaces are known by their names", () => {
  assert.equal(firstCurved(SPHERE), "globe:30:20");
  assert.equal(firstCurved(BALL), "disc");
  assert.equal(firstCurved({ dim: 2, order: [0, 1], space: null }), null);
  assert.equal(curvedPlane("globe:30:20", BALL), null);
  assert.equal(curvedPlane("0,1", SPHERE), null);
  near(curvedPlane("disc", BALL).at([0.5, 0.5]), [0.5, 0.5]);
});

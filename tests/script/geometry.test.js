// Geometry against answers that are known beforehand.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  between,
  Cloud,
  densityOf,
  distanceOf,
  Picture,
  Plane,
  straightWay,
  wayAlongData,
} from "../../src/variform/pages/script/geometry.js";
import { normalQuantile, normals, shuffled } from "../../src/variform/pages/script/random.js";

const near = (found, expected, tolerance = 1e-6) => {
  assert.equal(found.length, expected.length);
  found.forEach((value, k) => {
    assert.ok(Math.abs(value - expected[k]) <= tolerance, `${[...found]} is not ${[...expected]}`);
  });
};
const cloudOf = (...points) => new Cloud(Float32Array.from(points.flat()), points[0].length);

test("a plane of two latents places them, and changes nothing else", () => {
  const plane = Plane.named("2,0", { dim: 3 }, null);
  assert.deepEqual(plane.names, ["z3", "z1"]);
  near(plane.place([5, 6, 7]), [7, 5]);
  near(plane.at([-1, 2], [5, 6, 7]), [2, 6, -1]);
});

test("a plane of principal components leads back to where its place was", () => {
  const pca = {
    axes: [
      [0.6, 0.8, 0],
      [-0.8, 0.6, 0],
    ],
    centre: [1, 2, 3],
    shares: [0.75, 0.2],
  };
  const plane = Plane.named("pca", { dim: 3 }, pca);
  assert.deepEqual(plane.names, ["PC1 of the posterior means (75%)", "PC2 of the posterior means (20%)"]);
  near(plane.place([1, 2, 9]), [0, 0]);
  near(plane.place([2.2, 3.6, 9]), [2, 0]);
  near(plane.place(plane.at([0.3, -0.4], [4, 5, 6])), [0.3, -0.4]);
  near(plane.at([0.3, -0.4], [4, 5, 6]).slice(2), [6]);
});

test("an address names a plane that there is, or none", () => {
  const pca = { axes: [], centre: [], shares: [] };
  assert.equal(Plane.first({ dim: 1, order: [0] }, null), "0,1");
  assert.equal(Plane.first({ dim: 4, order: [2, 0, 1, 3] }, null), "2,0");
  assert.equal(Plane.first({ dim: 4, order: [2, 0, 1, 3] }, pca), "pca");
  const known = ["pca", "0,3", "3,0", "0,0", "0,4", "0,1,2", "x", ""].filter((name) =>
    Plane.isKnown(name, { dim: 4 }, pca),
  );
  assert.deepEqual(known, ["pca", "0,3", "3,0"]);
  assert.ok(!Plane.isKnown("pca", { dim: 4 }, null));
});

test("the nearest row is found, also among those of a group", () => {
  const cloud = cloudOf([0, 0], [3, 4], [6, 8]);
  assert.deepEqual(cloud.nearest([3, 3]), { index: 1, distance: 1 });
  assert.deepEqual(cloud.nearest([0, 0], [1, 2, 2], 2), { index: 1, distance: 5 });
  assert.equal(cloud.nearest([0, 0], [1, 2, 2], 3).index, -1);
  near(cloud.middle(), [3, 4]);
});

test("where all examples lie at one place nothing else is among them", () => {
  // A distance is usual by those between neighbours at different places; with none, no distance is usual.
  assert.equal(cloudOf([1, 1], [1, 1], [1, 1]).strangeness(0), 0);
  assert.ok(cloudOf([1, 1], [1, 1], [1, 1]).strangeness(0.1) > 3);
  assert.equal(cloudOf([0, 0], [0, 0], [3, 4], [3, 4]).strangeness(2.5), 0.5);
  assert.ok(cloudOf([1, 1]).strangeness(0.1) > 3); // a single row
});

test("a straight way has equal steps from its first to its last point", () => {
  const way = straightWay([0, 0], [3, 4], 6);
  near(way[0], [0, 0]);
  near(way[5], [3, 4]);
  for (let i = 1; i < 6; i++) assert.ok(Math.abs(distanceOf(way[i], way[i - 1]) - 1) < 1e-6);
  near(between([0, 2], [4, 0], 0.25), [1, 1.5]);
});

test("a way along the data follows a half circle that the straight way cuts", () => {
  const angles = Array.from({ length: 200 }, (_, i) => (Math.PI * (i + 0.5)) / 200);
  const cloud = cloudOf(...angles.map((angle) => [Math.cos(angle), Math.sin(angle)]));
  const way = wayAlongData(cloud, Float32Array.of(1, 0), Float32Array.of(-1, 0), 31);
  near(way[0], [1, 0]);
  near(way[30], [-1, 0]);
  for (const z of way) assert.ok(Math.abs(Math.hypot(...z) - 1) < 0.03);
  const steps = way.slice(1).map((z, i) => distanceOf(z, way[i]));
  assert.ok(Math.max(...steps) / Math.min(...steps) < 1.05);
});

test("the density is 1 where points are dense and 0 far from them", () => {
  const points = Float32Array.from({ length: 400 }, (_, i) => (i % 2 ? 0.75 : 0.25) + 0.01 * Math.sin(i));
  const density = densityOf(points, { x0: 0, x1: 1, y0: 0, y1: 1 }, 32);
  assert.equal(density[24 * 32 + 8], 1); // at x 0.25, y 0.75
  assert.equal(density[8 * 32 + 24], 0);
});

test("quantiles of N(0, 1) are those of tables", () => {
  const known = [
    [0.5, 0],
    [0.975, 1.959963984540054],
    [0.01, -2.3263478740408408],
    [0.999, 3.090232306167813],
  ];
  for (const [share, quantile] of known) assert.ok(Math.abs(normalQuantile(share) - quantile) < 1e-8);
});

test("draws follow their seed and N(0, 1)", () => {
  const drawn = normals(20_000, 3);
  assert.deepEqual(drawn, normals(20_000, 3));
  assert.notDeepEqual(drawn.slice(0, 9), normals(9, 4));
  const mean = drawn.reduce((sum, value) => sum + value, 0) / 20_000;
  const variance = drawn.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 20_000;
  assert.ok(Math.abs(mean) < 0.03 && Math.abs(variance - 1) < 0.05); // the seeds are fixed: it holds or not
  assert.deepEqual(
    [...shuffled(50)].sort((a, b) => a - b),
    Array.from({ length: 50 }, (_, i) => i),
  );
});

test("in a picture of neighbours only examples have a place, and keys go from one to the next", () => {
  const cloud = new Cloud(Float32Array.of(0, 0, 1, 0, 0, 1, 5, 5), 2);
  const none = Number.NaN;
  const picture = new Picture("t-SNE", Float32Array.of(10, 0, 20, 0, 10, 7, none, none), cloud);
  assert.deepEqual(picture.place([0.9, 0.2]), [20, 0]);
  assert.deepEqual(picture.place([4.9, 5]), [10, 7]); // the nearest that has one
  assert.deepEqual([...picture.at([11, 5])], [0, 1]);
  const z = cloud.point(0);
  assert.deepEqual([...picture.beside(z, [1, 0], 1)], [1, 0]);
  assert.deepEqual([...picture.beside(z, [0, 1], 1)], [0, 1]);
  assert.deepEqual([...picture.beside(z, [-1, 0], 1)], [0, 0]);
  const plane = Plane.ofLatents(2, 0, 1);
  assert.deepEqual([...plane.beside(z, [0, 1], 0.5)], [0, 0.5]);
});

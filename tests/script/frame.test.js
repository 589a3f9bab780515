// The frame of the map: what zooming and panning leave where it is, and where they end.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Frame, MOST_ZOOM, readZoom, writeZoom } from "../../src/variform/pages/script/frame.js";

const POINTS = Float32Array.of(-1, 0, 1, 0, 0, 2, 0, -2);
const whole = Frame.around(POINTS, 400, 300);
const near = (found, expected) => {
  found.forEach((value, k) => {
    assert.ok(Math.abs(value - expected[k]) < 1e-9, `${found} is not ${expected}`);
  });
};

test("one scale fits the longer side of the data, with room about it", () => {
  assert.ok(Math.abs(whole.scale - 264 / (4 * 1.12)) < 1e-9); // 300 without 10 above and 26 below
  near(whole.toScreen(0, 0), [212, 142]); // the middle between the axes
  near(whole.toPlane(...whole.toScreen(0.3, -1.7)), [0.3, -1.7]);
});

test("what stands under the pointer stays there, and the scale is that much greater", () => {
  let zoom = null;
  let by = 1;
  for (const [factor, place] of [
    [3, [150, 90]],
    [2, [260, 200]],
    [0.7, [220, 150]],
  ]) {
    const before = whole.part(zoom).toPlane(...place);
    zoom = whole.zoomed(zoom, factor, place);
    by *= factor;
    near(whole.part(zoom).toPlane(...place), before);
    near([whole.part(zoom).scale], [by * whole.scale]);
  }
});

test("a drag takes the plane with it", () => {
  const zoom = whole.zoomed(null, 8, [200, 140]);
  const before = whole.part(zoom).toPlane(200, 140);
  near(whole.part(whole.panned(zoom, 30, -12)).toPlane(230, 128), before);
  assert.equal(whole.panned(null, 30, -12), null); // all of it stays
});

test("no part leaves the whole, none is larger than most, and out of the last one all is shown", () => {
  const { x0, x1, y0, y1 } = whole.box;
  for (const [right, down] of [
    [1e5, 1e5],
    [-1e5, -1e5],
    [1e5, -1e5],
  ]) {
    const part = whole.part(whole.panned({ by: 5, x: 0, y: 0 }, right, down));
    const { box } = part;
    assert.ok(box.x0 >= x0 - 1e-9 && box.x1 <= x1 + 1e-9 && box.y0 >= y0 - 1e-9 && box.y1 <= y1 + 1e-9);
    near([right > 0 ? box.x0 : box.x1, down > 0 ? box.y1 : box.y0], [right > 0 ? x0 : x1, down > 0 ? y1 : y0]);
  }
  assert.equal(whole.zoomed({ by: 300, x: 0, y: 0 }, 10, [200, 140]).by, MOST_ZOOM);
  assert.equal(whole.zoomed({ by: 1.5, x: 0, y: 0 }, 1 / 1.5, [200, 140]), null);
});

test("a place out of view is brought to the middle, and one in view changes nothing", () => {
  const zoom = { by: 5, x: 0, y: 0 };
  assert.equal(whole.showing(zoom, [0.1, 0.1]), zoom);
  near(whole.part(whole.showing(zoom, [0.5, 1.2])).middle, [0.5, 1.2]);
});

test("the address holds a zoom, and what means nothing is none", () => {
  assert.deepEqual(readZoom(writeZoom({ by: 4.5, x: -0.25, y: 1e-5 })), { by: 4.5, x: -0.25, y: 1e-5 });
  assert.equal(writeZoom(null), "");
  for (const text of ["", "1,0,0", "500,0,0", "2,0", "2,x,0", "2,0,0,0"]) assert.equal(readZoom(text), undefined);
});

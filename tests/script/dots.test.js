// Dots in pixels: how much a disc covers, and which lies on top.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Dots, drawnOf } from "../../src/variform/pages/script/dots.js";
import { fakeBrowser } from "./fakes.js";

const PLACE = { w: 40, h: 30, left: 20, top: 15, scale: 1, radius: 4 };

/** Red, green, blue and alpha of each pixel of what is painted. */
function painted(points, places, shades, chosen, place = PLACE) {
  fakeBrowser();
  const dots = new Dots();
  dots.wanted = "plain";
  const { canvas } = dots.paint(drawnOf(Float32Array.from(points), places, shades, chosen), place);
  const [[{ data, width, height }]] = canvas.context.of("putImageData");
  assert.deepEqual([width, height, dots.painter], [place.w, place.h, "plain"]);
  return { data, at: (x, y) => [...data.subarray(4 * (y * width + x), 4 * (y * width + x) + 4)] };
}

test("a disc covers its area, about its place, in its colour", () => {
  const { data, at } = painted([3, -2], null, ["#204080"], null);
  let [sum, across, down] = [0, 0, 0];
  for (let i = 0; i < data.length / 4; i++) {
    const alpha = data[4 * i + 3] / 255;
    sum += alpha;
    across += alpha * ((i % 40) + 0.5);
    down += alpha * (Math.floor(i / 40) + 0.5);
  }
  assert.ok(Math.abs(sum / (0.8 * Math.PI * 16) - 1) < 0.03, `${sum}`);
  assert.ok(Math.hypot(across / sum - 23, down / sum - 17) < 0.25); // to a quarter of a pixel
  const [r, g, b, alpha] = at(22, 16);
  assert.equal(alpha, 204);
  [r - 0x20, g - 0x40, b - 0x80].forEach((off) => {
    assert.ok(Math.abs(off) <= 2);
  });
});

test("the last of the chosen dots lies on top, and the others are faint below them", () => {
  const shades = ["#ff0000", "#00ff00", "#0000ff"];
  const same = [0, 0, 0, 0, 0, 0];
  const [r, g, b, alpha] = painted(same, [0, 1, 2], shades, null).at(20, 14);
  [0.032, 0.16, 0.8].forEach((share, k) => {
    assert.ok(Math.abs([r, g, b][k] - (255 * share) / 0.992) < 4, `${[r, g, b]}`);
  });
  assert.ok(Math.abs(alpha - 255 * 0.992) < 3);
  const one = painted(same, [0, 1, 2], shades, Uint8Array.of(1, 0, 0)).at(20, 14);
  assert.ok(one[0] > 240 && one[1] < 15 && one[2] < 15, `${one}`);
  const none = painted(same, [0, 1, 2], shades, Uint8Array.of(0, 0, 0)).at(20, 14);
  assert.ok(Math.abs(none[3] - 255 * (1 - 0.88 ** 3)) < 4, `${none}`);
});

test("what has no place or lies beyond the edge is not drawn, and a disc at the edge is cut", () => {
  const { data } = painted([Number.NaN, Number.NaN, 100, 0, 0, 100, -21, 0], null, ["#000000"], null);
  assert.ok(data.every((value) => value === 0));
  const { at } = painted([-19.9, 14.9], null, ["#000000"], null);
  assert.deepEqual([at(0, 0)[3], at(39, 0)[3], at(39, 29)[3]], [204, 0, 0]);
});

test("a picture of another size or in other colours is another one", () => {
  fakeBrowser();
  const dots = new Dots();
  dots.wanted = "plain";
  const alphaAt = (shade, place, x, y) => {
    const { canvas } = dots.paint(drawnOf(Float32Array.of(0, 0), null, [shade], null), place);
    const picture = canvas.context.of("putImageData").at(-1)[0];
    return [...picture.data.subarray(4 * (y * picture.width + x), 4 * (y * picture.width + x) + 4)];
  };
  assert.deepEqual(alphaAt("#000000", PLACE, 20, 14), [0, 0, 0, 204]);
  assert.deepEqual(alphaAt("#ffffff", PLACE, 20, 14)[3], 204);
  assert.ok(alphaAt("rgb(255,255,255)", PLACE, 20, 14)[0] > 252);
  assert.deepEqual(alphaAt("#000000", { ...PLACE, radius: 1 }, 20, 11)[3], 0);
  assert.deepEqual(alphaAt("#000000", { ...PLACE, w: 60 }, 20, 14)[3], 204);
});

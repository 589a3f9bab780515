// The map: where it puts what, and what it draws again.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Cloud, Plane } from "../../src/variform/pages/script/geometry.js";
import { LatentMap } from "../../src/variform/pages/script/latent_map.js";
import { Theme } from "../../src/variform/pages/script/theme.js";
import { fakeBrowser } from "./fakes.js";

const MEANS = [
  [-1, 0],
  [1, 0],
  [0, 2],
  [0, -2],
];
const LOOK = { plane: Plane.ofLatents(2, 0, 1), colour: null, marks: "dots", fog: false, chosen: null };
const ODD = Uint8Array.of(0, 1, 0, 1);

function mapOf(look = {}, more = {}) {
  const host = fakeBrowser();
  Theme.colours.accent = "#000000";
  const done = [];
  const describe = (i) => ({ name: `row ${i}`, facts: [["drag", `${i} N`]] });
  const hand = { about: () => Float32Array.of(0, 0), describe };
  for (const name of ["follow", "leave", "choose", "keep"]) hand[name] = (z) => done.push([name, z && [...z]]);
  const cloud = new Cloud(Float32Array.from(MEANS.flat()), 2);
  const world = { cloud, order: [0, 1, 2, 3], designs: { aspect: 1 }, examples: { draw() {}, isReal: () => true } };
  const map = new LatentMap(host, world, { ...hand, ...more });
  map.dots.wanted = "plain";
  map.show({ ...LOOK, ...look });
  return { map, host, done };
}

test("the data fill the map, and a place on the screen leads back to its point", () => {
  const { map } = mapOf();
  const places = MEANS.map((z) => map.toScreen(...z));
  for (const [x, y] of places) assert.ok(x > 34 && x < 390 && y > 10 && y < 274);
  const heights = places.map(([, y]) => y);
  assert.ok(Math.max(...heights) - Math.min(...heights) > 230); // of 264 between the margins
  assert.ok(places[2][1] < places[3][1]); // the second latent rises upwards
  const back = map.toPlane(...map.toScreen(0.3, -1.7));
  assert.ok(Math.hypot(back[0] - 0.3, back[1] + 1.7) < 1e-9);
});

/** How much is drawn in the middle of each example, of 255. */
function alphas({ dots, toScreen }) {
  const { data, width } = dots.plain.canvas.context.of("putImageData").at(-1)[0];
  return MEANS.map((z) => {
    const [x, y] = toScreen(...z).map(Math.floor);
    return data[4 * (y * width + x) + 3];
  });
}

test("each example is a dot, and of those that are chosen the others are faint", () => {
  const { map } = mapOf();
  const seen = { dots: map.dots, toScreen: (...z) => map.toScreen(...z) };
  assert.deepEqual(alphas(seen), [204, 204, 204, 204]);
  map.show({ ...LOOK, chosen: ODD });
  assert.deepEqual(alphas(seen), [31, 204, 31, 204]);
});

test("what stands still is drawn again only when its look or the room changes", () => {
  const { map, host } = mapOf();
  const count = () => map.still.context.calls.length;
  const before = count();
  map.show({ ...LOOK });
  assert.equal(count(), before);
  host.clientWidth = 500;
  map.show({ ...LOOK });
  assert.ok(count() > before);
});

test("the mark stands at its point, with a line to the nearest example and numbered pins", () => {
  const { map } = mapOf();
  const { context } = map.moving;
  context.calls.length = 0;
  map.mark({
    z: [0.5, 0.5],
    near: 1,
    pins: [
      [0, 0],
      [0, 1],
    ],
  });
  const rings = context.of("arc").map(([x, y]) => [x, y]);
  assert.deepEqual(rings[0], map.toScreen(1, 0));
  assert.deepEqual(rings.at(-1), map.toScreen(0.5, 0.5));
  assert.deepEqual(context.of("moveTo")[0], map.toScreen(0.5, 0.5));
  assert.deepEqual(context.of("lineTo")[0], map.toScreen(1, 0));
  assert.deepEqual(
    context.of("fillText").map(([text]) => text),
    ["1", "2"],
  );
});

test("a mouse follows and chooses, a finger follows and keeps", () => {
  const { map, done } = mapOf();
  const [x, y] = map.toScreen(0.25, -0.5);
  const event = (more) => ({ clientX: x + 10, clientY: y + 20, buttons: 0, button: 0, pointerId: 1, ...more });
  map.moving.listeners.pointermove(event({ pointerType: "mouse" }));
  map.moving.listeners.pointerup(event({ pointerType: "mouse" }));
  map.moving.listeners.pointerleave(event({ pointerType: "mouse" }));
  map.moving.listeners.pointermove(event({ pointerType: "touch" })); // not down: nothing
  map.moving.listeners.pointerdown(event({ pointerType: "touch" }));
  map.moving.listeners.pointerup(event({ pointerType: "touch" }));
  map.moving.listeners.pointerup(event({ pointerType: "mouse", button: 2 })); // not the first button: nothing
  assert.deepEqual(
    done.map(([name]) => name),
    ["follow", "choose", "leave", "follow", "keep"],
  );
  for (const place of [0, 1, 3, 4]) {
    const [, z] = done[place];
    assert.ok(Math.hypot(z[0] - 0.25, z[1] + 0.5) < 1e-6);
  }
});

test("the example under the pointer is told, and one that is faint is not", () => {
  const { map } = mapOf({ chosen: ODD });
  const over = (i, off = 0) => {
    const [x, y] = map.toScreen(...MEANS[i]);
    map.moving.listeners.pointermove({ clientX: x + 10 + off, clientY: y + 20, pointerType: "mouse" });
    return [map.tip.at, map.tip.box.hidden];
  };
  assert.deepEqual(over(3, 5), [3, false]);
  const [name, list] = map.tip.words.children;
  assert.equal(name.textContent, "row 3");
  assert.deepEqual(
    list.children[0].children.map(({ textContent }) => textContent),
    ["drag", "3 N"],
  );
  assert.deepEqual(over(3, 15), [-1, true]);
  assert.deepEqual(over(2), [-1, true]);
  over(1);
  map.moving.listeners.keydown({ key: "Escape" });
  assert.equal(map.tip.box.hidden, true);
});

test("of pictures the one under the pointer is told", () => {
  const { map } = mapOf({ marks: "pictures" });
  const [{ i, x, y, w, h }] = map._pictures;
  assert.equal(map.exampleAt(x + w - 1, y + h - 1, 0), i);
  assert.equal(map.exampleAt(x + w + 2, y + h / 2, 9), -1);
});

/** A map that can be zoomed, what it was asked for, and a way to send it what a hand does at places of its own. */
function zoomable(tool = "move") {
  const asked = { zooms: [], selections: [], wholes: 0 };
  const made = mapOf(
    {},
    {
      zoom: (zoom) => asked.zooms.push(zoom),
      select: (rectangle) => asked.selections.push(rectangle),
      whole: () => asked.wholes++,
      tool: () => tool,
    },
  );
  const send = (name, [x, y], more = {}) => {
    const given = { clientX: x + 10, clientY: y + 20, buttons: 1, button: 0, pointerId: 1, pointerType: "mouse" };
    let isStopped = false;
    made.map.moving.listeners[name]({ ...given, preventDefault: () => (isStopped = true), ...more });
    return isStopped;
  };
  return { ...made, asked, send };
}

test("a wheel zooms about the pointer, and scrolls the page where there is nothing to zoom out of", () => {
  const { map, asked, send } = zoomable();
  assert.equal(send("wheel", [120, 80], { deltaY: 120 }), false);
  assert.deepEqual(asked.zooms, []);
  const before = map.toPlane(120, 80);
  for (let i = 0; i < 3; i++) assert.equal(send("wheel", [120, 80], { deltaY: -120 }), true);
  assert.ok(Math.abs(map.scale / map.whole.scale - Math.exp(0.72)) < 1e-9);
  const after = map.toPlane(120, 80);
  assert.ok(Math.hypot(after[0] - before[0], after[1] - before[1]) < 1e-9);
  assert.equal(send("wheel", [120, 80], { deltaY: 120 }), true);
});

test("a drag moves the map and pins nothing; a press that stays is a click", () => {
  const { map, done, send } = zoomable();
  map.show({ ...LOOK, zoom: { by: 8, x: 0, y: 0 } });
  const start = map.toPlane(200, 140);
  send("pointerdown", [200, 140]);
  send("pointermove", [202, 141]);
  send("pointermove", [240, 150]);
  send("pointermove", [230, 165]);
  send("pointerup", [230, 165]);
  const end = map.toPlane(230, 165);
  assert.ok(Math.hypot(end[0] - start[0], end[1] - start[1]) < 1e-9);
  assert.deepEqual(done, []);
  send("pointerdown", [200, 140]);
  send("pointermove", [202, 142]);
  send("pointerup", [202, 142]);
  assert.deepEqual(
    done.map(([name]) => name),
    ["choose"],
  );
});

test("a drag with Shift selects a rectangle, and what is not chosen is not told", () => {
  const { map, done, asked, send } = zoomable();
  map.mark({ z: [0, 0] });
  const [from, to] = [map.toScreen(0.5, 2.1), map.toScreen(-1.2, -0.5)];
  send("pointerdown", from, { shiftKey: true });
  send("pointermove", to, { shiftKey: true });
  assert.equal(map.moving.context.of("closePath").length, 1);
  send("pointerup", to, { shiftKey: true });
  const [selection] = asked.selections;
  [-1.2, -0.5, 0.5, 2.1].forEach((side, k) => {
    assert.ok(Math.abs(selection[k] - side) < 1e-6);
  });
  map.show({ ...LOOK, selection, chosen: Uint8Array.of(1, 0, 1, 0) });
  assert.equal(map.exampleAt(...map.toScreen(...MEANS[3]), 9), -1);
  assert.equal(map.exampleAt(...map.toScreen(...MEANS[2]), 9), 2);
  assert.deepEqual(done, []);
});

test("a lasso is what a mouse or one finger goes round, once that is chosen; two fingers still zoom", () => {
  const { map, done, asked, send } = zoomable("lasso");
  map.mark({ z: [0, 0] });
  const way = [
    [-1.2, -0.3],
    [0, 1],
    [1.2, -0.3],
    [0, -1],
  ];
  const places = way.map((place) => map.toScreen(...place));
  for (const [k, pointerType] of ["mouse", "touch"].entries()) {
    send("pointerdown", places[0], { pointerType });
    for (const place of places.slice(1)) send("pointermove", place, { pointerType });
    send("pointerup", places[3], { pointerType });
    const lasso = asked.selections[k];
    way.flat().forEach((value, at) => {
      assert.ok(Math.abs(lasso[at] - value) < 1e-5, `${lasso}`);
    });
  }
  send("pointerdown", [180, 140], { pointerType: "touch", pointerId: 1 });
  send("pointerdown", [220, 140], { pointerType: "touch", pointerId: 2 });
  send("pointermove", [140, 140], { pointerType: "touch", pointerId: 1 });
  send("pointermove", [260, 140], { pointerType: "touch", pointerId: 2 });
  send("pointerup", [140, 140], { pointerType: "touch", pointerId: 1 });
  send("pointerup", [260, 140], { pointerType: "touch", pointerId: 2 });
  assert.equal(asked.selections.length, 2);
  assert.ok(Math.abs(map.scale / map.whole.scale - 3) < 1e-9);
  assert.deepEqual(
    done.map(([name]) => name),
    ["leave"],
  );
});

test("two fingers zoom about what lies between them, and keep no point", () => {
  const { map, done, send } = zoomable();
  const touch = (name, place, pointerId) => send(name, place, { pointerType: "touch", pointerId });
  const before = map.toPlane(200, 140);
  touch("pointerdown", [180, 140], 1);
  touch("pointerdown", [220, 140], 2);
  touch("pointermove", [140, 140], 1);
  touch("pointermove", [260, 140], 2);
  assert.ok(Math.abs(map.scale / map.whole.scale - 3) < 1e-9);
  const after = map.toPlane(200, 140);
  assert.ok(Math.hypot(after[0] - before[0], after[1] - before[1]) < 1e-9);
  touch("pointerup", [140, 140], 1);
  touch("pointerup", [260, 140], 2);
  assert.ok(!done.some(([name]) => name === "keep"));
  touch("pointerdown", [180, 140], 3);
  touch("pointerup", [180, 140], 3);
  assert.equal(done.at(-1)[0], "keep");
});

test("a finger with which the page is scrolled keeps nothing", () => {
  const { done, send } = zoomable();
  send("pointerdown", [180, 140], { pointerType: "touch" });
  send("pointercancel", [180, 100], { pointerType: "touch" });
  assert.deepEqual(
    done.map(([name]) => name),
    ["follow", "leave"],
  );
});

// The address: what is written is read again, and what means nothing changes nothing.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Address } from "../../src/variform/pages/script/address.js";
import { Cloud } from "../../src/variform/pages/script/geometry.js";
import { VIEWS } from "../../src/variform/pages/script/views/index.js";

const CONTENTS = {
  latents: { dim: 3, order: [2, 0, 1] },
  plane: null,
  context: [1, 0],
  laws: [{ name: "the prior" }, { name: "a mixture" }],
};
const WORLD = {
  cloud: new Cloud(Float32Array.of(0, 0, 0, 1, 2, 3), 3),
  columns: [{ name: "kind" }, { name: "split" }],
};

const addressOf = (views = VIEWS) => new Address({ contents: CONTENTS, world: WORLD, views, first: views[0] });

test("a state begins with the first view, at an example", () => {
  const state = addressOf().start();
  assert.equal(state.view, "map");
  assert.equal(state.plane, "2,0");
  assert.equal(state.colour, "kind");
  assert.deepEqual([...state.context], [1, 0]);
  assert.deepEqual([...state.z], [0, 0, 0]);
});

test("what is written is read again", () => {
  const address = addressOf();
  const state = {
    ...address.start(),
    view: "samples",
    z: Float32Array.of(0.5, -1, 0.25),
    pins: [Float32Array.of(1, 2, 3), Float32Array.of(0, 0, -2.5)],
    labels: [
      { name: "a~b|c & d", note: "50 %, é\n#2" },
      { name: "", note: "" },
    ],
    theme: "dark",
    plane: "1,2",
    colour: "",
    fog: false,
    only: 2,
    context: Float32Array.of(0, 1),
    morph: { a: 1, b: 0, way: "data", share: 0.125 },
    grid: 8,
    draw: { law: 1, seed: 7 },
    designs: false,
    tray: ["d:latent-0-1", "r:12"],
    sort: "-response-1",
  };
  const text = address.write(state);
  assert.ok(text.startsWith("#view=samples&z=0.5,-1,0.25&pins=1,2,3~0,0,-2.5&labels="));
  assert.ok(text.includes("&theme=dark&plane=1,2&"));
  assert.ok(
    text.endsWith(
      "&designs=0&tray=d%3Alatent-0-1~r%3A12&told=0,1&page=0&morph=1,0,data,0.125&grid=8&draw=1,7&sort=-response-1",
    ),
  );
  assert.deepEqual({ ...address.start(), ...address.read(text) }, { ...state, colour: "kind" }); // "" is left out
});

test("a part that means nothing is left out, and the others are read", () => {
  const wrong = [
    "view=chess",
    "z=1,2",
    "theme=pink",
    "plane=0,9",
    "plane=pca",
    "colour=weight",
    "only=-2",
    "told=1,x",
    "page=1",
    "morph=0,1,home,0",
    "morph=0,99,data,0",
    "draw=2,1",
    "chess=1",
  ];
  const address = addressOf();
  for (const part of wrong) assert.deepEqual(address.read(`#${part}&grid=9`), { grid: 9 });
  assert.deepEqual(address.read("#grid=3.5"), {});
});

test("a view that is not there has no part of the address", () => {
  const views = VIEWS.filter(({ isOfLatents }) => !isOfLatents);
  const address = addressOf(views);
  assert.deepEqual(
    views.map(({ key }) => key),
    ["samples", "rebuilt", "numbers", "study"],
  );
  assert.deepEqual(address.read("#view=map&grid=9&draw=1,2"), { draw: { law: 1, seed: 2 } });
});

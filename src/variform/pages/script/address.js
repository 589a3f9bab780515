// The address of the page: what is kept of its state, as `#name=value&...`.
//
// A part of the state says how it stands there: `start` is its value when the page opens, `write(value)` its text,
// empty for what need not stand there, `read(text)` its value again, or undefined for a text that means nothing.

/**
 * @import { App, KeptPart, Label, State } from "./types.js"
 */

import { curvedPlane, firstCurved } from "./curved.js";
import { readZoom, writeZoom } from "./frame.js";
import { Plane } from "./geometry.js";
import { readLimits, writeLimits } from "./quantities.js";
import { readRegion, writeRegion } from "./region.js";

export const MOST_PINS = 40;
export const PICTURE = "picture"; // the plane that is none, but a picture of neighbours
export const MOST_COMPARED = 4;
export const THEMES = ["auto", "light", "dark"];

/**
 * How a whole number is read.
 *
 * @param {number} least
 * @param {number} most
 */
export const whole = (least, most) => (/** @type {string} */ text) => {
  const value = Number(text);
  const isKnown = Number.isInteger(value) && value >= least && value <= most;
  return isKnown ? value : undefined;
};

/**
 * How one of some words is read.
 *
 * @param {string[]} words
 */
const oneOf = (words) => (/** @type {string} */ text) => (words.includes(text) ? text : undefined);

/** @param {ArrayLike<number>} numbers */
const list = (numbers) => Array.from(numbers, (value) => String(Number(value.toFixed(4)))).join(",");

/** @param {number} length */
const point = (length) => (/** @type {string} */ text) => {
  const values = Float32Array.from(text.split(","), Number);
  return values.length === length && values.every(Number.isFinite) ? values : undefined;
};

/**
 * Names and notes of pins: none of them holds a character that parts them.
 *
 * @param {Label[]} labels
 */
function writeLabels(labels) {
  const coded = (/** @type {string} */ words) => encodeURIComponent(words).replaceAll("~", "%7E");
  const texts = labels.map(({ name, note }) => `${coded(name)}|${coded(note)}`);
  return texts.some((text) => text !== "|") ? texts.join("~") : "";
}

/**
 * @param {string} text
 * @returns {Label[] | undefined}
 */
function readLabels(text) {
  try {
    return text.split("~").map((words) => {
      const [name = "", note = ""] = words.split("|").map(decodeURIComponent);
      return { name, note };
    });
  } catch {
    return undefined; // what stands there was not written so
  }
}

/**
 * What all views share.
 *
 * @param {App} app
 * @returns {Record<string, KeptPart>}
 */
function shared({ contents, world, views, first }) {
  const { latents, plane } = contents;
  const { columns, cloud, quantities } = world;
  const colour = columns.find((column) => column.name !== "split") ?? columns[0];
  const readPoint = point(latents.dim);
  const readPins = (/** @type {string} */ text) => text.split("~").map(readPoint).filter(Boolean).slice(0, MOST_PINS);
  const responses = world.study?.responses ?? [];
  const width = contents.context.length;
  return {
    view: { start: first.key, read: oneOf(views.map(({ key }) => key)) },
    z: { start: cloud.middle(), read: readPoint, write: list },
    pins: { start: [], read: readPins, write: (pins) => pins.map(list).join("~") },
    labels: { start: [], read: readLabels, write: writeLabels },
    theme: { start: "auto", read: oneOf(THEMES) },
    plane: {
      start: firstCurved(latents) ?? Plane.first(latents, plane),
      read: (text) => {
        if (text === PICTURE) return contents.embedding ? text : undefined;
        return curvedPlane(text, latents) || Plane.isKnown(text, latents, plane) ? text : undefined;
      },
    },
    colour: { start: colour.name, read: oneOf(["", ...columns.map(({ name }) => name)]) },
    marks: { start: "dots", read: oneOf(["dots", "pictures"]) },
    fog: { start: true, read: (text) => text !== "0", write: (isOn) => (isOn ? "1" : "0") },
    fogOf: { start: "validity", read: oneOf(["validity", "data"]) },
    only: { start: -1, read: whole(-1, 99) },
    target: { start: [], read: (text) => readLimits(text, [...quantities, ...responses]), write: writeLimits },
    limits: { start: [], read: (text) => readLimits(text, quantities), write: writeLimits },
    zoom: { start: null, read: readZoom, write: writeZoom },
    selection: { start: null, read: readRegion, write: writeRegion },
    designs: { start: true, read: (text) => text !== "0", write: (isOn) => (isOn ? "1" : "0") },
    spread: { start: false, read: (text) => text === "1", write: (isOn) => (isOn ? "1" : "") },
    tray: { start: [], read: (text) => text.split("~").slice(0, MOST_COMPARED), write: (keys) => keys.join("~") },
    context: {
      name: "told",
      start: Float32Array.from(contents.context),
      read: (text) => (width ? point(width)(text) : undefined),
      write: list,
    },
  };
}

export class Address {
  /** @param {App} app */
  constructor(app) {
    /** @type {Record<string, KeptPart>} */
    this.parts = shared(app);
    for (const view of app.views) Object.assign(this.parts, view.kept(app.contents));
  }

  /** @returns {State} */
  start() {
    const values = Object.entries(this.parts).map(([key, { start }]) => [key, start]);
    return Object.fromEntries(values);
  }

  /**
   * @param {State} state
   * @returns {string} the fragment, with its #
   */
  write(state) {
    const found = [];
    for (const [key, { name = key, write = String }] of Object.entries(this.parts)) {
      const text = write(state[key]);
      if (text !== "") found.push(`${name}=${encodeURIComponent(text).replaceAll("%2C", ",")}`);
    }
    return `#${found.join("&")}`;
  }

  /**
   * What a fragment says of the state; what it does not say, or says wrongly, is left out.
   *
   * @param {string} fragment
   * @returns {Partial<State>}
   */
  read(fragment) {
    const texts = new URLSearchParams(fragment.slice(1));
    /** @type {Partial<State>} */
    const found = {};
    for (const [key, { name = key, read }] of Object.entries(this.parts)) {
      const text = texts.get(name);
      const value = text === null ? undefined : read(text);
      if (value !== undefined) found[key] = value;
    }
    return found;
  }
}

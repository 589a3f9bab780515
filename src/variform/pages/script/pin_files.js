// Pins in files: a .csv with a line each, which Python reads, and what such a file says when it comes back.

/**
 * @import { Condition, Label, Point } from "./types.js"
 */

import { float32Text } from "./text.js";

/**
 * The cells of a file of pins: coordinates, name and note, what the model was conditioned on, and the decoded columns.
 *
 * @param {Point[]} pins
 * @param {Label[]} labels
 * @param {[string, string | number][]} given by the names of conditions
 * @param {{ heads: (string | number)[], rows: (string | number)[][] }} decoded
 */
export function cellsOfPins(pins, labels, given, { heads, rows }) {
  const axes = Array.from(pins[0], (_, k) => `z${k + 1}`);
  const head = [...axes, "name", "note", ...given.map(([name]) => name), ...heads];
  const lines = pins.map((z, i) => {
    const { name, note } = labels[i] ?? NO_LABEL;
    return [...Array.from(z, float32Text), name, note, ...given.map(([, value]) => value), ...(rows[i] ?? [])];
  });
  return [head, ...lines];
}

/** @type {Label} */
export const NO_LABEL = { name: "", note: "" };

/**
 * What a model is conditioned on, in the user's words and units.
 *
 * @param {Condition[]} conditions
 * @param {Float32Array} context
 * @returns {[string, string | number][]}
 */
export function givenOf(conditions, context) {
  let start = 0;
  return conditions.map(({ name, categories, scale, shift }) => {
    const width = categories.length || 1;
    const part = context.slice(start, start + width);
    start += width;
    if (!categories.length) return [name, float32Text(part[0] * scale + shift)];
    return [name, categories[part.indexOf(1)] ?? ""];
  });
}

/**
 * The pins in the text of a file.
 *
 * @param {string} text with columns z1, z2, ... and, if there are any, `name` and `note`; others are passed over
 * @param {number} dim
 * @returns {{ z: Point, label: Label }[]}
 */
export function readPins(text, dim) {
  const [head = [], ...rows] = parsed(text);
  const axes = Array.from({ length: dim }, (_, k) => head.indexOf(`z${k + 1}`));
  if (axes.includes(-1) || head.includes(`z${dim + 1}`)) {
    throw new Error(
      `a file of pins must have the columns z1 to z${dim}, for the model has ${dim} latents; it has ` +
        `${head.slice(0, 6).join(", ") || "none"}. Choose another file, or write these columns.`,
    );
  }
  const [name, note] = [head.indexOf("name"), head.indexOf("note")];
  return rows.map((cells, i) => {
    const z = Float32Array.from(axes, (at) => (cells[at]?.trim() ? Number(cells[at]) : Number.NaN));
    if (!z.every(Number.isFinite)) {
      throw new Error(`line ${i + 2} must have a number in each of z1 to z${dim}; it has not. Correct the file.`);
    }
    return { z, label: { name: cells[name] ?? "", note: cells[note] ?? "" } };
  });
}

/**
 * The cells of a .csv file; those in quotes may hold commas and ends of lines.
 *
 * @param {string} text
 */
export function parsed(text) {
  /** @type {string[][]} */
  const rows = [];
  /** @type {string[]} */
  let row = [];
  const cell = /(?:"((?:[^"]|"")*)"|([^,\r\n]*))(,|\r?\n|$)/gy;
  const plain = text.replace(/^\uFEFF/, "");
  while (cell.lastIndex < plain.length) {
    const found = cell.exec(plain);
    if (!found) throw new Error("a file of pins must be comma-separated text; a quote in it has no end. Correct it.");
    row.push(found[1]?.replaceAll('""', '"') ?? found[2]);
    if (found[3] === ",") continue;
    if (row.some((value) => value !== "")) rows.push(row);
    row = [];
  }
  if (row.length) rows.push([...row, ""]);
  return rows;
}

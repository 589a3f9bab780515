// Known and evaluated designs in one form, by their keys: `r:12` is the row 12 of the map, `d:latent-0-3` a design.

/**
 * @import { App, ColourColumn, Item, World } from "./types.js"
 */

import { numbersOf } from "./colouring.js";
import { STATES } from "./study.js";
import { rowName } from "./text.js";
import { say, t } from "./words.js";

export const ERROR = "reconstruction error"; // the column of the rows that is of the model

/** @param {number} i a row of the map */
export const keyOfRow = (i) => `r:${i}`;

/** @param {string} id of an evaluated design */
export const keyOfDesign = (id) => `d:${id}`;

/**
 * @param {App} app
 * @param {string} key
 * @returns {Item | null} null where the page has no such design
 */
export function itemOf(app, key) {
  const [kind, ...rest] = key.split(":");
  const name = rest.join(":");
  return kind === "d" ? designOf(app, key, name) : rowOf(app, key, Number(name));
}

/**
 * @param {App} app
 * @param {string} key
 * @param {number} i
 * @returns {Item | null}
 */
function rowOf({ world, contents }, key, i) {
  if (!Number.isInteger(i) || i < 0 || i >= contents.rows.count) return null;
  const { designs, examples, cloud, columns } = world;
  return {
    key,
    name: rowName(contents.rows.names?.[i]) ?? t`row ${i}`,
    z: cloud.point(i),
    about: t`known design`,
    draw: (context, box) => examples.draw(context, i, box),
    values: examples.values ? designs.part(examples.values, i) : null,
    valueOf: (name) => numberOf(columns, name, i),
  };
}

/**
 * @param {App} app
 * @param {string} key
 * @param {string} id
 * @returns {Item | null}
 */
function designOf({ world }, key, id) {
  const { designs, study } = world;
  const i = study?.find(id) ?? -1;
  if (i < 0) return null;
  const { sheet, cloud, contents } = study;
  return {
    key,
    name: id,
    z: cloud.point(i),
    about: say(STATES[contents.designs.state[i]]),
    draw: (context, box) => sheet.draw(context, i, box),
    values: sheet.values ? designs.part(sheet.values, i) : null,
    valueOf: (name) => numberOf(contents.designs.columns, name, i),
  };
}

/**
 * The value of a column of numbers; NaN where there is none.
 *
 * @param {ColourColumn[]} columns
 * @param {string} name
 * @param {number} i
 */
export function numberOf(columns, name, i) {
  const column = columns.find((one) => one.name === name && one.kind === "number");
  return column ? numbersOf(column)[i] : Number.NaN;
}

/**
 * What is known of designs beside their own columns, as numbers.
 *
 * @param {World} world
 */
export function responsesOf({ study, columns, designs }) {
  if (study) return study.responses;
  const others = new Set([ERROR, ...designs.columns.map(({ name }) => name)]);
  return columns.filter(({ name, kind }) => kind === "number" && !others.has(name));
}

// The colour of every example by a column of its data, and what a legend needs.

/**
 * @import { ColourColumn, Colouring, World } from "./types.js"
 */

import { floatsOf, integersOf } from "./bytes.js";
import { shown } from "./text.js";
import { scaleColour, Theme } from "./theme.js";
import { say, t } from "./words.js";

const MOST_COLOURS = 10;
const LEVELS = 128; // of the colours of numbers
const OTHERS = MOST_COLOURS; // the group of the categories that get no colour
const NONE = MOST_COLOURS + 1; // the group of the examples that have no category

/**
 * The numbers of a column, read once: of categories their places, -1 for none.
 *
 * @param {ColourColumn} column
 */
export function numbersOf(column) {
  column.numbers ??= column.kind === "category" ? integersOf(column.values) : floatsOf(column.values);
  return column.numbers;
}

/**
 * What the page calls a column: those that are not of the data in its own words.
 *
 * @param {{ name: string, role: string }} column
 */
export const titleOf = ({ name, role }) => (role === "error" || role === "split" ? say(name) : name);

/**
 * What a column says of an example, with its unit.
 *
 * @param {ColourColumn} column
 * @param {number} i
 */
export function wordsOf(column, i) {
  const value = numbersOf(column)[i];
  if (column.kind === "category") return categoryOf(column, value) ?? t`none`;
  if (!Number.isFinite(value)) return t`none`;
  return column.unit ? `${shown(value)} ${column.unit}` : shown(value);
}

/**
 * @param {ColourColumn} column
 * @param {number} place of the category
 */
const categoryOf = ({ categories, role }, place) => (role === "split" ? say(categories[place]) : categories[place]);

/**
 * @param {World} world
 * @param {string} name
 * @returns {Colouring | null} null where there is no column of that name
 */
export function colouring(world, name) {
  const column = world.columns.find((item) => item.name === name);
  if (!column) return null;
  return column.kind === "number" ? byNumber(column) : byCategory(column);
}

/**
 * Of 99 of 100 examples the colours go over the whole scale.
 *
 * @param {ColourColumn} column
 * @returns {Colouring}
 */
function byNumber(column) {
  const numbers = numbersOf(column);
  column.sorted ??= Float32Array.from(numbers.filter(Number.isFinite)).sort();
  const last = column.sorted.length - 1;
  const low = column.sorted[Math.floor(0.01 * last)];
  const high = column.sorted[Math.ceil(0.99 * last)];
  const length = high - low || 1;
  const levels = Array.from({ length: LEVELS }, (_, level) => scaleColour(level / (LEVELS - 1)));
  const shades = [...levels, Theme.colours.missing];
  const places = Uint8Array.from(numbers, (value) => {
    if (!Number.isFinite(value)) return LEVELS;
    return Math.round((LEVELS - 1) * Math.max(0, Math.min(1, (value - low) / length)));
  });
  const of = (/** @type {number} */ i) => shades[places[i]];
  const missing = numbers.length - column.sorted.length;
  const range = /** @type {[number, number]} */ ([column.sorted[0], column.sorted[last]]);
  return { ...column, low, high, range, missing, shades, places, of, group: () => 0, groups: [] };
}

/**
 * The categories with most examples have a colour of their own.
 *
 * @param {ColourColumn} column
 * @returns {Colouring}
 */
function byCategory(column) {
  const numbers = numbersOf(column);
  const { missing } = Theme.colours;
  const { palette } = Theme;
  const counts = new Map();
  for (const value of numbers) counts.set(value, (counts.get(value) ?? 0) + 1);
  const known = column.categories.map((_, k) => k).filter((k) => counts.has(k));
  const most = known.toSorted((a, b) => counts.get(b) - counts.get(a)).slice(0, MOST_COLOURS - 1);
  const kept = known.length <= MOST_COLOURS ? known : most;
  const groupOf = new Map(kept.map((k, i) => [k, i]));
  const groups = kept.map((k, i) => ({
    name: categoryOf(column, k),
    count: counts.get(k),
    shade: palette[i],
    group: i,
  }));
  const others = known.filter((k) => !groupOf.has(k));
  if (others.length) {
    const count = others.reduce((sum, k) => sum + counts.get(k), 0);
    groups.push({ name: t`${others.length} others`, count, shade: missing, group: OTHERS });
  }
  if (counts.has(-1)) groups.push({ name: t`none`, count: counts.get(-1), shade: missing, group: NONE });
  const places = Uint8Array.from(numbers, (value) => groupOf.get(value) ?? (value < 0 ? NONE : OTHERS));
  const shades = Array.from({ length: NONE + 1 }, (_, k) => palette[k] ?? missing);
  const group = (/** @type {number} */ i) => places[i];
  const of = (/** @type {number} */ i) => shades[places[i]];
  return { ...column, groups, group, of, shades, places, low: 0, high: 0, range: [0, 0], missing: 0 };
}

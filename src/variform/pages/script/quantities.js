// Numbers of the examples: columns of what a design is, and what else is known of each, such as responses.

/**
 * @import { ColourColumn, Limit, Quantity } from "./types.js"
 * @import { Designs } from "./designs.js"
 */

import { numbersOf } from "./colouring.js";

/**
 * @param {Designs} designs
 * @param {ColourColumn[]} columns by which examples may be coloured
 * @param {Float32Array | null} values of all examples; null for images
 * @returns {Quantity[]}
 */
export function quantitiesOf(designs, columns, values) {
  const known = columns.filter(({ kind }) => kind === "number").map(ofColumn);
  if (!designs.lines) return known;
  const taken = new Set(columns.map(({ name }) => name));
  const own = designs.columns.map(({ name, full, unit }, k) => {
    /** @type {Float32Array | null} */
    let numbers = null;
    const every = () =>
      Float32Array.from({ length: values.length / designs.size }, (_, i) => values[i * designs.size + k]);
    return {
      name: taken.has(name) ? full : name,
      unit,
      column: k,
      get numbers() {
        numbers ??= every();
        return numbers;
      },
    };
  });
  return [...known, ...own];
}

/**
 * @param {ColourColumn} column
 * @returns {Quantity}
 */
function ofColumn(column) {
  return {
    name: column.name,
    unit: column.unit ?? "",
    column: column.column ?? -1,
    get numbers() {
      return /** @type {Float32Array} */ (numbersOf(column));
    },
  };
}

/**
 * The least and the greatest number that is there.
 *
 * @param {Float32Array} numbers
 * @returns {[number, number]}
 */
export function extentOf(numbers) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of numbers) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** @param {Limit} limit */
const isOpen = ({ low, high }) => low === null && high === null;

/**
 * Which examples are within all limits, 1 or 0 of each; null where nothing is limited. What has no number is outside.
 *
 * @param {Quantity[]} quantities
 * @param {Limit[]} limits
 * @param {number} count of examples
 */
export function within(quantities, limits, count) {
  const closed = limits.filter((limit) => !isOpen(limit));
  if (!closed.length) return null;
  const inside = new Uint8Array(count).fill(1);
  for (const { name, low, high } of closed) {
    const { numbers } = quantities.find((quantity) => quantity.name === name);
    for (let i = 0; i < count; i++) {
      const isIn = numbers[i] >= (low ?? -Infinity) && numbers[i] <= (high ?? Infinity);
      if (!isIn) inside[i] = 0;
    }
  }
  return inside;
}

/**
 * How limits stand in the address.
 *
 * @param {Limit[]} limits
 */
export function writeLimits(limits) {
  const digits = (/** @type {number | null} */ value) => (value === null ? "" : Number(value.toPrecision(6)));
  const texts = limits.map(({ name, low, high }) => [encodeURIComponent(name), digits(low), digits(high)].join(":"));
  return texts.join("|");
}

/**
 * What stands in the address, without what there is not.
 *
 * @param {string} text
 * @param {{ name: string }[]} quantities
 * @returns {Limit[]}
 */
export function readLimits(text, quantities) {
  const end = (/** @type {string} */ words) => (words && Number.isFinite(Number(words)) ? Number(words) : null);
  const limits = text.split("|").map((words) => {
    const [name, low = "", high = ""] = words.split(":");
    return { name: decoded(name), low: end(low), high: end(high) };
  });
  const isKnown = (/** @type {Limit} */ limit, /** @type {number} */ i) =>
    quantities.some(({ name }) => name === limit.name) && limits.findIndex(({ name }) => name === limit.name) === i;
  return limits.filter(isKnown);
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return ""; // is no name
  }
}

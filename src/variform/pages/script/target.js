// Designs with wanted responses and columns: which are in all ranges, and by how much the others miss them.

/**
 * @import { Limit } from "./types.js"
 */

/**
 * @typedef {object} Wanted
 * @property {Limit} range
 * @property {number} spread the standard deviation of the known designs
 */

/**
 * The standard deviation of the numbers that are there; 1 where they do not differ.
 *
 * @param {ArrayLike<number>} numbers
 */
export function spreadOf(numbers) {
  const known = Array.from(numbers).filter(Number.isFinite);
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  const square = known.reduce((sum, value) => sum + (value - mean) ** 2, 0) / known.length;
  return Math.sqrt(square) || 1;
}

/**
 * How far a value is from its range, in standard deviations; 0 inside, NaN where there is no value.
 *
 * @param {number} value
 * @param {Wanted} wanted
 */
export function missOf(value, { range, spread }) {
  const below = (range.low ?? -Infinity) - value;
  const above = value - (range.high ?? Infinity);
  return Math.max(0, below, above) / spread;
}

/**
 * How far values are from all of their ranges: the root of the sum of squares.
 *
 * @param {number[]} values
 * @param {Wanted[]} wanted
 */
export const distanceFrom = (values, wanted) => Math.hypot(...wanted.map((one, k) => missOf(values[k], one)));

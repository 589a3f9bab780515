// A part of the plane of the map in which examples are selected: a rectangle, or what a lasso goes round.

/**
 * @import { Place, Region } from "./types.js"
 */

const MOST_CORNERS = 60; // of a lasso, so that the address can hold it

const digits = (/** @type {number} */ value) => Number(value.toPrecision(7));

/**
 * The rectangle of two corners, as the address can hold it.
 *
 * @param {Place} a
 * @param {Place} b
 * @returns {Region}
 */
export function rectangleOf([ax, ay], [bx, by]) {
  return [digits(Math.min(ax, bx)), digits(Math.min(ay, by)), digits(Math.max(ax, bx)), digits(Math.max(ay, by))];
}

/**
 * What a closed line goes round, with as few corners as the address can hold.
 *
 * @param {Place[]} corners
 * @returns {Region | null} null where they go round nothing
 */
export function lassoOf(corners) {
  const step = Math.max(1, corners.length / MOST_CORNERS);
  const kept = Array.from({ length: Math.min(MOST_CORNERS, corners.length) }, (_, i) => corners[Math.floor(i * step)]);
  const region = kept.flat().map(digits);
  return areaOf(region) ? region : null;
}

/**
 * @param {number[]} corners x and y of one after the other
 */
function areaOf(corners) {
  let twice = 0;
  for (let at = 0; at < corners.length; at += 2) {
    const next = (at + 2) % corners.length;
    twice += corners[at] * corners[next + 1] - corners[next] * corners[at + 1];
  }
  return Math.abs(twice) / 2;
}

/**
 * Whether a place lies in a region: of a lasso whether a ray from it crosses the line an odd number of times.
 *
 * @param {Region} region
 * @param {number} x
 * @param {number} y
 */
export function isWithin(region, x, y) {
  if (region.length === 4) return x >= region[0] && x <= region[2] && y >= region[1] && y <= region[3];
  let isInside = false;
  let [x0, y0] = region.slice(-2);
  for (let at = 0; at < region.length; at += 2) {
    const [x1, y1] = [region[at], region[at + 1]];
    const isBeside = y0 > y !== y1 > y;
    if (isBeside && x < x0 + ((x1 - x0) * (y - y0)) / (y1 - y0)) isInside = !isInside;
    [x0, y0] = [x1, y1];
  }
  return isInside;
}

/**
 * The corners of a region, one after the other.
 *
 * @param {Region} region
 * @returns {Place[]}
 */
export function cornersOf(region) {
  if (region.length === 4) {
    const [x0, y0, x1, y1] = region;
    return [
      [x0, y1],
      [x1, y1],
      [x1, y0],
      [x0, y0],
    ];
  }
  return Array.from({ length: region.length / 2 }, (_, i) => [region[2 * i], region[2 * i + 1]]);
}

/** @param {Region | null} region */
export const writeRegion = (region) => (region ? region.join(",") : "");

/**
 * @param {string} text
 * @returns {Region | undefined}
 */
export function readRegion(text) {
  const region = text.split(",").map(Number);
  const isRegion = region.length >= 4 && region.length <= 2 * MOST_CORNERS && region.length % 2 === 0;
  if (!isRegion || !region.every(Number.isFinite)) return undefined;
  const isTurned = region.length === 4 && (region[0] > region[2] || region[1] > region[3]);
  return isTurned ? undefined : region;
}

// The smallest move in latent space after which a number of what is decoded has another value.

/**
 * @import { Point } from "./types.js"
 */

const MOST_STEPS = 30;
const SHARES = [1, 0.5, 0.25, 0.1, 0.03]; // of a step, tried at once
const LEAST_GAIN = 1e-4; // as a share, with less of which the search ends
const DIFFERENCE = 0.003; // of the width of the box, for the gradient
const NEAR = 1e-3; // of that width: moves below it end the search

/**
 * The numbers of many codes, one after another.
 *
 * @typedef {(codes: Float32Array) => Promise<Float32Array>} Measure
 */

/**
 * Where a search stands.
 *
 * @typedef {object} Place
 * @property {Float64Array} z
 * @property {number} value
 */

/**
 * The point nearest to `start` in a box at which a number of the decoded design is `target`, by a search from there and
 * from some other points; where none reaches it, the point that comes nearest to it.
 *
 * @param {Measure} measure
 * @param {Point} start
 * @param {number} target
 * @param {[number, number][]} box the ends of each latent
 * @param {number} tolerance of the number
 * @param {Point[]} others
 * @returns {Promise<{ z: Point, value: number, isReached: boolean }>}
 */
export async function reach(measure, start, target, box, tolerance, others = []) {
  const ends = box.map(([low, high], k) => [Math.min(low, start[k]), Math.max(high, start[k])]);
  const places = [];
  for (const from of [start, ...others]) places.push(await search(measure, from, { start, target, ends, tolerance }));
  const gapOf = (/** @type {Place} */ { value }) => Math.abs(value - target);
  const there = places.filter((place) => gapOf(place) <= tolerance);
  const best = there.length ? leastOf(there, ({ z }) => distance(z, start)) : leastOf(places, gapOf);
  return { z: Float32Array.from(best.z), value: best.value, isReached: there.length > 0 };
}

/**
 * Sequential quadratic programming. Each step leads towards the point nearest to the start on the plane where the
 * number, linearised, is the target, as far as |z - start|^2 / 2 + weight |value - target| falls (an exact penalty);
 * where it does not, straight to the plane.
 *
 * @param {Measure} measure
 * @param {Point} from
 * @param {{ start: Point, target: number, ends: number[][], tolerance: number }} wish
 * @returns {Promise<Place>}
 */
async function search(measure, from, { start, target, ends, tolerance }) {
  const width = Math.max(...ends.map(([low, high]) => high - low));
  const gapOf = (/** @type {Place} */ { value }) => Math.abs(value - target);
  /** @type {Place} */
  let at = { z: Float64Array.from(from), value: (await measure(from))[0] };
  let weight = 0;
  for (let step = 0; step < MOST_STEPS; step++) {
    const gradient = await gradientAt(measure, at.z, DIFFERENCE * width);
    const change = target - at.value;
    const next = nearestOnPlane(start, at.z, gradient, change, ends);
    const straight = nearestOnPlane(at.z, at.z, gradient, change, ends);
    if (gapOf(at) <= tolerance && distance(next.z, at.z) < NEAR * width) break;
    weight = Math.max(weight, 2 * Math.abs(next.factor));
    const costOf = (/** @type {Place} */ place) => distance(place.z, start) ** 2 / 2 + weight * gapOf(place);
    const places = await along(measure, at.z, [next.z, straight.z]);
    const best = leastOf(places, costOf);
    const nearest = leastOf(places, gapOf);
    if (costOf(best) < costOf(at) * (1 - LEAST_GAIN)) at = best;
    else if (gapOf(at) > tolerance && gapOf(nearest) < gapOf(at) * (1 - LEAST_GAIN)) at = nearest;
    else break;
  }
  return at;
}

/**
 * Some shares of the ways to some points.
 *
 * @param {Measure} measure
 * @param {Float64Array} z
 * @param {Float64Array[]} ends
 * @returns {Promise<Place[]>}
 */
async function along(measure, z, ends) {
  const points = ends.flatMap((end) => SHARES.map((share) => z.map((from, k) => from + share * (end[k] - from))));
  const values = await measure(Float32Array.from(points.flatMap((point) => [...point])));
  return points.map((point, i) => ({ z: point, value: values[i] }));
}

/**
 * @param {Place[]} places
 * @param {(place: Place) => number} costOf
 */
const leastOf = (places, costOf) => places.reduce((best, place) => (costOf(place) < costOf(best) ? place : best));

/**
 * By central differences.
 *
 * @param {Measure} measure
 * @param {Float64Array} z
 * @param {number} h
 */
async function gradientAt(measure, z, h) {
  const dim = z.length;
  const codes = new Float32Array(2 * dim * dim);
  for (let i = 0; i < 2 * dim; i++) {
    codes.set(z, i * dim);
    codes[i * dim + (i >> 1)] += i % 2 ? -h : h;
  }
  const values = await measure(codes);
  return Float64Array.from(z, (_, k) => (values[2 * k] - values[2 * k + 1]) / (2 * h));
}

/**
 * The point of the box that is nearest to `start` on the plane gradient . (point - z) = change, start + factor gradient
 * within its ends; where the box does not reach the plane, the point that is farthest that way.
 *
 * @param {ArrayLike<number>} start
 * @param {Float64Array} z
 * @param {Float64Array} gradient
 * @param {number} change
 * @param {number[][]} ends
 */
export function nearestOnPlane(start, z, gradient, change, ends) {
  const at = (/** @type {number} */ t) =>
    z.map((_, k) => Math.max(ends[k][0], Math.min(ends[k][1], start[k] + t * gradient[k])));
  const rest = (/** @type {Float64Array} */ p) =>
    p.reduce((sum, value, k) => sum + gradient[k] * (value - z[k]), -change);
  const square = gradient.reduce((sum, value) => sum + value * value, 0);
  if (!square) return { z, factor: 0 };
  const first = rest(at(0));
  let far = -first / square; // the answer, unless an end of the box is in the way
  for (let i = 0; i < 60 && rest(at(far)) * first > 0; i++) far *= 2;
  let near = 0;
  for (let i = 0; i < 60; i++) {
    const middle = (near + far) / 2;
    if (rest(at(middle)) * first > 0) near = middle;
    else far = middle;
  }
  return { z: at(far), factor: far };
}

/**
 * @param {ArrayLike<number>} a
 * @param {ArrayLike<number>} b
 */
const distance = (a, b) => Math.hypot(...Array.from(a, (value, k) => value - b[k]));

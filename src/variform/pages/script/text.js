// How numbers read.

import { t } from "./words.js";

export const MINUS = "\u2212";

/**
 * A number for reading: as many digits as are needed to tell values apart that are `unit` from each other.
 *
 * @param {number | null} value
 * @param {number} unit
 */
export function shown(value, unit = 0) {
  if (value === null || !Number.isFinite(value)) return "–";
  const text = digitsOf(value, unit);
  const isZero = Number(text) === 0;
  return isZero ? text.replace("-", "") : text.replace("-", MINUS);
}

/**
 * @param {number} value
 * @param {number} unit
 */
function digitsOf(value, unit) {
  const size = Math.abs(value);
  if (unit > 0 && size < 1e6) {
    const places = Math.max(0, Math.min(8, -Math.floor(Math.log10(unit))));
    return value.toFixed(places);
  }
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

/**
 * What numbers are apart at least that read differently: four digits of a middling one.
 *
 * @param {ArrayLike<number>} values
 */
export function stepOf(values) {
  const sizes = Array.from(values, Math.abs).filter((size) => Number.isFinite(size) && size > 0);
  if (!sizes.length) return 0;
  sizes.sort((a, b) => a - b);
  return 10 ** (Math.floor(Math.log10(sizes[sizes.length >> 1])) - 3);
}

/**
 * How far away something is, in words.
 *
 * @param {number} distance
 */
export function away(distance) {
  if (distance < 0.005) return t`right here`;
  return t`${distance < 10 ? distance.toFixed(2) : shown(distance)} away`;
}

/**
 * The name of a row, of one that has none the number that Python names it by.
 *
 * @param {string | undefined} name
 */
export function rowName(name) {
  const number = name?.match(/^row (\d+)$/);
  return number ? t`row ${number[1]}` : name;
}

/**
 * The shortest decimal that float32 reads back.
 *
 * @param {number} value
 */
export function float32Text(value) {
  if (!Number.isFinite(value)) return "";
  for (let digits = 1; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === Math.fround(value)) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}

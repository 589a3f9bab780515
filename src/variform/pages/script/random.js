// Random numbers from a seed, the same in every browser.

const A = [
  -3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2, 1.38357751867269e2, -3.066479806614716e1,
  2.506628277459239,
];
const B = [
  -5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1, -1.328068155288572e1, 1,
];
const C = [
  -7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838, -2.549732539343734, 4.374664141464968,
  2.938163982698783,
];
const D = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1];

/**
 * @param {number[]} coefficients the highest power first
 * @param {number} x
 */
const polynomial = (coefficients, x) => coefficients.reduce((sum, value) => sum * x + value, 0);

/**
 * The quantile of N(0, 1), by Acklam's rational approximation; its relative error is below 1.2e-9.
 *
 * @param {number} share
 * @returns {number}
 */
export function normalQuantile(share) {
  if (share > 0.97575) return -normalQuantile(1 - share);
  if (share < 0.02425) {
    const x = Math.sqrt(-2 * Math.log(share));
    return polynomial(C, x) / polynomial(D, x);
  }
  const x = share - 0.5;
  return (x * polynomial(A, x * x)) / polynomial(B, x * x);
}

/**
 * Uniform numbers in (0, 1) from a seed: the generator mulberry32.
 *
 * @param {number} seed
 */
function uniforms(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

/**
 * Draws of N(0, 1).
 *
 * @param {number} count
 * @param {number} seed
 */
export function normals(count, seed) {
  const next = uniforms(seed);
  return Float32Array.from({ length: count }, () => normalQuantile(next()));
}

/**
 * The numbers below `count` in an order that is always the same.
 *
 * @param {number} count
 */
export function shuffled(count) {
  const next = uniforms(1);
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

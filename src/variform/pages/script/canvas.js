// What every drawing on a canvas needs.

/**
 * @import { Box, Draw } from "./types.js"
 */

/**
 * A canvas of w x h CSS pixels, sharp on any screen.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {number} w
 * @param {number} h
 */
export function prepare(canvas, w, h) {
  const ratio = Math.min(3, window.devicePixelRatio || 1);
  const width = Math.max(1, Math.round(w * ratio));
  const height = Math.max(1, Math.round(h * ratio));
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  canvas.style.width = `${w}px`;
  canvas.style.height = `${h}px`;
  const context = canvas.getContext("2d");
  context.setTransform(width / w, 0, 0, height / h, 0, 0);
  return context;
}

/**
 * The largest box of an aspect that fits into w x h, centred.
 *
 * @param {number} aspect
 * @param {number} w
 * @param {number} h
 * @param {number} x
 * @param {number} y
 * @returns {Box}
 */
export function fitted(aspect, w, h, x = 0, y = 0) {
  const width = Math.min(w, h * aspect);
  const height = width / aspect;
  return { x: x + (w - width) / 2, y: y + (h - height) / 2, w: width, h: height };
}

/**
 * What draws the tile at i of a picture, whose tiles stand `across` in a row.
 *
 * @param {CanvasImageSource} picture
 * @param {number} across
 * @param {number} width
 * @param {number} height
 * @returns {Draw}
 */
export function tileOf(picture, across, width, height) {
  return (context, i, { x, y, w, h }) => {
    context.imageSmoothingEnabled = w < width;
    const left = (i % across) * width;
    const top = Math.floor(i / across) * height;
    context.drawImage(picture, left, top, width, height, x, y, w, h);
  };
}

/**
 * Round numbers from low to high, about `count` of them.
 *
 * @param {number} low
 * @param {number} high
 * @param {number} count
 */
export function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

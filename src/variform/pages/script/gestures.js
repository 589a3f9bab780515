// What a mouse, fingers and a wheel do on a map, in its pixels: nothing here knows of the plane.

/**
 * @import { Gesture } from "./types.js"
 */

const STILL = 4; // pixels that a mouse may move between press and release of a click
const SPEED = 0.002; // of the wheel: the logarithm of the zoom a pixel
const PINCH = 0.01; // the same of two fingers on a touchpad, which comes as a wheel with Control
const LINE = 16; // pixels that a wheel means that counts lines
const MOST = 200; // pixels of a wheel at once

/** @typedef {[number, number]} Place */

export class Gestures {
  /** @type {Map<number, Place>} */
  _fingers = new Map();

  /**
   * Where the mouse was pressed, and where it was last.
   *
   * @type {{ from: Place, last: Place, hasMoved: boolean, isSelecting: boolean } | null}
   */
  _press = null;

  /** Whether two fingers have been down since there was none. */
  _isPinch = false;

  /**
   * @param {HTMLElement} surface
   * @param {Gesture} on
   */
  constructor(surface, on) {
    this.surface = surface;
    this.on = on;
    const isMouse = (/** @type {PointerEvent} */ event) => event.pointerType === "mouse";
    surface.addEventListener("pointerdown", (event) => {
      surface.focus({ preventScroll: true });
      if (isMouse(event)) this._pressed(event);
      else this._fingerDown(event);
    });
    surface.addEventListener("pointermove", (event) => {
      if (isMouse(event)) this._mouseMoved(event);
      else if (event.buttons || this._fingers.has(event.pointerId)) this._fingerMoved(event);
    });
    surface.addEventListener("pointerup", (event) => {
      if (event.button !== 0) return;
      if (isMouse(event)) this._released(event);
      else this._fingerUp(event);
    });
    surface.addEventListener("pointerleave", (event) => {
      if (isMouse(event)) on.leave();
    });
    surface.addEventListener("pointercancel", (event) => this._cancelled(event));
    if (on.zoom) this._listenToZoom();
  }

  _listenToZoom() {
    const { surface, on } = this;
    surface.addEventListener("wheel", (event) => this._wheel(event), { passive: false });
    surface.addEventListener("dblclick", () => on.whole());
    const ofTwo = (/** @type {TouchEvent} */ event) => {
      if (event.touches.length > 1 && event.cancelable) event.preventDefault(); // one finger scrolls the page
    };
    surface.addEventListener("touchstart", ofTwo, { passive: false });
    surface.addEventListener("touchmove", ofTwo, { passive: false });
  }

  /**
   * @param {MouseEvent} event
   * @returns {Place}
   */
  _place(event) {
    const frame = this.surface.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  /** @param {PointerEvent} event */
  _pressed(event) {
    if (event.button !== 0 || !this.on.zoom) return;
    this.surface.setPointerCapture(event.pointerId);
    const place = this._place(event);
    this._press = { from: place, last: place, hasMoved: false, isSelecting: event.shiftKey };
    if (event.shiftKey) event.preventDefault(); // no text is selected
  }

  /** @param {PointerEvent} event */
  _mouseMoved(event) {
    const place = this._place(event);
    const press = this._press;
    if (!press) return this.on.hover(place, false);
    press.hasMoved ||= Math.hypot(place[0] - press.from[0], place[1] - press.from[1]) > STILL;
    if (!press.hasMoved) return;
    if (press.isSelecting) this.on.draw(press.from, place);
    else this.on.pan(place[0] - press.last[0], place[1] - press.last[1]);
    press.last = place;
  }

  /** @param {PointerEvent} event */
  _released(event) {
    const place = this._place(event);
    const press = this._press;
    this._press = null;
    if (!press?.hasMoved) this.on.click(place);
    else if (press.isSelecting) this.on.select(press.from, place);
  }

  /** @param {PointerEvent} event */
  _fingerDown(event) {
    const place = this._place(event);
    this._fingers.set(event.pointerId, place);
    if (this._fingers.size > 1 && this.on.zoom) {
      this._isPinch = true;
      this.on.leave();
    } else this.on.hover(place, true);
  }

  /** @param {PointerEvent} event */
  _fingerMoved(event) {
    const place = this._place(event);
    const before = [...this._fingers.values()];
    this._fingers.set(event.pointerId, place);
    if (!this._isPinch) return this.on.hover(place, true);
    if (before.length !== 2) return;
    const [from, to] = [spanOf(before), spanOf([...this._fingers.values()])];
    this.on.zoom(to.length / (from.length || 1), from.middle);
    this.on.pan(to.middle[0] - from.middle[0], to.middle[1] - from.middle[1]);
  }

  /** @param {PointerEvent} event */
  _fingerUp(event) {
    const wasPinch = this._isPinch;
    this._lift(event);
    if (!wasPinch) this.on.tap(this._place(event));
  }

  /** @param {PointerEvent} event */
  _cancelled(event) {
    this._press = null;
    this._lift(event);
    this.on.leave();
  }

  /** @param {PointerEvent} event */
  _lift(event) {
    this._fingers.delete(event.pointerId);
    if (!this._fingers.size) this._isPinch = false;
  }

  /** @param {WheelEvent} event */
  _wheel(event) {
    if (event.deltaY > 0 && this.on.isWhole()) return; // the page is scrolled
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode ? LINE : 1);
    const delta = Math.max(-MOST, Math.min(MOST, pixels));
    this.on.zoom(Math.exp(-delta * (event.ctrlKey ? PINCH : SPEED)), this._place(event));
  }
}

/**
 * How far apart two fingers are, and what lies in the middle between them.
 *
 * @param {Place[]} fingers
 */
function spanOf([a, b]) {
  const middle = /** @type {Place} */ ([(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
  return { length: Math.hypot(a[0] - b[0], a[1] - b[1]), middle };
}

// What a mouse, fingers and a wheel do on a map, in its pixels: nothing here knows of the plane.

/**
 * @import { Gesture, Place, Tool } from "./types.js"
 */

const STILL = 4; // pixels that a mouse may move between press and release of a click
const SPEED = 0.002; // of the wheel: the logarithm of the zoom a pixel
const PINCH = 0.01; // the same of two fingers on a touchpad, which comes as a wheel with Control
const LINE = 16; // pixels that a wheel means that counts lines
const MOST = 200; // pixels of a wheel at once

export class Gestures {
  /** @type {Map<number, Place>} */
  _fingers = new Map();

  /**
   * What a drag does, and its way.
   *
   * @type {{ way: Place[], hasMoved: boolean, tool: Tool } | null}
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
    const touched = (/** @type {TouchEvent} */ event) => {
      const isOurs = event.touches.length > 1 || this._tool !== "move"; // else one finger scrolls the page
      if (isOurs && event.cancelable) event.preventDefault();
    };
    surface.addEventListener("touchstart", touched, { passive: false });
    surface.addEventListener("touchmove", touched, { passive: false });
  }

  /** @returns {Tool} what a drag does */
  get _tool() {
    return this.on.tool?.() ?? "move";
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
    const tool = event.shiftKey && this._tool === "move" ? "rectangle" : this._tool;
    this._press = { way: [this._place(event)], hasMoved: false, tool };
    if (tool !== "move") event.preventDefault(); // no text is selected
  }

  /** @param {PointerEvent} event */
  _mouseMoved(event) {
    const place = this._place(event);
    const press = this._press;
    if (press) this._dragged(place);
    else this.on.hover(place, false);
  }

  /** @param {Place} place */
  _dragged(place) {
    const { way, tool } = this._press;
    const [from, last] = [way[0], way.at(-1)];
    this._press.hasMoved ||= Math.hypot(place[0] - from[0], place[1] - from[1]) > STILL;
    if (!this._press.hasMoved) return;
    way.push(place);
    if (tool === "move") this.on.pan(place[0] - last[0], place[1] - last[1]);
    else this.on.draw(way, tool);
  }

  /** @param {PointerEvent} event */
  _released(event) {
    const place = this._place(event);
    const press = this._press;
    this._press = null;
    if (!press?.hasMoved) this.on.click(place);
    else if (press.tool !== "move") this.on.select([...press.way, place], press.tool);
  }

  /** @param {PointerEvent} event */
  _fingerDown(event) {
    const place = this._place(event);
    this._fingers.set(event.pointerId, place);
    if (this._fingers.size > 1 && this.on.zoom) {
      this._isPinch = true;
      this._press = null;
      this.on.draw?.([], this._tool); // what was begun is no selection
      this.on.leave();
    } else if (this._tool !== "move") this._press = { way: [place], hasMoved: false, tool: this._tool };
    else this.on.hover(place, true);
  }

  /** @param {PointerEvent} event */
  _fingerMoved(event) {
    const place = this._place(event);
    const before = [...this._fingers.values()];
    this._fingers.set(event.pointerId, place);
    if (this._press) return this._dragged(place);
    if (!this._isPinch) return this.on.hover(place, true);
    if (before.length !== 2) return;
    const [from, to] = [spanOf(before), spanOf([...this._fingers.values()])];
    this.on.zoom(to.length / (from.length || 1), from.middle);
    this.on.pan(to.middle[0] - from.middle[0], to.middle[1] - from.middle[1]);
  }

  /** @param {PointerEvent} event */
  _fingerUp(event) {
    const wasPinch = this._isPinch;
    const press = this._press;
    this._press = null;
    this._lift(event);
    if (press?.hasMoved) this.on.select([...press.way, this._place(event)], press.tool);
    else if (!wasPinch) this.on.tap(this._place(event));
  }

  /** @param {PointerEvent} event */
  _cancelled(event) {
    this._press = null;
    this.on.draw?.([], this._tool);
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

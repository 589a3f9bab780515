// Plays a share from 0 to 1 to and fro, until it is paused.

const LONGEST = 0.1; // seconds that one frame may take: a hidden page does not leap when it is seen again

export class Player {
  /** Shares of the way that are gone, and twice that for the way back: in [0, 2). */
  _phase = 0;

  _frame = 0;

  /**
   * @param {(share: number) => void} show
   * @param {number} stops where reduced motion is wanted, the way is shown at so many places alone
   */
  constructor(show, stops) {
    this.show = show;
    this.stops = stops;
    this.seconds = 4;
  }

  get isPlaying() {
    return this._frame !== 0;
  }

  /** @param {number} share from where */
  play(share) {
    this._phase = share;
    let last = performance.now();
    const next = (/** @type {number} */ now) => {
      const passed = Math.max(0, Math.min(LONGEST, (now - last) / 1000));
      last = now;
      this._phase = (this._phase + passed / this.seconds) % 2;
      this._frame = requestAnimationFrame(next);
      this.show(this.share);
    };
    this._frame = requestAnimationFrame(next);
  }

  pause() {
    cancelAnimationFrame(this._frame);
    this._frame = 0;
  }

  /** Where it is. */
  get share() {
    const share = this._phase <= 1 ? this._phase : 2 - this._phase;
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) return share;
    return Math.round(share * (this.stops - 1)) / (this.stops - 1);
  }
}

// What a view of the page is. A new one is a file in this folder and a line in index.js; docs/extending.md adds one.

/**
 * @import { App, Contents, KeptPart } from "../types.js"
 */

export class View {
  /** Its name in the address and in ids. */
  static key = "";

  /** What its tab says. */
  static title = "";

  /** Whether it shows a latent space, which a collapsed model has not. */
  static isOfLatents = false;

  /**
   * Whether a page has what it shows.
   *
   * @param {Contents} _contents
   */
  static isFor(_contents) {
    return true;
  }

  /**
   * What of it stands in the address: parts of the state by their names.
   *
   * @param {Contents} _contents
   * @returns {Record<string, KeptPart>}
   */
  static kept(_contents) {
    return {};
  }

  /**
   * What was drawn last, in words: what a view draws with much work it draws when this is another.
   *
   * @type {string | null}
   */
  _key = null;

  /** @param {App} app */
  constructor(app) {
    this.app = app;
  }

  /**
   * Build it; it is shown from now on.
   *
   * @param {HTMLElement} _host
   */
  mount(_host) {}

  /** What is kept has changed, or the size of the page: draw what is different. */
  refresh() {}

  /** The point that follows the hand has moved. */
  move() {}

  /** The colours have changed: nothing that was drawn holds any longer; refresh() follows. */
  again() {}

  /**
   * A key that is pressed outside of fields and means something here: whether it did.
   *
   * @param {string} _key
   */
  press(_key) {
    return false;
  }

  /** Another view is opened. */
  leave() {}
}

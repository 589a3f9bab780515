// A design study: what was evaluated, where it lies in the latent space, and how it looks.

/**
 * @import { Designs } from "./designs.js"
 * @import { Sheet, StudyContents } from "./types.js"
 */

import { floatsOf } from "./bytes.js";
import { Cloud } from "./geometry.js";
import { Validity } from "./validity.js";
import { t } from "./words.js";

export const STATES = ["feasible", "infeasible", "invalid"];
export const INVALID = 2;

export class Study {
  /**
   * @param {StudyContents} contents
   * @param {Sheet & { values: Float32Array | null }} sheet the designs, ready to be drawn
   * @param {number} dim
   */
  constructor(contents, sheet, dim) {
    const { designs } = contents;
    this.contents = contents;
    this.sheet = sheet;
    this.count = designs.count;
    this.ids = designs.ids;
    this.cloud = new Cloud(floatsOf(designs.means), dim);
    this.distance = floatsOf(designs.distance);
    this.novelty = floatsOf(designs.novelty);
    this.responses = designs.columns.slice(0, designs.responses);
    const { learned } = contents.validity;
    this.validity = learned ? new Validity(learned) : null;
    this.searches = contents.searches.map(({ name, seeds, low, median, high }) => {
      return { name, seeds, low: floatsOf(low), median: floatsOf(median), high: floatsOf(high) };
    });
  }

  /**
   * @param {StudyContents} contents
   * @param {Designs} designs
   * @param {number} dim
   */
  static async of(contents, designs, dim) {
    return new Study(contents, await designs.examples(contents.designs), dim);
  }

  /** @param {string} id */
  find(id) {
    return this.ids.indexOf(id);
  }

  /** @param {number} i */
  spaceOf(i) {
    const { spaces, space } = this.contents.designs;
    return spaces[space[i]];
  }

  /**
   * Whether it has a place on the map; what could not be encoded has none.
   *
   * @param {number} i
   */
  hasPlace(i) {
    return this.cloud.point(i).every(Number.isFinite);
  }

  /**
   * What its point on the map is, in a sentence.
   *
   * @param {number} i
   */
  placeOf(i) {
    const { isLatent, isRepaired } = this.contents.designs;
    if (!this.hasPlace(i)) return t`It has no place in the latent space.`;
    if (!isLatent[i]) {
      const space = this.spaceOf(i);
      return t`It was looked for in ${space}: the point is where the encoder puts it, and decodes to a likeness.`;
    }
    if (!isRepaired[i]) return t`The point is where it was proposed, and decodes to it.`;
    return t`The point is where it was proposed; what is decoded there was repaired before it was evaluated.`;
  }
}

// How likely a design is valid, as the answers of a study tell: as kernel_validity.py fits it.

/**
 * @import { LearnedValidity, Point } from "./types.js"
 */

export class Validity {
  /** @param {LearnedValidity} learned */
  constructor({ centres, weights, bias, gamma }) {
    this.dim = centres[0].length;
    this.centres = Float64Array.from(centres.flat());
    this.weights = Float64Array.from(weights);
    this.bias = bias;
    this.gamma = gamma;
  }

  /** @param {Point} z */
  probability(z) {
    const { dim, centres, weights, gamma } = this;
    let logit = this.bias;
    for (let i = 0, at = 0; i < weights.length; i++) {
      let square = 0;
      for (let k = 0; k < dim; k++, at++) square += (z[k] - centres[at]) ** 2;
      logit += weights[i] * Math.exp(-gamma * square);
    }
    return 1 / (1 + Math.exp(-logit));
  }
}

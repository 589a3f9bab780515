// The designs of a study on the map: filled where they are feasible, hollow where they are not, crossed where invalid.

/**
 * @import { Point } from "./types.js"
 */

import { prepare } from "./canvas.js";
import { element, text } from "./elements.js";
import { INVALID, STATES, Study } from "./study.js";
import { Theme } from "./theme.js";
import { say, t } from "./words.js";

const SIZE = 4.5; // from the middle of a mark to its corner

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Study} study
 * @param {(z: Point) => [number, number]} where
 */
export function drawDesigns(context, study, where) {
  const { state } = study.contents.designs;
  // Those that matter most on top of the others.
  for (let drawn = INVALID; drawn >= 0; drawn--) {
    for (let i = 0; i < study.count; i++) {
      if (state[i] === drawn && study.hasPlace(i)) drawMark(context, drawn, where(study.cloud.point(i)));
    }
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} state
 * @param {[number, number]} place
 */
export function drawMark(context, state, [x, y]) {
  const { second, card, ink } = Theme.colours;
  context.beginPath();
  if (state === INVALID) {
    for (const side of [-1, 1]) {
      context.moveTo(x - SIZE + 1, y - side * (SIZE - 1));
      context.lineTo(x + SIZE - 1, y + side * (SIZE - 1));
    }
    stroked(context, card, 3.5);
    stroked(context, ink, 1.5);
    return;
  }
  context.moveTo(x, y - SIZE);
  for (const [dx, dy] of [
    [SIZE, 0],
    [0, SIZE],
    [-SIZE, 0],
  ])
    context.lineTo(x + dx, y + dy);
  context.closePath();
  if (state > 0) {
    stroked(context, card, 2.5);
    stroked(context, second, 1);
    return;
  }
  context.fillStyle = second;
  context.fill();
  stroked(context, card, 1);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} colour
 * @param {number} width
 */
function stroked(context, colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
}

/**
 * What the marks mean, with how many there are of each.
 *
 * @param {Study} study
 */
export function keyOfMarks(study) {
  const { name, designs } = study.contents;
  const made = element("p", { className: "marks" }, text("span", t`Evaluated designs of ${name}:`));
  STATES.forEach((words, state) => {
    const count = designs.state.filter((one) => one === state).length;
    const mark = element("canvas", { "aria-hidden": "true" });
    drawMark(prepare(mark, 12, 12), state, [6, 6]);
    made.append(element("span", {}, mark, ` ${say(words)} (${count.toLocaleString("en")})`));
  });
  return made;
}

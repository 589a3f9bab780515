// A design study: the best so far of its spaces, the Pareto front, the best designs, and some of them side by side.

/**
 * @import { Contents, KeptPart } from "../types.js"
 */

import { Chart, rangeOf, strokeOf } from "../charts.js";
import { numbersOf } from "../colouring.js";
import { Compared, compareTick } from "../compare.js";
import { button, choice, element, note, text } from "../elements.js";
import { keyOfDesign } from "../items.js";
import { LatentMap } from "../latent_map.js";
import { keyOfMarks } from "../marks.js";
import { INVALID, STATES } from "../study.js";
import { SortedTable } from "../table.js";
import { rowName, shown, stepOf } from "../text.js";
import { Theme } from "../theme.js";
import { say, t } from "../words.js";
import { View } from "./view.js";

const AT_ONCE = 20; // rows of the table
const ON_MAP = t`The evaluated designs on the map of the latent space; a click pins a point`;
const REACH = 14; // pixels from a mark within which a click means it

export class StudyView extends View {
  static key = "study";
  static title = "Study";

  /** @type {string | null} */
  _tableOf = null;

  /** @param {Contents} contents */
  static isFor({ study }) {
    return Boolean(study);
  }

  /** @returns {Record<string, KeptPart>} */
  static kept() {
    return { sort: { start: "rank", read: (text) => text } };
  }

  /** @param {HTMLElement} host */
  mount(host) {
    const { app } = this;
    this.study = app.world.study;
    this.most = AT_ONCE;
    this.axes = [0, 1];
    const { objectives, notes, validity } = this.study.contents;
    this.best = element("canvas", { role: "img", "aria-label": this._bestInWords() });
    this.legend = element("div", { className: "legend" });
    this.charts = element("div", { className: "charts" });
    this.charts.append(element("figure", {}, text("figcaption", this._captionOfBest()), this.best, this.legend));
    if (objectives.length > 1) this.charts.append(this._buildFront());
    this.said = element("p", { className: "note", role: "status" });
    const table = element("div");
    this.more = element("div", { className: "bar" });
    const compared = element("div");
    host.append(
      text("p", this._asked(), { className: "asked" }),
      this.charts,
      text("h2", t`Evaluated designs, the best first`),
      table,
      this.more,
      this.said,
      compared,
    );
    if (!app.contents.collapsed) this._buildMap(host);
    for (const words of [validity.note, ...notes]) host.append(note(say(words)));
    this.table = new SortedTable(table, t`Evaluated designs`, this._heads(), (sort) => app.set({ sort }));
    this.compared = new Compared(app, compared);
  }

  /** @param {HTMLElement} host */
  _buildMap(host) {
    const { app } = this;
    const place = element("div", { className: "map-place small" });
    host.append(text("h2", t`On the map`), keyOfMarks(this.study), place);
    this.map = new LatentMap(place, app.world, app.hand);
    this.map.moving.setAttribute("role", "img");
    this.map.moving.setAttribute("aria-label", ON_MAP);
  }

  again() {
    this._key = null;
    this.compared.again();
  }

  refresh() {
    const { app } = this;
    const key = [this.charts.clientWidth, this.axes, Theme.dark, app.state.at].join("|");
    if (key !== this._key) {
      this._key = key;
      this._drawBest();
      if (this.front) this._drawFront();
    }
    const tableOf = [app.state.sort, this.most].join("|");
    if (tableOf !== this._tableOf) {
      this._tableOf = tableOf;
      this._showTable();
    }
    this.compared.refresh();
    this.map?.show({ ...app.look(), study: this.study, marks: "dots" });
    this.move();
  }

  move() {
    const { live, near, state } = this.app;
    this.map?.mark({ z: live, near: near.index, pins: state.pins });
  }

  // --- what was asked for

  _asked() {
    const { name, objectives, constraints, designs } = this.study.contents;
    const goals = objectives.map(({ name: response, unit, goal }) => `${say(goal)} ${titled(response, unit)}`);
    const asked = goals.join(", ");
    const count = t`${designs.total.toLocaleString("en")} evaluations.`;
    if (!constraints.length) return `${name}: ${asked}. ${count}`;
    return `${t`${name}: ${asked} where ${constraints.join("; ")}.`} ${count}`;
  }

  // --- the best so far

  _captionOfBest() {
    return t`Best so far: median over seeds, and quartiles`;
  }

  _bestInWords() {
    const { label } = this.study.contents;
    const ends = this.study.searches.map(({ name, median }) => `${name} ${shown(median.at(-1))}`);
    return `${t`The best ${say(label)} so far of each space.`} ${t`At the end: ${ends.join(", ")}.`}`;
  }

  _drawBest() {
    const { searches, contents } = this.study;
    const { label, known } = contents;
    const longest = Math.max(1, ...searches.map(({ median }) => median.length));
    const values = searches.flatMap(({ low, high }) => [...low, ...high]);
    const chart = this._chart(this.best, {
      x: [0, longest],
      y: rangeOf([...values, known ?? Number.NaN]),
      across: t`evaluations`,
      up: say(label),
    });
    searches.forEach(({ low, median, high }, i) => {
      const { colour, dashes } = strokeOf(i);
      chart.band(low, high, colour);
      chart.line(
        Array.from(median, (value, k) => [k + 1, value]),
        colour,
        dashes,
      );
    });
    if (known !== null) {
      const { soft } = Theme.colours;
      chart.line(
        [
          [0, known],
          [longest, known],
        ],
        soft,
        [5, 4],
        1.2,
      );
      chart.words(t`best known design`, [longest, known], soft);
    }
    const items = searches.map(({ name, seeds, median }, i) => this._keyOf(name, seeds, median, i));
    this.legend.replaceChildren(...items);
  }

  /**
   * @param {string} name
   * @param {number} seeds
   * @param {Float32Array} median
   * @param {number} i
   */
  _keyOf(name, seeds, median, i) {
    const line = element("i", { className: "stroke" });
    const { colour, dashes } = strokeOf(i);
    line.style.borderTop = `3px ${dashes.length ? "dashed" : "solid"} ${colour}`;
    const last = median.at(-1);
    const reached = Number.isFinite(last) ? shown(last) : t`none feasible in half of the seeds`;
    const of = seeds === 1 ? t`1 seed` : t`${seeds} seeds`;
    return element("span", { className: "key" }, line, text("span", `${name}: ${reached} (${of})`));
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {ConstructorParameters<typeof Chart>[3]} axes
   */
  _chart(canvas, axes) {
    const w = Math.max(240, Math.floor(canvas.parentElement.clientWidth));
    return new Chart(canvas, w, Math.round(Math.min(340, Math.max(240, 0.62 * w))), axes);
  }

  // --- the Pareto front

  _buildFront() {
    const { objectives } = this.study.contents;
    this.front = element("canvas", { role: "img", "aria-label": this._frontInWords() });
    this.front.addEventListener("click", (event) => this._pick(event));
    this.frontKey = element("div", { className: "legend" });
    const caption = text("figcaption", t`Pareto front: feasible designs that no other one dominates`);
    const made = element("figure", {}, caption, this.front, this.frontKey);
    if (objectives.length > 2) made.append(this._choices());
    return made;
  }

  _choices() {
    const names = this.study.contents.objectives.map(({ name }, k) => /** @type {[number, string]} */ ([k, name]));
    const change = (/** @type {number} */ axis) => (/** @type {string} */ value) => {
      const other = this.axes[1 - axis];
      this.axes[axis] = Number(value);
      if (this.axes[0] === this.axes[1]) this.axes[1 - axis] = other === 0 ? 1 : 0;
      this.refresh();
    };
    const bar = element("div", { className: "bar" });
    bar.append(choice(t`across`, names, 0, change(0)), choice(t`up`, names, 1, change(1)));
    return bar;
  }

  _frontInWords() {
    const { front, knownFront } = this.study.contents;
    return t`${front.length} evaluated designs on the Pareto front, beside ${knownFront.length} known ones.`;
  }

  /** @param {number} i */
  _objectivesOf(i) {
    const { objectives } = this.study.contents;
    return /** @type {[number, number]} */ (
      this.axes.map((axis) => {
        const column = this.study.responses[objectives[axis].column];
        return column ? numbersOf(column)[i] : Number.NaN;
      })
    );
  }

  _drawFront() {
    const { objectives, front, knownFront, designs } = this.study.contents;
    const [a, b] = this.axes.map((axis) => objectives[axis]);
    const isValid = (/** @type {number} */ i) => designs.state[i] !== INVALID;
    this.points = Array.from({ length: this.study.count }, (_, i) => this._objectivesOf(i));
    const known = knownFront.map(({ values }) => /** @type {[number, number]} */ (this.axes.map((k) => values[k])));
    const reference = /** @type {[number, number]} */ ([a.reference, b.reference]);
    const shownPoints = [...front.map((i) => this.points[i]), ...known, reference];
    const chart = this._chart(this.front, {
      x: rangeOf(shownPoints.map(([x]) => x)),
      y: rangeOf(shownPoints.map(([, y]) => y)),
      across: titled(a.name, a.unit),
      up: titled(b.name, b.unit),
    });
    this.frontChart = chart;
    const { soft, ink, missing } = Theme.colours;
    chart.line(
      [
        [reference[0], chart.y[0]],
        [reference[0], chart.y[1]],
      ],
      soft,
      [5, 4],
      1.2,
    );
    chart.line(
      [
        [chart.x[0], reference[1]],
        [chart.x[1], reference[1]],
      ],
      soft,
      [5, 4],
      1.2,
    );
    chart.words(t`reference`, reference, soft);
    this._stairs(chart, known, missing, [3, 3]);
    for (const point of known) chart.dot(point, missing, 3);
    chart.within(() => {
      for (let i = 0; i < this.study.count; i++) {
        if (isValid(i)) chart.dot(this.points[i], this._shade(i), 2, 0.35);
      }
    });
    this._stairs(
      chart,
      front.map((i) => this.points[i]),
      ink,
      [],
    );
    for (const i of front) chart.dot(this.points[i], this._shade(i), 3.5);
    this._showFrontKey(missing);
  }

  /** @param {number} i */
  _shade(i) {
    const name = this.study.spaceOf(i);
    const at = this.study.searches.findIndex((search) => search.name === name);
    return at < 0 ? Theme.colours.soft : strokeOf(at).colour;
  }

  /**
   * The edge of what points dominate; of more than two objectives there is none in a plane.
   *
   * @param {Chart} chart
   * @param {[number, number][]} points
   * @param {string} colour
   * @param {number[]} dashes
   */
  _stairs(chart, points, colour, dashes) {
    const { objectives } = this.study.contents;
    if (objectives.length > 2) return;
    const up = objectives[1].goal === "min" ? -1 : 1;
    const sorted = points.toSorted(([x], [other]) => (objectives[0].goal === "min" ? x - other : other - x));
    /** @type {[number, number][]} */
    const stairs = [];
    for (const [x, y] of sorted) {
      const last = stairs.at(-1);
      if (last && up * (y - last[1]) < 0) continue;
      if (last) stairs.push([x, last[1]]);
      stairs.push([x, y]);
    }
    chart.line(stairs, colour, dashes, 1.2);
  }

  /** @param {string} shade of known designs */
  _showFrontKey(shade) {
    const items = this.study.searches.map(({ name }, i) => keyWith(strokeOf(i).colour, name));
    this.frontKey.replaceChildren(...items, keyWith(shade, t`known designs`));
  }

  /** @param {MouseEvent} event */
  _pick(event) {
    const frame = this.front.getBoundingClientRect();
    const here = [event.clientX - frame.left, event.clientY - frame.top];
    let best = -1;
    let least = REACH;
    this.points.forEach((point, i) => {
      const [x, y] = this.frontChart.place(...point);
      const away = Math.hypot(x - here[0], y - here[1]);
      if (!(away < least)) return; // nor where a point has no place
      best = i;
      least = away;
    });
    if (best >= 0) this._goTo(best);
  }

  // --- the table

  _heads() {
    const { app, study } = this;
    const { designs } = study.contents;
    const key = (/** @type {number} */ i) => keyOfDesign(study.ids[i]);
    const goTo = (/** @type {number} */ i) => button(study.ids[i], () => this._goTo(i), { title: study.placeOf(i) });
    const responses = study.responses.map((column, k) => {
      const values = numbersOf(column);
      const order = (/** @type {number} */ i) => values[i];
      const step = stepOf(values);
      const cell = (/** @type {number} */ i) => shown(values[i], step);
      return { key: `response-${k}`, name: column.name, unit: column.unit, isNumber: true, cell, order };
    });
    const state = (/** @type {number} */ i) => this._state(i);
    const number = (/** @type {Float32Array} */ values, step = 10 * stepOf(values)) => ({
      isNumber: true,
      cell: (/** @type {number} */ i) => shown(values[i], step),
      order: (/** @type {number} */ i) => values[i],
    });
    return [
      { key: "compare", name: t`compare`, cell: (/** @type {number} */ i) => compareTick(app, key(i), study.ids[i]) },
      { key: "rank", name: t`design`, cell: goTo, order: (/** @type {number} */ i) => designs.rank[i] },
      ...responses,
      { key: "state", name: t`state`, cell: state, order: (/** @type {number} */ i) => designs.state[i] },
      {
        key: "nearest",
        name: t`nearest known`,
        cell: (/** @type {number} */ i) => rowName(designs.nearest[i]),
        order: (/** @type {number} */ i) => designs.nearest[i],
      },
      { key: "distance", name: t`distance from it`, ...number(study.distance) },
      { key: "novelty", name: t`novelty`, ...number(study.novelty) },
    ];
  }

  /** @param {number} i */
  _state(i) {
    const { state, reasons } = this.study.contents.designs;
    return text("span", say(STATES[state[i]]), { className: `state-${STATES[state[i]]}`, title: reasons[i] });
  }

  _showTable() {
    const { count, contents } = this.study;
    const places = Array.from({ length: count }, (_, i) => i);
    const ranked = places.toSorted((i, j) => contents.designs.rank[i] - contents.designs.rank[j]);
    this.table.show(ranked, this.app.state.sort, this.most);
    this.more.replaceChildren();
    const there = Math.min(this.most, count);
    this.more.append(text("span", t`${there} of ${count.toLocaleString("en")}`, { className: "pages" }));
    if (there < count) {
      const show = () => {
        this.most += 5 * AT_ONCE;
        this.refresh();
      };
      this.more.append(button(t`Show more`, show));
    }
  }

  /** @param {number} i */
  _goTo(i) {
    const { app, study } = this;
    if (study.hasPlace(i)) app.goTo(study.cloud.point(i));
    const reason = study.contents.designs.reasons[i];
    const why = reason ? ` ${t`It is invalid: ${reason}.`}` : "";
    this.said.textContent = `${study.ids[i]}: ${study.placeOf(i)}${why}`;
  }
}

/**
 * @param {string} name
 * @param {string} unit
 */
const titled = (name, unit) => (unit ? `${name} [${unit}]` : name);

/**
 * @param {string} shade
 * @param {string} words
 */
function keyWith(shade, words) {
  const dot = element("i");
  dot.style.background = shade;
  return element("span", { className: "key" }, dot, text("span", words));
}

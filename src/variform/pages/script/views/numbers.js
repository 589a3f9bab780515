// The held-out numbers of the run.

/** @import { Question } from "../types.js" */

import { element, note, scrolled, text } from "../elements.js";
import { MINUS, shown } from "../text.js";
import { say, t } from "../words.js";
import { View } from "./view.js";

const HOW_TO_READ =
  "Mean ± standard error over the rows. Lower NLL is better, higher ELBO is better; constants are included.";
const NUMBER = { className: "number" };

export class NumbersView extends View {
  static key = "numbers";
  static title = "Numbers";

  /** @param {HTMLElement} host */
  mount(host) {
    const { numbers, latents } = this.app.contents;
    const { active, notes } = numbers;
    let { facts } = numbers;
    const { error } = this.app.decoder;
    const levels = t`within ${shown(255 * error)} of 255 parts of the range`;
    if (error !== undefined) facts = [...facts, [t`Decoder of this page, beside Python's`, levels]];
    const run = facts.map(([name, value]) => element("div", {}, text("dt", say(name)), text("dd", say(value))));
    const table = element(
      "div",
      {},
      text("h2", t`Held-out numbers`),
      scrolled(t`Held-out numbers`, this._table()),
      note(say(HOW_TO_READ)),
    );
    const others = element(
      "div",
      {},
      text("h2", latents.unit ? t`KL per latent dimension` : t`Variance of each posterior mean`),
      this._bars(),
      note(t`${active.count} of ${active.of} units are active: their posterior mean varies by more than 0.01.`),
      text("h2", t`The run`),
      element("dl", { className: "facts" }, ...run),
    );
    host.append(table, others);
    if (notes.length) {
      const items = notes.map((words) => text("li", say(words)));
      others.append(text("h2", t`To be known`), element("ul", { className: "notes" }, ...items));
    }
    const questions = numbers.questions.map(questionOf);
    if (questions.length) host.append(element("div", { className: "depth" }, text("h2", t`In depth`), ...questions));
  }

  _table() {
    const { header, rows, links } = this.app.contents.numbers;
    return tableOf(header, rows, (name, i) => nameOf(name, links[i]));
  }

  _bars() {
    const { order, measure, errors, unit } = this.app.contents.latents;
    const most = Math.max(...measure, 1e-9);
    const list = element("ol", { className: "kl" });
    for (const k of order) {
      const bar = element("i");
      bar.style.width = `${(100 * Math.max(0, measure[k])) / most}%`;
      const error = errors?.[k] ? ` ± ${shown(errors[k], errors[k])}` : "";
      const value = shown(measure[k], errors?.[k] || 0.001);
      const track = element("span", { className: "track" }, bar);
      list.append(
        element("li", {}, text("b", `z${k + 1}`), track, text("span", `${value}${error} ${say(unit)}`, NUMBER)),
      );
    }
    return list;
  }
}

/**
 * What was asked in depth: its answer opens its numbers.
 *
 * @param {Question} question
 */
function questionOf({ title, asked, answer, tables, meanings }) {
  const whole = element("details", { className: "question" });
  const answered = element("summary", {}, text("strong", say(title)), `: ${say(answer)}.`);
  whole.append(answered, note(say(asked)));
  for (const { title: subtitle, header, rows, note: remark, own } of tables) {
    /** @param {string} name */
    const said = (name) => (own.includes(name) ? name : say(name));
    /** @param {string} name */
    const named = (name) => (own.includes(name) ? name : explained(name, meanings[name]));
    if (subtitle) whole.append(text("h3", said(subtitle)));
    const table = tableOf(header, rows, named, named);
    whole.append(scrolled(said(subtitle || title), table));
    if (remark) whole.append(note(say(remark)));
  }
  return whole;
}

/**
 * @param {string[]} header
 * @param {string[][]} rows
 * @param {(name: string, i: number) => string | Node} named the first cell of a row
 * @param {(name: string) => string | Node} [headed] the first cell of a column
 */
function tableOf(header, rows, named, headed = say) {
  const heads = header.map((words, i) => element("th", { scope: "col", className: i ? "number" : "" }, headed(words)));
  const lines = rows.map(([name, ...cells], i) =>
    element("tr", {}, element("th", { scope: "row" }, named(name, i)), ...cells.map(cellOf)),
  );
  const head = element("thead", {}, element("tr", {}, ...heads));
  return element("table", { className: "numbers" }, head, element("tbody", {}, ...lines));
}

/** @param {string} name @param {string} [meaning] a click on the name opens it */
function explained(name, meaning) {
  if (!meaning) return say(name);
  const mark = text("span", "?", { className: "mark" });
  return element("details", { className: "why" }, element("summary", {}, say(name), mark), note(say(meaning)));
}

/** @param {string} name @param {string} [link] where it is explained */
function nameOf(name, link) {
  return link ? text("a", say(name), { href: link }) : say(name);
}

/** @param {string} words a number, or why there is none */
function cellOf(words) {
  const isNumber = /^[-+\u2212]?\.?\d/.test(words);
  return text("td", say(words).replace(/^-/, MINUS), { className: isNumber ? "number" : "" });
}

// A table whose rows are sorted by the column that is chosen.

import { button, element, scrolled, text } from "./elements.js";
import { t } from "./words.js";

/**
 * A column: its cells as text or elements, and what they are sorted by.
 *
 * @typedef {object} Head
 * @property {string} key
 * @property {string} name
 * @property {string} [unit]
 * @property {boolean} [isNumber]
 * @property {(i: number) => string | Node} cell
 * @property {(i: number) => number | string} [order] without it the table is not sorted by the column
 */

export class SortedTable {
  /**
   * @param {HTMLElement} host
   * @param {string} label
   * @param {Head[]} heads
   * @param {(sort: string) => void} onsort
   */
  constructor(host, label, heads, onsort) {
    this.heads = heads;
    this.onsort = onsort;
    this.table = element("table", { className: "sorted" });
    host.append(scrolled(label, this.table));
  }

  /**
   * @param {number[]} places of the rows, in the order that they have where two are alike
   * @param {string} sort the key of a column, with a minus before it from the greatest on
   * @param {number} most rows that are shown
   */
  show(places, sort, most) {
    const isDown = sort.startsWith("-");
    const head = this.heads.find(({ key, order }) => order && key === sort.replace(/^-/, ""));
    const sorted = head ? places.toSorted((a, b) => compared(head.order(a), head.order(b), isDown)) : places;
    const focused = this.table.contains(document.activeElement) ? document.activeElement.id : "";
    const row = element("tr", {}, ...this.heads.map((one) => this._head(one, one === head, isDown)));
    const body = element("tbody", {}, ...sorted.slice(0, most).map((i) => this._row(i)));
    this.table.replaceChildren(element("thead", {}, row), body);
    if (focused) document.getElementById(focused)?.focus();
  }

  /**
   * @param {Head} head
   * @param {boolean} isSorted
   * @param {boolean} isDown
   */
  _head({ key, name, unit, isNumber, order }, isSorted, isDown) {
    const sorting = isDown ? "descending" : "ascending";
    const cell = element("th", { scope: "col", className: isNumber ? "number" : "" });
    const words = [text("span", name), unit ? text("small", ` ${unit}`) : null];
    if (!order) {
      cell.append(...words.filter(Boolean));
      return cell;
    }
    cell.setAttribute("aria-sort", isSorted ? sorting : "none");
    const next = isSorted && !isDown ? `-${key}` : key;
    const press = button("", () => this.onsort(next), { id: `sort-${key}`, title: t`Sort by ${name}` });
    press.append(...words.filter(Boolean), text("i", arrowOf(isSorted, isDown), { "aria-hidden": "true" }));
    cell.append(press);
    return cell;
  }

  /** @param {number} i */
  _row(i) {
    return element(
      "tr",
      {},
      ...this.heads.map(({ isNumber, cell }) => {
        const made = element("td", { className: isNumber ? "number" : "" });
        made.append(cell(i));
        return made;
      }),
    );
  }
}

/**
 * @param {boolean} isSorted
 * @param {boolean} isDown
 */
function arrowOf(isSorted, isDown) {
  if (!isSorted) return "";
  return isDown ? " ▼" : " ▲";
}

/**
 * The order of two values; what is not known comes last, whichever way the table is sorted.
 *
 * @param {number | string} a
 * @param {number | string} b
 * @param {boolean} isDown
 */
export function compared(a, b, isDown) {
  const [lacksA, lacksB] = [a, b].map((value) => typeof value === "number" && !Number.isFinite(value));
  if (lacksA || lacksB) return Number(lacksA) - Number(lacksB);
  const order =
    typeof a === "number" && typeof b === "number"
      ? a - b
      : String(a).localeCompare(String(b), "en", { numeric: true });
  return isDown ? -order : order;
}

// Elements of the page.

/** @param {string} name an id of page.html.j2 */
export const byId = (name) => document.getElementById(name);

/**
 * An element with properties, attributes (of names with a dash, and `role`), listeners (`on...`) and children; strings
 * become text.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} options what is undefined, null or false is left out
 * @param {(Node | string | null)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role") made.setAttribute(name, value === true ? "" : value);
    else Object.assign(made, { [name]: value });
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/**
 * An element with nothing but text in it.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} words
 * @param {Record<string, any>} options
 */
export const text = (tag, words, options = {}) => element(tag, { ...options, textContent: words });

/** @param {string} words */
export const note = (words) => text("p", words, { className: "note" });

/**
 * @param {string} words
 * @param {() => void} onclick
 * @param {Record<string, any>} options
 */
export const button = (words, onclick, options = {}) => text("button", words, { type: "button", onclick, ...options });

/**
 * What may be wider than the page, and is scrolled by itself.
 *
 * @param {string} label
 * @param {Node} child
 */
export const scrolled = (label, child) =>
  element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": label }, child);

/**
 * A choice among many; `onchange` gets the key that is chosen, as text.
 *
 * @param {string} label
 * @param {[string | number, string][]} options keys and what is shown for them
 * @param {string | number} value
 * @param {(key: string) => void} onchange
 */
export function choice(label, options, value, onchange) {
  const select = element("select", { onchange: () => onchange(select.value) });
  for (const [key, words] of options) {
    const selected = String(key) === String(value);
    select.append(text("option", words, { value: key, selected }));
  }
  return element("label", { className: "field" }, text("span", label), select);
}

/**
 * Buttons of which one is on.
 *
 * @param {string} label
 * @param {[string, string][]} options
 * @param {string} value
 * @param {(key: string) => void} onchange
 */
export function segments(label, options, value, onchange) {
  const group = element("div", { className: "segments", role: "group", "aria-label": label });
  for (const [key, words] of options) {
    const press = () => {
      for (const other of group.children) other.setAttribute("aria-pressed", String(other === made));
      onchange(key);
    };
    const made = button(words, press, { "aria-pressed": String(key === value) });
    group.append(made);
  }
  return group;
}

/**
 * @param {string} label
 * @param {boolean} value
 * @param {(isOn: boolean) => void} onchange
 */
export function tick(label, value, onchange) {
  const box = element("input", { type: "checkbox", checked: value, onchange: () => onchange(box.checked) });
  return element("label", { className: "tick" }, box, text("span", label));
}

/**
 * The parts of a sentence, the names of options each in one piece, which a line does not break.
 *
 * @param {string} sentence
 */
export function unbroken(sentence) {
  const parts = sentence.split(/(--[a-z-]+)/);
  return parts.map((part, i) => (i % 2 ? text("span", part, { className: "option" }) : part));
}

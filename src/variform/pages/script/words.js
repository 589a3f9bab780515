// The words of the page in the language of its reader. English stands in the script; a page carries a table of phrases
// for each other language, from `pages/words`, whose forms language.py explains. Phrases of the script are looked up as
// they stand; sentences that come from Python with numbers and names in them are recognised.

const HOLE = /\{(\d+)(#|:say)?\}/g;
const ANYTHING = "(?:(?![.!?] |; ).)+?"; // one part of a sentence
const FIGURE = "[\\d.,%+\\-±e ]+";
const PARTS = [/((?<=[.!?]) +(?=\S)|\n+)/, /(; )/, /(, (?![^(]*\)))/];
const MOST_KEPT = 5000;

/** @param {string} words */
const escaped = (words) => words.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");

/** @param {string} words */
const bare = (words) => (words.endsWith(".") ? words.slice(0, -1) : words);

/** @param {string} key a phrase, in which a hole for a number is one for anything */
const plain = (key) => small(bare(key)).replaceAll("#}", "}");

/** @param {string} words */
const small = (words) => words.charAt(0).toLowerCase() + words.slice(1);

/** Whether the brackets in a part of a sentence are its own. @param {string} part */
function isBalanced(part) {
  let depth = 0;
  for (const letter of part) {
    if (letter === "(") depth++;
    else if (letter === ")") depth--;
    if (depth < 0) return false;
  }
  return depth === 0;
}

/** @param {string} key */
function patternOf(key) {
  const seen = new Set();
  let start = 0;
  let source = "";
  for (const hole of key.matchAll(HOLE)) {
    source += escaped(key.slice(start, hole.index));
    const name = `h${hole[1]}`;
    source += seen.has(name) ? `\\k<${name}>` : `(?<${name}>${hole[2] === "#" ? FIGURE : ANYTHING})`;
    seen.add(name);
    start = hole.index + hole[0].length;
  }
  source += escaped(key.slice(start));
  const first = key.charAt(0);
  if (/[a-z]/i.test(first)) source = `[${first.toLowerCase()}${first.toUpperCase()}]${source.slice(1)}`;
  return new RegExp(`^${source}$`, "s");
}

/** @typedef {{ both: Record<string, string>, explorer: Record<string, string> }} Table */

export class Words {
  /** @type {Map<string, string>} */
  _exact = new Map();

  /** @type {{ letters: number, pattern: RegExp, phrase: string }[]} */
  _patterns = [];

  /** @type {Map<string, string>} */
  _kept = new Map();

  /**
   * @param {Record<string, string>} sentences of Python, by the English ones; none for English itself
   * @param {Record<string, string>} phrases of the script
   */
  constructor(sentences = {}, phrases = {}) {
    for (const [english, phrase] of Object.entries({ ...sentences, ...phrases })) {
      this._exact.set(plain(english), bare(phrase));
    }
    for (const [english, phrase] of Object.entries(sentences)) {
      const key = bare(english);
      const letters = key.replace(HOLE, "").length;
      if (letters < key.length) this._patterns.push({ letters, pattern: patternOf(key), phrase: bare(phrase) });
    }
    this._patterns.sort((a, b) => b.letters - a.letters);
  }

  /**
   * A text of the page's, by the whole, by sentence or by clause; what has no phrase stays English.
   *
   * @param {string} text
   * @returns {string}
   */
  say(text) {
    if (!this._exact.size) return text;
    const known = this._kept.get(text);
    if (known !== undefined) return known;
    const said = this._said(text);
    if (this._kept.size < MOST_KEPT) this._kept.set(text, said);
    return said;
  }

  /**
   * A phrase with what stands in its holes, which is put in as it stands.
   *
   * @param {readonly string[]} strings
   * @param {unknown[]} values
   */
  fill(strings, values) {
    const key = strings.reduce((all, part, i) => `${all}{${i - 1}}${part}`);
    const stop = key.endsWith(".") ? "." : "";
    const phrase = this._exact.get(plain(key));
    const put = (/** @type {string} */ _, /** @type {string} */ at, /** @type {string | undefined} */ how) =>
      how === ":say" ? this.say(String(values[Number(at)])) : String(values[Number(at)]);
    return phrase === undefined ? key.replace(HOLE, put) : phrase.replace(HOLE, put) + stop;
  }

  /**
   * @param {string} text
   * @returns {string}
   */
  _said(text) {
    const whole = this._found(text);
    if (whole !== null) return whole;
    for (const between of PARTS) {
      const pieces = text.split(between);
      if (pieces.length > 1) return pieces.map((piece, i) => (i % 2 ? piece : this.say(piece))).join("");
    }
    return text;
  }

  /**
   * @param {string} text
   * @returns {string | null}
   */
  _found(text) {
    const key = bare(text);
    const stop = text.slice(key.length);
    const exact = this._exact.get(small(key));
    if (exact !== undefined) return exact + stop;
    for (const { pattern, phrase } of this._patterns) {
      const groups = pattern.exec(key)?.groups;
      if (!groups || !Object.values(groups).every(isBalanced)) continue;
      const put = (/** @type {string} */ _, /** @type {string} */ at, /** @type {string | undefined} */ how) =>
        how ? this.say(groups[`h${at}`]) : groups[`h${at}`];
      return phrase.replace(HOLE, put) + stop;
    }
    return null;
  }
}

/**
 * The language of a page: the one that it was written in, or where it has several the first that the reader prefers.
 *
 * @param {Record<string, Table>} tables the phrases of each language but English
 * @param {string} written
 * @param {readonly string[]} preferred such as `ko-KR`
 */
export function languageOf(tables, written, preferred) {
  if (written in tables) return written;
  const codes = preferred.map((language) => language.toLowerCase().split("-")[0]);
  return codes.find((code) => code === "en" || code in tables) ?? "en";
}

/** Where there is no page, as in tests, there is English alone. */
function ofPage() {
  /** @type {Record<string, Table> | undefined} */
  const tables = globalThis.variform?.words;
  if (!tables) return new Words();
  const root = document.documentElement;
  const code = languageOf(tables, root.lang, navigator.languages);
  root.lang = code;
  return new Words(tables[code]?.both, tables[code]?.explorer);
}

const words = ofPage();

/** @param {string} text that the page has from Python, or a phrase */
export const say = (text) => words.say(text);

/**
 * A phrase with what changes in it.
 *
 * @param {TemplateStringsArray} strings
 * @param {unknown[]} values
 */
export const t = (strings, ...values) => words.fill(strings, values);

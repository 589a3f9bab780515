// The colours of the page and of what is drawn on it.

const FONTS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif';

// Each is a variable of page.css.
const colours = {
  paper: "",
  card: "",
  ink: "",
  soft: "",
  line: "",
  accent: "",
  second: "",
  fog: "",
  panel: "",
  missing: "",
  lit: "",
};

export const Theme = {
  colours,
  dark: false,

  /** Of categories, by palette.py. */
  palettes: { light: /** @type {string[]} */ ([]), dark: /** @type {string[]} */ ([]) },

  get palette() {
    return Theme.palettes[Theme.dark ? "dark" : "light"];
  },

  /** Take over what the style sheet says now. */
  read() {
    const style = getComputedStyle(document.documentElement);
    for (const name of /** @type {(keyof typeof colours)[]} */ (Object.keys(colours))) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
    Theme.dark = style.getPropertyValue("--is-dark").trim() === "1";
  },

  /** @param {number} size of a font in pixels */
  font: (size, weight = 400) => `${weight} ${size}px ${FONTS}`,
};

const VIRIDIS = "#440154 #482475 #414487 #355f8d #2a788e #21918c #22a884 #44bf70 #7ad151 #bddf26 #fde725"
  .split(" ")
  .map(hexOf);

/**
 * The parts of a colour `#rrggbb`.
 *
 * @param {string} text
 */
export function hexOf(text) {
  return [1, 3, 5].map((place) => Number.parseInt(text.slice(place, place + 2), 16));
}

/**
 * Red, green and blue of a colour `#rrggbb` or `rgb(r,g,b)`.
 *
 * @param {string} text
 */
export function partsOf(text) {
  return text.startsWith("#") ? hexOf(text) : text.match(/\d+/g).slice(0, 3).map(Number);
}

/**
 * A colour of the perceptually uniform scale viridis, for a share in [0, 1]; in the dark without its darkest part.
 *
 * @param {number} share
 */
export function scaleColour(share) {
  const begin = Theme.dark ? 0.2 : 0;
  const at = (begin + Math.max(0, Math.min(1, share)) * (1 - begin)) * (VIRIDIS.length - 1);
  const low = Math.min(VIRIDIS.length - 2, Math.floor(at));
  const from = VIRIDIS[low];
  const to = VIRIDIS[low + 1];
  const parts = from.map((value, k) => Math.round(value + (to[k] - value) * (at - low)));
  return `rgb(${parts.join(",")})`;
}

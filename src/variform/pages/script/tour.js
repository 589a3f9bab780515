// A tour of the page in ten steps, each of which points to a control and says what to do with it.

/**
 * @import { App } from "./types.js"
 */

import { button, element, text } from "./elements.js";
import { say, t } from "./words.js";

const KEPT = "variform-tour"; // the name under which the browser keeps that the tour was offered
const GAP = 12; // pixels between the card and what it points to

/**
 * `view` is opened first; `at` finds the control, of several that which begins with `begins`.
 *
 * @typedef {{ view: string, at: string, begins?: string, title: string, words: string }} TourStep
 */

/** @type {TourStep[]} */
const STEPS = [
  {
    view: "map",
    at: "#view .map-place",
    title: "The map",
    words:
      "Each mark is one of the examples. Those that the model finds alike lie close together. Move " +
      "the pointer over the " +
      "map, or tap it.",
  },
  {
    view: "map",
    at: "#design .now",
    title: "The design at the point",
    words:
      "Every place of the map stands for a design. The one at the point is shown here, beside the " +
      "nearest real example.",
  },
  {
    view: "map",
    at: "#view .field",
    begins: "Colour",
    title: "Colours",
    words:
      "Choose by what the marks are coloured. Neighbours of one colour say that the map has found what you look for.",
  },
  {
    view: "map",
    at: "#view .tick",
    begins: "Fog",
    title: "Fog",
    words:
      "Fog lies where there are no examples. What is shown there is a guess: be careful with it. Here " +
      "it is turned off.",
  },
  {
    view: "map",
    at: "#view .zooms",
    title: "Nearer",
    words: "Zoom with these, with the wheel, or with two fingers. Drag the map to move it.",
  },
  {
    view: "map",
    at: "#view .search",
    title: "Find an example",
    words: "Type a name, a label or the number of a row, and choose from the list: the point goes there.",
  },
  {
    view: "map",
    at: "#design .actions",
    title: "Keep what you like",
    words: "Pin keeps the design at the point; so does a click on the map. The other buttons save it as a file.",
  },
  {
    view: "sliders",
    at: "#view .slider",
    title: "Sliders",
    words: "Each slider moves one thing that the model has learned, and its strip shows what that changes. Pull one.",
  },
  {
    view: "morph",
    at: "#view .player",
    title: "Morphs",
    words: "From one pin to another, step by step. Press Play and watch one design become the other.",
  },
  {
    view: "numbers",
    at: "#view .scroll",
    title: "How good is it?",
    words:
      "The model beside simpler ones, on examples that it has not seen. The ? above lists all keys. " +
      "That is all: explore.",
  },
];

/** Whether the tour was offered on this computer before; where a browser keeps nothing, it was not. */
function wasOffered() {
  try {
    return localStorage.getItem(KEPT) !== null;
  } catch {
    return false; // a frame in a notebook may keep nothing
  }
}

function remember() {
  try {
    localStorage.setItem(KEPT, "offered");
  } catch {
    // it is offered again next time
  }
}

export class Tour {
  /** @type {HTMLElement | null} */
  _card = null;

  /** @type {Element | null} */
  _shown = null;

  _at = 0;

  /**
   * @param {App} app
   * @param {HTMLElement} tools where the buttons of the page stand
   */
  constructor(app, tools) {
    this.app = app;
    this.steps = STEPS.filter(({ view }) => app.views.some(({ key }) => key === view));
    this.starter = button(t`Tour`, () => this.start(), { title: t`What to do with this page, step by step` });
    tools.prepend(this.starter);
    if (!wasOffered()) this._offer(tools);
    this._place = () => this._placeCard();
  }

  /** @param {HTMLElement} tools */
  _offer(tools) {
    const decline = () => {
      remember();
      offer.remove();
      this.starter.focus();
    };
    const accept = button(t`Take the tour`, () => this.start(), { className: "accept" });
    const offer = element(
      "p",
      { className: "offer" },
      text("span", t`New here?`),
      accept,
      button(t`No, thanks`, decline),
    );
    this.offer = offer;
    tools.prepend(offer);
  }

  start() {
    remember();
    this.offer?.remove();
    this._card?.remove();
    this.title = text("h2", "", { id: "tour-title" });
    this.words = text("p", "", { id: "tour-words", "aria-live": "polite" });
    this.count = text("span", "", { className: "pages" });
    this.back = button(t`Back`, () => this._go(-1));
    this.next = button(t`Next`, () => this._go(1), { className: "accept" });
    const end = button("×", () => this.end(), { className: "away", "aria-label": t`End the tour` });
    const buttons = element("div", { className: "bar" }, this.back, this.next, this.count);
    this._card = element("div", { className: "tour" }, this.title, this.words, buttons, end);
    this._card.setAttribute("role", "dialog");
    this._card.setAttribute("aria-labelledby", "tour-title");
    this._card.setAttribute("aria-describedby", "tour-words");
    this._card.addEventListener("keydown", (event) => this._key(event));
    document.body.append(this._card);
    addEventListener("resize", this._place);
    addEventListener("scroll", this._place, { passive: true });
    this._at = -1;
    this._go(1);
  }

  end() {
    this._card.remove();
    this._card = null;
    this._point(null);
    removeEventListener("resize", this._place);
    removeEventListener("scroll", this._place);
    this.starter.focus();
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    if (event.key === "Escape") this.end();
    else if (event.key === "ArrowRight") this._go(1);
    else if (event.key === "ArrowLeft") this._go(-1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * The next step in a direction whose control is there; behind the last one the tour ends.
   *
   * @param {number} step 1 or -1
   * @returns {void}
   */
  _go(step) {
    const at = this._at + step;
    if (at >= this.steps.length) return this.end();
    if (at < 0) return;
    const { view, at: where, begins = "", title, words } = this.steps[at];
    if (this.app.state.view !== view) this.app.open(view);
    const controls = [...document.querySelectorAll(where)];
    const control = controls.find((one) => one.textContent.startsWith(say(begins)));
    if (!control) {
      this.steps.splice(at, 1); // this page has no such control
      if (step < 0) return this._go(-1);
      this._at = at - 1;
      return this._go(1);
    }
    this._at = at;
    this.title.textContent = say(title);
    this.words.textContent = say(words);
    this.count.textContent = t`${at + 1} of ${this.steps.length}`;
    this.back.disabled = at === 0;
    this.next.textContent = at + 1 === this.steps.length ? t`Done` : t`Next`;
    this._point(control);
    this.next.focus({ preventScroll: true });
  }

  /** @param {Element | null} control */
  _point(control) {
    this._shown?.classList.remove("toured");
    this._shown = control;
    if (!control) return;
    control.classList.add("toured");
    control.scrollIntoView({ block: "center", inline: "nearest" });
    this._placeCard();
  }

  // Below what it points to, or above, or where both lack the room at the lower edge. On a phone the style sheet says.
  _placeCard() {
    if (!this._card || !this._shown) return;
    const frame = this._shown.getBoundingClientRect();
    const { offsetWidth: w, offsetHeight: h } = this._card;
    const below = frame.bottom + GAP;
    const above = frame.top - GAP - h;
    let top = innerHeight - h - GAP;
    if (below + h < innerHeight) top = below;
    else if (above > 0) top = above;
    const left = Math.max(GAP, Math.min(innerWidth - w - GAP, frame.left));
    this._card.style.top = `${top}px`;
    this._card.style.left = `${left}px`;
  }
}

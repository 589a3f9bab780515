// As much of a browser as a drawing needs: canvases that write down what is drawn on them.

/** A 2d context: `calls` holds [name, ...arguments] of every call, and `of(name)` the arguments of those of a name. */
function recorder() {
  const calls = [];
  const of = (name) => calls.filter(([called]) => called === name).map(([, ...given]) => given);
  const draw =
    (name) =>
    (...given) =>
      calls.push([name, ...given]);
  return new Proxy({ calls, of }, { get: (known, name) => known[name] ?? draw(name) });
}

class Element {
  constructor() {
    this.style = {};
    this.classList = { add() {} };
    this.listeners = {};
    this.children = [];
    this.context = recorder();
    this.clientWidth = 400;
    this.clientHeight = 300;
    this.offsetWidth = 80;
    this.offsetHeight = 40;
  }

  append(...children) {
    this.children.push(...children);
  }

  replaceChildren(...children) {
    this.children = children;
  }

  setAttribute() {}

  addEventListener(name, call) {
    this.listeners[name] = call;
  }

  getContext() {
    return this.context;
  }

  getBoundingClientRect() {
    return { left: 10, top: 20 };
  }

  focus() {}

  setPointerCapture() {}
}

/** Make `document` and what a canvas needs; gives an element to draw into. */
export function fakeBrowser() {
  globalThis.document = { createElement: () => new Element() };
  globalThis.window = { devicePixelRatio: 1 };
  globalThis.devicePixelRatio = 1;
  globalThis.ImageData = class {
    constructor(width, height) {
      Object.assign(this, { width, height, data: new Uint8ClampedArray(4 * width * height) });
    }
  };
  return new Element();
}

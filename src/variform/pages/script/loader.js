// Starts the page: unpacks what packing.py has packed, its script, its data and the weights of its decoder, and runs
// the script. It stands in the page as it is here; what fails from here on is told in the page.
{
  const TOO_OLD =
    "this browser is too old to unpack it. Open the page in Chrome or Edge 85, Firefox 113, Safari 16.4 or newer";
  const BITS = 13; // of two characters

  const digits = new Uint8Array(127);
  let base = 0;
  for (let code = 32; code < 127; code++) {
    if (!'"&<>'.includes(String.fromCharCode(code))) digits[code] = base++;
  }

  /**
   * Of each two characters the first is the lower digit; one that is left at the end has six bits or fewer.
   *
   * @param {string} text
   */
  const bytesOf = (text) => {
    const bytes = new Uint8Array(Math.floor((BITS * (text.length >> 1) + 6 * (text.length & 1)) / 8));
    let held = 0; // bits, of which the lowest come first
    let count = 0;
    let at = 0;
    for (let place = 0; place < text.length; place += 2) {
      const high = place + 1 < text.length ? digits[text.charCodeAt(place + 1)] : 0;
      held |= (base * high + digits[text.charCodeAt(place)]) << count;
      for (count += BITS; count >= 8; count -= 8) {
        if (at < bytes.length) bytes[at++] = held;
        held >>>= 8;
      }
    }
    return bytes;
  };

  /**
   * What an element holds, which then goes; null where there is none.
   *
   * @param {string} name its id
   */
  const unpacked = async (name) => {
    const element = document.getElementById(name);
    if (!element) return null;
    element.remove();
    const stream = new Blob([bytesOf(element.textContent)]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  /** The page, built; what comes back is its App. */
  const start = async () => {
    if (!globalThis.DecompressionStream) throw new Error(TOO_OLD);
    const [script, data, weights] = await Promise.all(["script", "data", "weights"].map(unpacked));
    const textOf = (/** @type {Uint8Array} */ bytes) => new TextDecoder().decode(bytes);
    const { words, ...rest } = JSON.parse(textOf(data));
    globalThis.variform.words = words; // which the script asks for as it begins
    const element = document.createElement("script");
    element.textContent = textOf(script);
    document.head.append(element); // it runs here: the page's policy names its hash
    return globalThis.variform.start(rest, weights);
  };

  /** @param {Error} error */
  const tell = (error) => {
    const failure = document.createElement("p");
    failure.className = "failure";
    failure.setAttribute("role", "alert");
    failure.textContent = `The explorer could not start: ${error.message}`;
    document.querySelector("main").prepend(failure);
    console.error(error);
  };

  /** Of a notebook around the page, which notebook.js answers. @type {Promise<MessagePort>} */
  const port = new Promise((resolve) => {
    globalThis.addEventListener("message", ({ data, ports }) => {
      if (data === "variform: selection" && ports.length === 1) resolve(ports[0]);
    });
  });

  globalThis.variform = { port, ready: start() };
  globalThis.variform.ready.catch(tell);
}

// The explorer in a notebook: the page in a frame that cannot touch the notebook, and the rows selected on its map.

/**
 * @typedef {{ get: (name: string) => any, set: (name: string, value: any) => void, save_changes: () => void }} Model
 */

/** @param {{ model: Model, el: HTMLElement }} widget */
function render({ model, el }) {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts allow-downloads");
  frame.title = "variform explorer";
  frame.style.cssText = "width: 100%; height: 760px; border: 0";
  frame.addEventListener("load", () => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => {
      model.set("selection", data);
      model.save_changes();
    };
    frame.contentWindow.postMessage("variform: selection", "*", [port2]);
  });
  frame.srcdoc = model.get("page");
  el.append(frame);
}

export default { render };

// A picture of what the page shows.

import { element } from "./elements.js";
import { Theme } from "./theme.js";

/**
 * The view and the design beside it as a PNG of twice their size: their elements drawn by the browser itself, from a
 * picture of SVG.
 *
 * @param {string} view its key, as the style sheet asks for it
 * @returns {Promise<Blob>}
 */
export async function pictureOfPage(view) {
  const main = document.querySelector("main");
  const { width, height } = main.getBoundingClientRect();
  const body = document.createElement("body");
  body.dataset.view = view;
  body.append(copyOf(main));
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgOf(body, width, height))}`;
  await picture.decode();
  const canvas = element("canvas", { width: 2 * width, height: 2 * height });
  const context = canvas.getContext("2d");
  context.fillStyle = Theme.colours.paper;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/**
 * @param {HTMLElement} body
 * @param {number} width
 * @param {number} height
 */
function svgOf(body, width, height) {
  const style = document.querySelector("style").textContent.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const size = `width="${width}" height="${height}"`;
  const theme = Theme.dark ? "dark" : "light";
  const html = new XMLSerializer().serializeToString(body);
  const inside = `<foreignObject width="100%" height="100%">${html}</foreignObject>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" ${size} data-theme="${theme}">`;
  return `${svg}<style>${style}</style>${inside}</svg>`;
}

/**
 * A copy whose drawings, choices and inputs look as they do now, which a clone forgets.
 *
 * @param {HTMLElement} main
 */
function copyOf(main) {
  const copy = /** @type {HTMLElement} */ (main.cloneNode(true));
  const wanted = "canvas, select, input";
  const after = copy.querySelectorAll(wanted);
  main.querySelectorAll(wanted).forEach((node, i) => {
    if (node instanceof HTMLCanvasElement) after[i].replaceWith(imageOf(node));
    else if (node instanceof HTMLSelectElement) after[i].replaceWith(chosenOf(node));
    else if (node instanceof HTMLInputElement) {
      after[i].setAttribute("value", node.value);
      if (node.checked) after[i].setAttribute("checked", "");
    }
  });
  return copy;
}

/** @param {HTMLCanvasElement} canvas */
function imageOf(canvas) {
  const { className, clientWidth: width, clientHeight: height } = canvas;
  const picture = element("img", { src: canvas.toDataURL(), className, width, height });
  picture.style.cssText = canvas.style.cssText;
  return picture;
}

/** @param {HTMLSelectElement} select */
function chosenOf(select) {
  return element("span", { className: "chosen", textContent: select.selectedOptions[0]?.textContent ?? "" });
}

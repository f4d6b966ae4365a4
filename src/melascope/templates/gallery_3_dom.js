// Elements from data: text is only ever set as text, so nothing that a file says can become markup.
"use strict";
const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// A sentence in Markdown of `code` and **strong** only.
function note(text) {
  let strong = null;
  const nodes = [];
  for (const piece of text.split(/(`[^`]*`|\*\*)/)) {
    if (piece === "**") {
      if (strong) nodes.push(strong);
      strong = strong ? null : make("strong");
    } else if (piece) {
      const node = piece.startsWith("`") ? make("code", null, piece.slice(1, -1)) : document.createTextNode(piece);
      if (strong) strong.append(node);
      else nodes.push(node);
    }
  }
  return strong ? [...nodes, strong] : nodes;
}

const plain = (text) => text.replaceAll("**", "").replaceAll("`", "");
const says = (text, attributes) => make("p", attributes, note(text));
const count = (n, one) => `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;

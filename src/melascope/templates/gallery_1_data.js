// What is known of the cases: facts of all; details a block at a time, read when one of it is looked at.
"use strict";
const about = JSON.parse(document.getElementById("about").textContent);
const blocks = document.getElementsByClassName("block"); // grows while the page is read
const whole = new Promise((done) => addEventListener("DOMContentLoaded", done));
const unpackedBlocks = new Map();
let facts = null; // columns over all cases, see gallery/page_data.py
let caseOf = new Map(); // stem -> number of the case
let numberOf = new Map(); // image id -> number of the case

function bytesOf(base64) {
  const text = atob(base64.trim());
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

async function contentOf(element) {
  if (element.type === "application/json") return JSON.parse(element.textContent);
  const packed = new Blob([bytesOf(element.textContent)]).stream();
  return JSON.parse(await new Response(packed.pipeThrough(new DecompressionStream("gzip"))).text());
}

function readFacts() {
  facts = JSON.parse(document.getElementById("facts").textContent);
  facts.n = facts.id.length;
  facts.stem.forEach((stem, i) => caseOf.set(stem, i));
  facts.id.forEach((id, i) => numberOf.set(id, i));
}

async function detailsOf(i) {
  const place = Math.floor(i / about.details);
  if (!unpackedBlocks.has(place)) {
    unpackedBlocks.set(place, place === 0 ? contentOf(blocks[0]) : whole.then(() => contentOf(blocks[place])));
    if (unpackedBlocks.size > 40) unpackedBlocks.delete(unpackedBlocks.keys().next().value);
  }
  return (await unpackedBlocks.get(place))[i % about.details];
}

const lesionOf = (i) => facts.lesion[i] || "\0" + facts.id[i];
const outcomeOf = (i) => about.outcomes[facts.outcome[i]];

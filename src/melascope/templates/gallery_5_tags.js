// A reader's tags and comments: kept in this browser, exported as CSV, built into the page by --tags.
"use strict";
const TAG_STORE = `melascope-tags:${about.gallery}`;
const builtIn = new Map(Object.entries(about.tags)); // image id -> [tags, comment]
let mine = readStore(); // image id -> [tags, comment], what the reader changed here
let storeWorks = true;

function readStore() {
  try {
    const kept = JSON.parse(localStorage.getItem(TAG_STORE) || "[]");
    return new Map(kept.filter(([id, words]) => typeof id === "string" && Array.isArray(words?.[0]) && typeof words[1] === "string"));
  } catch {
    return new Map();
  }
}

function keepStore() {
  try {
    localStorage.setItem(TAG_STORE, JSON.stringify([...mine]));
    storeWorks = true;
  } catch {
    storeWorks = false; // private windows and full disks: the words last as long as the page
  }
}

const tagsOf = (i) => mine.get(facts.id[i]) || builtIn.get(facts.id[i]) || [[], ""];
const isTagged = (i) => tagsOf(i)[0].length > 0 || tagsOf(i)[1] !== "";
const allTags = () => [...new Set([...about.suggested_tags, ...facts.id.flatMap((_, i) => tagsOf(i)[0])])];

function setTags(i, tags, comment) {
  mine.set(facts.id[i], [[...new Set(tags)], comment]);
  keepStore();
  for (const place of document.querySelectorAll(`[data-tags="${i}"]`)) place.replaceChildren(...tagChips(i));
  showExport();
}

function tagChips(i) {
  const [tags, comment] = tagsOf(i);
  return [...tags, ...(comment ? ["comment"] : [])].map((tag) => make("span", { class: "tag" }, tag));
}

function showExport() {
  document.getElementById("export").hidden = !facts.id.some((_, i) => isTagged(i));
}

// A cell of a CSV file; what a spreadsheet would run as a formula gets an apostrophe, which --tags takes off again.
function cell(text) {
  const guarded = /^'*[=+\-@\t\r\n＝＋－＠]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
}

function tagsAsCsv() {
  const rows = facts.id.flatMap((id, i) => (isTagged(i) ? [[id, tagsOf(i)[0].join(";"), tagsOf(i)[1]]] : []));
  return [["image_id", "tags", "comment"], ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
}

function exportTags() {
  const address = URL.createObjectURL(new Blob([tagsAsCsv()], { type: "text/csv" }));
  make("a", { href: address, download: "tags.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

// The form in an open case.
function tagForm(i) {
  const [tags, comment] = tagsOf(i);
  const status = make("span", { role: "status", class: "quiet small" });
  const saved = () => (status.textContent = storeWorks ? "kept in this browser" : "this browser keeps nothing: export before you leave");
  const boxes = allTags().map((tag) => make("label", null,
    make("input", { type: "checkbox", value: tag, checked: tags.includes(tag), onchange: () => { keep(); saved(); } }), ` ${tag}`));
  const own = make("input", { type: "text", maxlength: 60, placeholder: "another tag", "aria-label": "Another tag",
    onkeydown: (event) => { if (event.key === "Enter") { event.preventDefault(); addOwn(); } }, onchange: () => addOwn() });
  const words = make("textarea", { rows: 2, maxlength: 2000, id: "comment", oninput: () => { keep(); saved(); } });
  words.value = comment;
  const form = make("fieldset", { class: "tags" }, make("legend", null, "Your tags"), boxes, own, make("label", { class: "comment" }, "Comment", words), status);
  function keep() {
    setTags(i, [...form.querySelectorAll("input[type=checkbox]:checked")].map((box) => box.value), words.value.trim());
  }
  function addOwn() {
    const tag = own.value.replaceAll(";", " ").trim();
    if (!tag) return;
    own.value = "";
    const there = [...form.querySelectorAll("input[type=checkbox]")].find((box) => box.value === tag);
    if (there) there.checked = true;
    else own.before(make("label", null, make("input", { type: "checkbox", value: tag, checked: true, onchange: () => { keep(); saved(); } }), ` ${tag}`));
    keep();
    saved();
  }
  return form;
}

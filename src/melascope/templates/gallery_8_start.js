// Address, keyboard and start. The address keeps what is shown, so that it can be sent to somebody.
"use strict";
const byId = (id) => document.getElementById(id);

function hashParameters() {
  return new URLSearchParams(location.hash.slice(1));
}

function replaceHash(change) {
  const parameters = hashParameters();
  change(parameters);
  history.replaceState(null, "", `#${parameters}`);
}

function readHash() {
  const parameters = hashParameters();
  const before = JSON.stringify(state);
  for (const name of Object.keys(state)) state[name] = parameters.get(name) || (name === "view" ? "cards" : "");
  for (const name of Object.keys(FILTERS)) {
    const known = name === "tag" || [...byId(`f-${name}`).options].some((option) => option.value === state[name]);
    if (!known) state[name] = "";
  }
  if (![...byId("sort").options].some((option) => option.value === state.sort)) state.sort = "";
  if (before !== JSON.stringify(state) || drawn === 0) {
    showState();
    refresh();
  }
  const wanted = parameters.get("case");
  if (wanted === null) {
    if (box.open) box.close();
  } else if (caseOf.has(wanted)) openCase(caseOf.get(wanted), parameters.get("map") || "");
  else byId("count").textContent += `. The case “${wanted}” is not in this gallery.`;
}

function showState() {
  for (const name of Object.keys(FILTERS)) byId(`f-${name}`).value = state[name];
  byId("sort").value = state.sort;
  if (document.activeElement !== byId("search")) byId("search").value = state.search;
  byId("view-cards").setAttribute("aria-pressed", state.view === "cards");
  byId("view-tiles").setAttribute("aria-pressed", state.view === "tiles");
  if (Object.keys(FILTERS).some((name) => name !== "section" && state[name])) showFilters(true);
}

function showFilters(open) {
  byId("filters").hidden = !open;
  byId("more").setAttribute("aria-expanded", open);
}

function set(name, value) {
  state[name] = value;
  replaceHash((parameters) => (value && !(name === "view" && value === "cards") ? parameters.set(name, value) : parameters.delete(name)));
  showState();
  refresh();
}

function reset() {
  for (const name of [...Object.keys(FILTERS), "sort", "search"]) state[name] = "";
  byId("search").value = "";
  history.replaceState(null, "", state.view === "tiles" ? "#view=tiles" : "#");
  showState();
  refresh();
}

// Moves the focus among the cases of the list.
function step(by) {
  const all = [...document.querySelectorAll("#cases [data-case]")];
  const at = all.indexOf(document.activeElement.closest?.("#cases [data-case]"));
  const next = all[Math.max(0, Math.min(all.length - 1, at + by))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input[type=text], input[type=search], textarea, select");
  if (typing) return;
  const ranging = event.target.matches("input[type=range], input[type=radio]");
  const arrow = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === "?") byId("help").showModal();
  else if (byId("help").open) return;
  else if (box.open) {
    if (arrow && !ranging) goTo(shown[shown.indexOf(opened) + arrow]);
    else if (/^[1-7]$/.test(event.key)) showMap(about.classes[event.key - 1]);
    else if (event.key === "0") showMap("");
    else if (event.key === "c") showMap(look.map === CONTRAST ? "mel" : CONTRAST);
    else if (event.key === "o") byId("outline")?.click();
    else if (event.key === "t") byId("comment").focus();
    else return;
  } else if (event.key === "/") byId("search").focus();
  else if (arrow) step(arrow);
  else if (event.key === "Enter" && event.target.matches("article[data-case]")) location.hash = hashWithCase(Number(event.target.dataset.case));
  else return;
  event.preventDefault();
}

function hashWithCase(i) {
  const parameters = hashParameters();
  parameters.set("case", facts.stem[i]);
  return parameters.toString();
}

// A link to a case keeps the filters of the address.
function onLink(event) {
  const link = event.target.closest?.("a[href^='#case=']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const wanted = new URLSearchParams(link.getAttribute("href").slice(1));
  const parameters = hashParameters();
  parameters.delete("map");
  for (const [name, value] of wanted) parameters.set(name, value);
  location.hash = parameters.toString();
}

async function start() {
  readFacts();
  fillFilters();
  byId("bar").hidden = false;
  for (const name of Object.keys(FILTERS)) byId(`f-${name}`).addEventListener("change", (event) => set(name, event.target.value));
  byId("f-tag").addEventListener("focus", fillFilters);
  byId("sort").addEventListener("change", (event) => set("sort", event.target.value));
  byId("search").addEventListener("input", (event) => set("search", event.target.value));
  byId("search").addEventListener("keydown", (event) => { if (event.key === "Escape") event.target.blur(); });
  byId("bar").addEventListener("submit", (event) => event.preventDefault());
  byId("more").addEventListener("click", () => showFilters(byId("filters").hidden));
  byId("view-cards").addEventListener("click", () => set("view", "cards"));
  byId("view-tiles").addEventListener("click", () => set("view", "tiles"));
  byId("reset").addEventListener("click", reset);
  byId("export").addEventListener("click", exportTags);
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  addEventListener("hashchange", readHash);
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", onLink);
  observer.observe(sentinel);
  showExport();
  readHash();
}

start().catch((error) => {
  byId("cases").replaceChildren(make("p", { class: "warning" }, `The cases could not be unpacked (${error.message}). The same notes as text: `, make("a", { href: "FIGURES.md" }, "FIGURES.md"), "."));
});

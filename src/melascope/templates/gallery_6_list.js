// Which cases are shown, in which order, and drawn as the reader scrolls.
"use strict";
const AGES = [[0, 30], [30, 45], [45, 60], [60, 75], [75, 200]];
const ageBand = (age) => (age === null ? "unknown" : AGES.findIndex(([from, to]) => age >= from && age < to).toString());
const ageName = (band) => (band === "unknown" ? "unknown" : AGES[band][1] === 200 ? `${AGES[band][0]} and over` : `${AGES[band][0]}–${AGES[band][1] - 1}`);
const orUnknown = (value) => value || "unknown";

// A filter: the case's values (it passes if one is the wanted one), and a value in words. A new one is a row and a <select>.
const FILTERS = {
  section: { values: (i) => [about.outcomes[facts.section[i]].key], name: (key) => about.outcomes.find((row) => row.key === key).short },
  dx: { values: (i) => [orUnknown(facts.dx[i])], name: nameOf },
  predicted: { values: (i) => [facts.predicted[i]], name: nameOf },
  above: { values: (i) => [String(facts.above[i])] },
  split: { values: (i) => [orUnknown(facts.split[i])], name: (value) => value },
  sex: { values: (i) => [orUnknown(facts.sex[i])], name: (value) => value },
  age: { values: (i) => [ageBand(facts.age[i])], name: ageName },
  site: { values: (i) => [orUnknown(facts.site[i])], name: (value) => value },
  dx_type: { values: (i) => [orUnknown(facts.dx_type[i])], name: (value) => about.dx_types[value] || value },
  map_place: { values: (i) => [facts.map_place[i]], name: (value) => about.map_places[value] },
  flips: { values: (i) => (facts.flips[i] === null ? ["untested"] : facts.flips[i].length ? ["any", ...facts.flips[i]] : ["none"]), name: (value) => ({ any: "any intervention", none: "no intervention", untested: "not tested" })[value] || value },
  tag: { values: (i) => (isTagged(i) ? ["any", ...tagsOf(i)[0]] : ["none"]), name: (value) => ({ any: "tagged or commented", none: "not tagged" })[value] || value },
};
const state = { sort: "", search: "", view: "cards", ...Object.fromEntries(Object.keys(FILTERS).map((name) => [name, ""])) };
const list = document.getElementById("cases");
let shown = []; // numbers of the cases, in the order of the page
let groups = []; // the same, a list for each lesion
let drawn = 0; // groups that stand on the page
let turn = 0; // a newer turn makes an older one stop

function passes(i, words) {
  if (words && !facts.id[i].toLowerCase().includes(words) && !facts.lesion[i].toLowerCase().includes(words)) return false;
  return Object.entries(FILTERS).every(([name, filter]) => state[name] === "" || filter.values(i).includes(state[name]));
}

// Cases of one lesion stand together, where the first of them in the order asked for stands.
function choose() {
  const words = state.search.trim().toLowerCase();
  let found = [...Array(facts.n).keys()].filter((i) => passes(i, words));
  if (state.sort) {
    const down = !state.sort.startsWith("-");
    const column = facts[state.sort.replace("-", "")];
    const known = found.filter((i) => column[i] !== null);
    known.sort((a, b) => (down ? column[b] - column[a] : column[a] - column[b]) || a - b);
    found = [...known, ...found.filter((i) => column[i] === null)];
  }
  const lesions = new Map();
  for (const i of found) lesions.set(lesionOf(i), [...(lesions.get(lesionOf(i)) || []), i]);
  groups = [...lesions.values()];
  shown = groups.flat();
}

const sectionOf = (group) => Math.min(...group.map((i) => facts.section[i]));

async function drawMore() {
  const mine = turn;
  const most = state.view === "tiles" ? 80 : drawn === 0 ? 2 : 8; // the first cards stand there at once
  const batch = groups.slice(drawn, drawn + most);
  if (batch.length === 0) return;
  const from = drawn;
  drawn += batch.length;
  const ready = state.view === "tiles" ? null : await Promise.all(batch.flat().map(detailsOf));
  if (mine !== turn) return;
  let at = 0;
  batch.forEach((group, place) => {
    const before = groups[from + place - 1];
    if (!state.sort && (!before || sectionOf(before) !== sectionOf(group))) list.append(heading(sectionOf(group)));
    if (state.view === "tiles") list.append(...group.map(tile));
    else list.append(lesionBox(group, group.map((i) => card(ready[at++], i))));
  });
  observer.unobserve(sentinel); // seen again at once if it is still near
  observer.observe(sentinel);
}

function heading(place) {
  const { key, heading: title, explanation } = about.outcomes[place];
  const members = groups.filter((group) => sectionOf(group) === place);
  return make("header", { class: "section", id: `section-${key}` }, make("h2", null, title),
    make("p", null, `${explanation} Shown: ${count(members.flat().length, "image")} of ${count(members.length, "lesion")}.`));
}

function lesionBox(group, cards) {
  if (group.length === 1) return make("div", { class: "lesion" }, cards);
  return make("div", { class: "lesion many" },
    make("h3", { class: "lesion-title" }, `One lesion, ${group.length} pictures: `, make("code", null, facts.lesion[group[0]])), cards);
}

function refresh() {
  turn += 1;
  choose();
  drawn = 0;
  list.replaceChildren();
  list.className = state.view === "tiles" ? "page tiles" : "page";
  const all = shown.length === facts.n;
  document.getElementById("count").textContent =
    `${all ? "All " : ""}${count(shown.length, "image")} of ${count(groups.length, "lesion")}${all ? "" : ` (of ${facts.n.toLocaleString("en")} images)`}`;
  document.getElementById("reset").hidden = all && !state.sort;
  if (shown.length === 0) list.append(make("p", { class: "quiet" }, "No case passes these filters."));
  list.setAttribute("aria-busy", "false");
  return drawMore();
}

// Each select offers the values that occur, with their number.
function fillFilters() {
  for (const [name, filter] of Object.entries(FILTERS)) {
    const select = document.getElementById(`f-${name}`);
    if (!filter.name) continue;
    const counts = new Map();
    for (let i = 0; i < facts.n; i++) for (const value of new Set(filter.values(i))) counts.set(value, (counts.get(value) || 0) + 1);
    const order = name === "section" ? about.outcomes.map((row) => row.key).filter((key) => counts.has(key)) : [...counts.keys()].sort();
    while (select.options.length > 1) select.remove(1);
    for (const value of order) select.append(make("option", { value }, `${filter.name(value)} (${counts.get(value).toLocaleString("en")})`));
    select.value = state[name];
    select.closest("label").hidden = name !== "section" && order.length < 2;
  }
}

const sentinel = document.getElementById("sentinel");
const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && drawMore(), { rootMargin: "1500px" });

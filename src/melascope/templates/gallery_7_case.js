// One case in the light-box: any of the seven maps or the contrast, its opacity, the outline, the note, the reader's tags.
"use strict";
const box = document.getElementById("case");
const look = { map: "", opacity: 1, outline: true };
let opened = -1;

const mapTitle = (detail, name) => (name === CONTRAST ? `Why not melanoma? mel minus ${firstAnswer(detail)}` : name ? `Map of ${nameOf(name)}` : "No map");

async function openCase(i, map) {
  const detail = await detailsOf(i);
  const same = opened === i;
  opened = i;
  look.map = map === "none" ? "" : map === CONTRAST || about.classes.includes(map) ? map : same ? look.map : detail.shown[0];
  box.setAttribute("aria-label", `Case ${facts.id[i]}`);
  box.replaceChildren(caseHead(i), make("div", { class: "case-body" }, stage(detail, i), caseText(detail, i)));
  if (!box.open) box.showModal();
  if (!same) box.scrollTop = 0;
}

function caseHead(i) {
  const place = shown.indexOf(i);
  const where = place < 0 ? "not among the cases shown" : `${(place + 1).toLocaleString("en")} of ${shown.length.toLocaleString("en")}`;
  const move = (label, to, text) => make("button", { type: "button", "aria-label": label, disabled: to === undefined, onclick: () => goTo(to) }, text);
  return make("div", { class: "case-head" },
    move("Previous case", shown[place - 1], "←"), move("Next case", place < 0 ? undefined : shown[place + 1], "→"),
    make("span", { class: "quiet small" }, where),
    make("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => box.close() }, "✕"));
}

function stage(detail, i) {
  const label = `${outcomeOf(i).chip}: photograph ${facts.id[i]}${look.map ? `, ${mapTitle(detail, look.map)}` : ""}`;
  const frame = picture(detail, i, look.map, { outline: look.outline, alt: label, lazy: false });
  const canvas = frame.querySelector("canvas");
  const fade = () => canvas && (canvas.style.opacity = look.opacity);
  fade();
  const slider = make("input", { type: "range", min: 0, max: 1, step: 0.05, value: look.opacity, id: "opacity", disabled: !look.map,
    oninput: (event) => { look.opacity = Number(event.target.value); fade(); } });
  return make("div", { class: "stage" }, frame,
    make("p", { class: "stage-title" }, make("strong", null, mapTitle(detail, look.map)), evidence(detail)),
    make("p", { class: "map-says quiet small", role: "status" }, placeOf(detail)),
    make("div", { class: "stage-tools" },
      make("label", null, "Opacity of the map ", slider),
      detail.outline && make("label", null, make("input", { type: "checkbox", id: "outline", checked: look.outline, onchange: (event) => { look.outline = event.target.checked; openCase(i, look.map || "none"); } }), " Outline of the lesion")),
    mapChoice(detail, i),
    look.map === CONTRAST
      ? make("p", { class: "ends contrast" }, make("span", null, `for ${nameOf(firstAnswer(detail))}`), make("span", null, "for melanoma"))
      : make("div", null, ramp(), make("p", { class: "ends" }, make("span", null, "0"), make("span", { class: "number" }, topOf(detail)))));
}

// Where the map shown speaks most, in words, for who cannot see its colours.
function placeOf(detail) {
  if (!look.map) return "";
  const middle = look.map === CONTRAST ? 127.5 : 0;
  const cells = [...levelsOf(detail, look.map)].map((level) => level - middle);
  const top = Math.max(...cells);
  const forWhat = look.map === CONTRAST ? `melanoma rather than ${nameOf(firstAnswer(detail))}` : nameOf(look.map);
  if (top <= 0) return `No cell speaks for ${forWhat}.`;
  const place = cells.indexOf(top);
  const third = (at, of, words) => words[Math.min(2, Math.floor((3 * (at + 0.5)) / of))];
  const down = third(Math.floor(place / about.map_width), about.map_height, ["upper", "middle", "lower"]);
  const along = third(place % about.map_width, about.map_width, ["left", "centre", "right"]);
  const where = `${down} ${along}`.replace("middle centre", "middle");
  return `${cells.filter((cell) => cell > 0).length} of ${cells.length} cells speak for ${forWhat}, the strongest in the ${where} of the picture.`;
}

// Whether the map shown has any colour at all.
function evidence(detail) {
  if (!look.map || look.map === CONTRAST) return "";
  return levelsOf(detail, look.map).some((level) => level > 0) ? "" : ": no positive evidence";
}

function mapChoice(detail, i) {
  const choice = (value, text, number) => make("label", { class: "choice" },
    make("input", { type: "radio", name: "map", value, checked: look.map === value, onchange: () => showMap(value, true) }),
    make("span", null, text, number !== undefined && make("span", { class: "number quiet" }, ` ${number}`)));
  return make("fieldset", { class: "choices" }, make("legend", null, "Map"), choice("", "none"),
    about.classes.map((name, k) => choice(name, name, detail.probabilities[k])), choice(CONTRAST, `why not melanoma? mel − ${firstAnswer(detail)}`));
}

// Who chose with the buttons stays on them; after a digit the arrows still walk through the cases.
function showMap(name, byButton = false) {
  replaceHash((parameters) => parameters.set("map", name || "none"));
  openCase(opened, name || "none").then(() => byButton && box.querySelector(`input[name=map][value="${name}"]`)?.focus());
}

function caseText(detail, i) {
  return make("div", { class: "case-text" }, head(detail, i, "h2"),
    !HELD_OUT.includes(facts.split[i]) && says(detail.split_says, { class: "warning" }),
    verdict(detail, i), sentences(detail), tagForm(i), details(detail, i));
}

function goTo(i) {
  if (i === undefined) return;
  replaceHash((parameters) => { parameters.set("case", facts.stem[i]); parameters.delete("map"); });
  openCase(i, look.map === CONTRAST ? CONTRAST : "");
}

box.addEventListener("close", () => {
  const was = opened;
  opened = -1;
  replaceHash((parameters) => { parameters.delete("case"); parameters.delete("map"); });
  document.querySelector(`#cases [data-case="${was}"]`)?.focus({ preventScroll: false });
});
box.addEventListener("click", (event) => { if (event.target === box) box.close(); });

// The local page: a picture goes to the program on this computer, and what it answers is drawn.
"use strict";
const $ = (id) => document.getElementById(id);
const nameOf = (name) => about.class_names[name] || "unknown";
const number = (value) => value.toFixed(4);
const percent = (share) => (share > 0 && share < 0.01 ? "under 1 %" : share > 0.99 && share < 1 ? "over 99 %" : `${Math.round(100 * share)} %`);
const view = { map: "mel", opacity: 1, outline: true };
let asked = 0; // only the last picture's answer is shown
let pictureAddress = "";

function tell(text) { $("status").textContent = text; }

function refuse(error, fix) {
  tell("");
  $("result").hidden = true;
  $("problem").replaceChildren(make("p", null, make("strong", null, error)), make("p", null, fix));
}

async function ask(blob, what) {
  const turn = ++asked;
  $("problem").replaceChildren();
  if (blob.size > about.max_bytes) {
    refuse(`The file is larger than ${about.max_bytes / 2 ** 20} MiB.`, "Choose a smaller file.");
    return;
  }
  tell(`Looking at ${what} …`);
  let response, answer;
  try {
    response = await fetch("/answer", { method: "POST", headers: { "content-type": "application/octet-stream" }, body: blob });
    answer = await response.json();
  } catch {
    if (turn === asked) refuse("The program gave no answer.", "Is it still running? Start it again with: melascope app RUN");
    return;
  }
  if (turn !== asked) return;
  if (!response.ok) {
    refuse(answer.error || "The picture was refused.", answer.fix || "Choose another picture.");
    return;
  }
  show(answer, blob, what);
}

async function show(answer, blob, what) {
  if (pictureAddress) URL.revokeObjectURL(pictureAddress);
  pictureAddress = URL.createObjectURL(blob);
  const result = $("result");
  result.replaceChildren(...(answer.classified ? classified(answer, what) : unlike(answer, what)));
  result.hidden = false;
  tell(answer.classified ? "Answered." : "Not classified.");
  result.focus({ preventScroll: true });
  result.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

const strange = (likeness) => `Distance from the training images: ${likeness.strangeness.toFixed(2)}; refused above ${likeness.limit.toFixed(2)}. ${percent(likeness.stranger_share)} of the validation images lie as far or farther.`;

function unlike(answer, what) {
  return [
    make("h2", { id: "result-title" }, "Not classified: this picture is unlike those that the model learned from"),
    make("div", { class: "unlike" }, make("img", { src: pictureAddress, alt: `The picture: ${what}` }),
      make("div", null,
        make("p", null, "In its colours and textures it lies further from the training images than nearly all validation images do. Whatever the model would say of it could not be trusted, so it is not asked."),
        make("p", null, "If it is a dermoscopic picture: fill the frame with the lesion and the skin around it, in focus, evenly lit, without frame, text or ruler, and try again. Some such pictures are refused all the same."),
        make("p", null, make("strong", null, "A refusal says nothing about the lesion: it is no sign that it is harmless.")),
        make("p", { class: "quiet small" }, strange(answer.likeness)))),
  ];
}

function classified(answer, what) {
  const found = answer.classified;
  const side = found.called ? "at or above" : "below";
  const headline = found.called ? `Called: ${about.p_name} is at or above the frozen threshold` : `Not called: ${about.p_name} is below the frozen threshold`;
  const detail = drawable(found);
  return [
    make("h2", { id: "result-title" }, headline),
    make("div", { class: "answer" },
      make("div", { id: "stage" }, stage(detail, answer, what)),
      make("div", null,
        make("p", null, `${about.p_name} `, make("strong", { class: "number" }, number(found.p_target)), `, ${side} the frozen threshold `, make("span", { class: "number" }, number(found.threshold)), "."),
        scalePlot(found, side),
        make("p", { class: "small" }, [...document.querySelectorAll("#bought p")].slice(1).map((one) => one.textContent).join(" ")),
        make("h3", null, "First three answers"), table(found.top.map((one) => [one.class, one.probability])),
        make("details", null, make("summary", null, "All seven probabilities"), table(about.classes.map((name) => [name, found.probabilities[name]]))),
        make("p", { class: "quiet small" }, `The picture is like those the model learned from. ${strange(answer.likeness)}`))),
    make("h3", { id: "near-title" }, "Nearest validation cases, and their truth"),
    make("ul", { class: "near", "aria-labelledby": "near-title" }, found.neighbours.map(neighbour)),
  ];
}

function table(rows) {
  return make("table", null, make("tbody", null, rows.map(([name, value], at) => make("tr", { class: at === 0 && rows.length === 3 ? "first" : null },
    make("th", { scope: "row" }, `${nameOf(name)} (${name})`), make("td", { class: "number" }, number(value))))));
}

// P(mel) on a scale that is stretched so that the threshold is its middle, with round numbers below it.
function scalePlot(found, side) {
  const power = Math.log(0.5) / Math.log(Math.min(Math.max(found.threshold, 1e-12), 1 - 1e-12));
  const raw = found.p_target ** power;
  const place = found.called ? Math.max(raw, 0.5) : Math.min(raw, 0.5);
  const at = (share) => `${(100 * share).toFixed(2)}%`;
  const label = (share, text, y, strong) => draw("text", { x: at(share), y, "text-anchor": share < 0.06 ? "start" : share > 0.94 ? "end" : "middle", class: strong ? "strong" : null }, text);
  return make("div", { class: "scale-plot" }, draw("svg", { role: "img", "aria-label": `Scale of ${about.p_name} from 0 to 1, stretched so that the threshold ${number(found.threshold)} is its middle. This picture: ${number(found.p_target)}, ${side} it.` },
    draw("rect", { class: "off", x: "0%", y: 26, width: "50%", height: 16 }), draw("rect", { class: "on", x: "50%", y: 26, width: "50%", height: 16 }),
    draw("line", { class: "threshold", x1: "50%", x2: "50%", y1: 20, y2: 50 }),
    draw("circle", { class: "value", cx: at(place), cy: 34, r: 9 }),
    label(0.25, "not called", 16), label(0.75, "called", 16),
    label(0, "0", 62), label(0.5, number(found.threshold), 62, true), label(1, "1", 62),
    about.ticks.map(([share, text]) => label(share, text, 62))));
}

// What the gallery's drawing needs: cells of one byte, as shares of the largest.
function drawable(found) {
  const maps = found.maps;
  const cells = about.classes.flatMap((name) => maps.values[name].flat());
  const top = Math.max(...cells.map(Math.abs));
  const bytes = Int8Array.from(cells, (cell) => (top ? Math.round((cell / top) * about.map_levels) : 0));
  Object.assign(about, { map_height: maps.values.mel.length, map_width: maps.values.mel[0].length, map_cells: maps.cells });
  return {
    maps: btoa(String.fromCharCode(...new Uint8Array(bytes.buffer))), map_top: top, scale: maps.scale,
    shown: [maps.contrasted_class, "mel"], unit: maps.unit, values: maps.values, probabilities: found.probabilities,
  };
}

const against = (detail) => firstAnswer(detail);
const titleOf = (detail, name) => (name === CONTRAST ? `Why not melanoma? Its map minus that of ${nameOf(against(detail))}` : name ? `Map of ${nameOf(name)}` : "No map");

// In words, for those who do not see the map: where its strongest cell lies, and how many cells speak for the class.
function describe(detail, name) {
  if (!name) return "";
  const one = (which) => detail.values[which].flat();
  const cells = name === CONTRAST ? one("mel").map((cell, at) => cell - one(against(detail))[at]) : one(name);
  const top = Math.max(...cells);
  const forWhat = name === CONTRAST ? `melanoma rather than ${nameOf(against(detail))}` : nameOf(name);
  if (top <= 0) return `No cell speaks for ${forWhat}.`;
  const place = cells.indexOf(top);
  const [row, column] = [Math.floor(place / about.map_width), place % about.map_width];
  const third = (at, of, words) => words[Math.min(2, Math.floor((3 * (at + 0.5)) / of))];
  const where = `${third(row, about.map_height, ["upper", "middle", "lower"])} ${third(column, about.map_width, ["left", "centre", "right"])}`;
  return `${cells.filter((cell) => cell > 0).length} of ${cells.length} cells speak for ${forWhat}, the strongest in the ${where === "middle centre" ? "middle" : where} of the picture (${top.toPrecision(2)} ${detail.unit}).`;
}

function stage(detail, answer, what) {
  const { width, height } = answer.image;
  const frame = make("span", { class: "frame" });
  frame.style.aspectRatio = `${width} / ${height}`;
  const canvas = make("canvas", { "aria-hidden": "true" });
  frame.append(make("img", { src: pictureAddress, alt: `The picture: ${what}` }), canvas);
  const line = answer.lesion.outline && draw("svg", { class: "outline", viewBox: `0 0 ${about.outline_size.join(" ")}`, preserveAspectRatio: "none", "aria-hidden": "true" }, draw("path", { class: "dark", d: answer.lesion.outline }), draw("path", { d: answer.lesion.outline }));
  if (line) frame.append(line);
  const title = make("strong");
  const says = make("p", { class: "map-says small", id: "map-says", role: "status" });
  const below = make("div");
  const paint = () => {
    canvas.hidden = !view.map;
    if (line) line.style.display = view.outline ? "" : "none";
    canvas.style.opacity = view.opacity;
    if (view.map) drawMap(canvas, detail, view.map, width, height);
    title.textContent = titleOf(detail, view.map);
    says.textContent = describe(detail, view.map);
    below.replaceChildren(legend(detail));
  };
  const choice = (value, text) => make("label", null, make("input", { type: "radio", name: "map", value, checked: view.map === value, onchange: () => { view.map = value; paint(); } }), text);
  paint();
  return [
    frame, make("p", { class: "tools" }, title), says, about.map_doubt ? make("p", { class: "notice small" }, about.map_doubt) : "", below,
    make("fieldset", { class: "maps tools" }, make("legend", null, "Map of"), choice("", "none"),
      about.classes.map((name) => choice(name, name)), choice(CONTRAST, "why not melanoma?")),
    make("p", { class: "tools" }, make("label", null, "Opacity of the map ", make("input", { type: "range", id: "opacity", min: 0, max: 1, step: 0.05, value: view.opacity,
      oninput: (event) => { view.opacity = Number(event.target.value); canvas.style.opacity = view.opacity; } }))),
    line ? make("p", { class: "tools" }, make("label", null, make("input", { type: "checkbox", id: "outline", checked: view.outline, onchange: (event) => { view.outline = event.target.checked; paint(); } }), " Outline of the lesion")) : "",
    make("p", { class: "quiet small" }, line ? `Outline: by ${answer.lesion.source}, not drawn by a person; ${percent(answer.lesion.area_share)} of the picture.` : "No lesion was found to outline."),
  ];
}

function legend(detail) {
  if (!view.map) return "";
  if (view.map === CONTRAST) {
    const [mel, other] = ["mel", against(detail)].map((name) => detail.values[name].flat());
    const most = Math.max(...mel.map((cell, at) => Math.abs(cell - other[at])));
    return make("p", { class: "contrast-ramp" }, make("span", null, `purple: for ${nameOf(against(detail))}`), make("span", { class: "number" }, `up to ${most.toPrecision(2)} ${detail.unit} either way`), make("span", null, "green: for melanoma"));
  }
  const most = detail.scale ? `${detail.scale.toPrecision(2)} ${detail.unit}, the most in any class's map` : "no evidence for any class";
  return make("div", null, draw("svg", { class: "ramp", "aria-hidden": "true" }, draw("rect", { width: "100%", height: "100%", fill: "url(#ramp)" })),
    make("p", { class: "ends" }, make("span", null, "0"), make("span", { class: "number" }, most)));
}

function neighbour(one) {
  const truth = `Truth: ${nameOf(one.dx)}${about.dx_types[one.dx_type] ? `, by ${about.dx_types[one.dx_type]}` : ""}`;
  return make("li", null,
    about.validation_pictures ? make("img", { src: `/validation/${one.row}.jpg`, alt: `Validation image ${one.image_id}`, loading: "lazy" }) : "",
    make("p", { class: one.dx === "mel" ? "target" : null }, truth),
    make("p", null, `Model: ${nameOf(one.predicted_class)}, ${about.p_name} ${number(one.p_target)}, ${one.called ? "called" : "not called"}`),
    make("p", { class: "quiet" }, make("code", null, one.image_id), ` · similarity ${one.similarity.toFixed(3)}`));
}

$("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) ask(file, file.name);
  event.target.value = ""; // the same file can be chosen again
});
document.querySelectorAll("[data-example]").forEach((button) => button.addEventListener("click", async () => {
  const label = button.textContent.trim();
  const response = await fetch(`/examples/${button.dataset.example}.jpg`);
  ask(await response.blob(), label);
}));
const carriesFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
for (const name of ["dragenter", "dragover"]) addEventListener(name, (event) => { if (carriesFiles(event)) { event.preventDefault(); $("drop").classList.add("over"); } });
for (const name of ["dragleave", "drop"]) addEventListener(name, () => $("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) ask(file, file.name);
});
addEventListener("paste", (event) => {
  const [file] = event.clipboardData?.files || [];
  if (file) ask(file, "the pasted picture");
});

// How a case looks in the list: a card with its note, or a tile of the contact sheet.
"use strict";
const SEEN = { train: "TRAINING IMAGE", val: "VALIDATION IMAGE" };
const HELD_OUT = ["test", "held_out"];
const images = about.images;
const classNames = about.class_names;
const nameOf = (name) => classNames[name] || "unknown";
const splitOf = (split) => ({ held_out: "held out by hand", "": "split unknown" })[split] || `${split} split`;
const addressOf = (i) => `#case=${encodeURIComponent(facts.stem[i])}`;

function chips(i) {
  const outcome = outcomeOf(i);
  const held = HELD_OUT.includes(facts.split[i]);
  return [
    make("span", { class: `chip ${outcome.tone}` }, make("span", { "aria-hidden": "true" }, outcome.mark), ` ${outcome.chip}`),
    !held && make("span", { class: "chip seen" }, make("span", { "aria-hidden": "true" }, "⚠"), ` ${SEEN[facts.split[i]] || "SPLIT UNKNOWN"}`),
  ];
}

function probabilityBar(detail, i) {
  const x = (1000 * detail.place).toFixed(1);
  const side = facts.above[i] ? "at or above" : "below";
  const bar = draw(
    "svg",
    { class: `bar ${outcomeOf(i).tone}`, viewBox: "0 0 1000 22", preserveAspectRatio: "none", role: "img",
      "aria-label": `P(mel) ${detail.p_mel}, ${side} the threshold ${detail.threshold}` },
    draw("rect", { class: "left", x: 0, y: 6, width: 500, height: 10 }),
    draw("rect", { class: "right", x: 500, y: 6, width: 500, height: 10 }),
    draw("line", { class: "threshold", x1: 500, x2: 500, y1: 0, y2: 22 }),
    draw("line", { class: "value-edge", x1: x, x2: x, y1: 2, y2: 20 }),
    draw("line", { class: "value", x1: x, x2: x, y1: 3, y2: 19 }),
  );
  return make(
    "div", null,
    make("dt", null, "P(mel) ", make("strong", { class: "number" }, detail.p_mel), `, ${side} the frozen threshold `, make("span", { class: "number" }, detail.threshold)),
    make("dd", null, bar, make("p", { class: "ends", "aria-hidden": "true" }, make("span", null, "0 · not called"), make("span", null, "called · 1"))),
  );
}

function verdict(detail, i) {
  return make(
    "dl", { class: "verdict" },
    make("div", null, make("dt", null, "Truth"), make("dd", null, nameOf(facts.dx[i]))),
    make("div", null, make("dt", null, "Model's first answer"), make("dd", null, nameOf(facts.predicted[i]), " ", make("span", { class: "number" }, detail.confidence))),
    probabilityBar(detail, i),
  );
}

// The photograph with, over it, the map of a class (or of CONTRAST; none if empty) and the lesion's outline.
function picture(detail, i, name, { outline = true, alt = "", lazy = true } = {}) {
  const [width, height] = [facts.width[i], facts.height[i]];
  const frame = make("span", { class: "frame" });
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.append(make("img", { src: `${images}/${facts.stem[i]}_image.jpg`, width, height, alt, loading: lazy ? "lazy" : null, decoding: "async" }));
  if (name) {
    const canvas = make("canvas", { "aria-hidden": "true" });
    drawMap(canvas, detail, name, width, height);
    frame.append(canvas);
  }
  if (outline && detail.outline) {
    frame.append(draw("svg", { class: "outline", viewBox: `0 0 ${about.outline_size.join(" ")}`, preserveAspectRatio: "none", "aria-hidden": "true" }, draw("path", { class: "dark", d: detail.outline }), draw("path", { d: detail.outline })));
  }
  return frame;
}

function pictures(detail, i) {
  const open = (name) => ({ href: addressOf(i) + (name ? `&map=${name}` : "&map=none") });
  const photograph = detail.outline ? "Photograph of the lesion with its outline" : "Photograph of the lesion";
  return make(
    "div", { class: "pictures" },
    make("figure", null, make("a", open(""), picture(detail, i, "", { alt: `${photograph}, ${facts.id[i]}` })),
      make("figcaption", null, detail.outline ? "The image, lesion outlined" : "The image; no outline is known")),
    detail.shown.map((name, at) => make(
      "figure", null,
      make("a", open(name), picture(detail, i, name, { alt: `Map of ${nameOf(name)}: ${plain(detail.maps_say[at])}` })),
      make("figcaption", null, make("strong", null, nameOf(name)), name === facts.predicted[i] ? " (first answer)" : name !== "mel" ? " (next answer)" : "",
        make("br"), make("span", { class: "quiet number" }, detail.captions[at])),
    )),
  );
}

const ramp = () => draw("svg", { class: "ramp", "aria-hidden": "true" }, draw("rect", { width: "100%", height: "100%", fill: "url(#ramp)" }));
const topOf = (detail) => (detail.scale ? `${Number(detail.scale.toPrecision(2))} logits in one cell` : "no evidence for any class");

function scale(detail) {
  return make("div", { class: "scale" }, make("div", null, ramp(), make("p", { class: "ends" }, make("span", null, "0"), make("span", { class: "number" }, topOf(detail)))));
}

function sentences(detail) {
  return make(
    "div", { class: "says" },
    says(detail.meaning),
    detail.others.length > 0 && says(detail.lesion_says),
    detail.tested.map((text) => says(text, { class: "tested" })),
    detail.but.map((text) => says(text, { class: "but" })),
    says(detail.conclusion),
  );
}

function otherPictures(detail) {
  const rows = detail.others.map(([id, split, predicted, pMel, above]) => make(
    "tr", null,
    make("th", { scope: "row" }, numberOf.has(id) ? make("a", { href: addressOf(numberOf.get(id)) }, make("code", null, id)) : make("code", null, id)),
    make("td", null, split || "split unknown"), make("td", null, nameOf(predicted)), make("td", null, above ? "called" : "not called"), make("td", { class: "number" }, `P(mel) ${pMel}`),
  ));
  return [make("h4", null, "Other pictures of this lesion"), make("div", { class: "wide" }, make("table", null, rows))];
}

function details(detail, i) {
  const seven = about.classes.map((name, k) => make("tr", null, make("th", { scope: "row" }, nameOf(name)), make("td", { class: "number" }, detail.probabilities[k])));
  const shownAt = detail.own[0] !== facts.width[i] ? `, shown at ${facts.width[i]}×${facts.height[i]}` : "";
  return make(
    "div", { class: "details" },
    make("div", null, make("h4", null, "All seven probabilities"), make("table", null, seven)),
    make("div", null,
      make("h4", null, "What is known of it"), says(`${detail.known}.`), says(detail.split_says),
      detail.others.length ? otherPictures(detail) : says(detail.lesion_says),
      make("h4", null, "The maps"), detail.maps_say.map((text) => says(text)),
      make("p", { class: "quiet" }, `Outline: ${detail.mask_origin || "none"}. The file has ${detail.own[0]}×${detail.own[1]} pixels${shownAt}.`),
      make("h4", null, "Why it is here"), says(`${detail.chosen[0].toUpperCase()}${detail.chosen.slice(1)}.`)),
  );
}

function head(detail, i, level) {
  const lesion = facts.lesion[i] ? `lesion ${facts.lesion[i]}` : "lesion unknown";
  return make(
    "div", { class: "card-head" }, chips(i),
    make(level, { class: "id" }, make("a", { href: addressOf(i) }, make("code", null, facts.id[i]))),
    make("span", { class: "small quiet" }, [lesion, splitOf(facts.split[i]), ...detail.person].join(" · ")),
    make("span", { class: "tag-list", "data-tags": i }, tagChips(i)),
  );
}

function card(detail, i) {
  return make(
    "article", { class: outcomeOf(i).tone, "data-case": i, tabindex: "-1" },
    head(detail, i, "h3"),
    !HELD_OUT.includes(facts.split[i]) && says(detail.split_says, { class: "warning" }),
    verdict(detail, i), pictures(detail, i), scale(detail), sentences(detail),
    make("details", null, make("summary", null, `Details of ${facts.id[i]}`), details(detail, i)),
  );
}

function tile(i) {
  const outcome = outcomeOf(i);
  const truth = facts.dx[i] || "?";
  return make(
    "a", { class: `tile ${outcome.tone}`, href: addressOf(i), "data-case": i,
      title: `${facts.id[i]}: ${outcome.chip}`, "aria-label": `${facts.id[i]}: ${outcome.chip}; truth ${nameOf(facts.dx[i])}, first answer ${nameOf(facts.predicted[i])}, P(mel) ${facts.p_mel[i].toFixed(4)}` },
    make("img", { src: `${images}/${facts.stem[i]}_small.jpg`, alt: "", loading: "lazy", decoding: "async", width: 300, height: Math.round((300 * facts.height[i]) / facts.width[i]) }),
    make("span", { class: "tile-text" }, make("span", { "aria-hidden": "true" }, outcome.mark), ` ${truth} → ${facts.predicted[i]}`, make("span", { class: "number" }, facts.p_mel[i].toFixed(3))),
  );
}

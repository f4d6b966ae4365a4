// Maps are drawn from their cells: interpolated between cell centres, on the image's one scale, in the palette.
"use strict";
const CONTRAST = "why";
// 256 colours each, a whole pixel in a number, so that a map is drawn in a millisecond.
const palettes = Object.fromEntries(Object.entries(about.palettes).map(([name, text]) => [name, new Uint32Array(bytesOf(text).buffer)]));

// Cells of a class's map, 0 … 255 of the scale; of the contrast, 0 … 255 with 127.5 for neither.
function levelsOf(detail, name) {
  const size = about.map_width * about.map_height;
  const all = new Int8Array(bytesOf(detail.maps).buffer);
  const cellsOf = (wanted) => all.subarray(about.classes.indexOf(wanted) * size, (about.classes.indexOf(wanted) + 1) * size);
  const levels = new Float32Array(size);
  if (name === CONTRAST) {
    const [first, mel] = [cellsOf(firstAnswer(detail)), cellsOf("mel")];
    let top = 0;
    for (let at = 0; at < size; at++) top = Math.max(top, Math.abs(mel[at] - first[at]));
    for (let at = 0; at < size; at++) levels[at] = 127.5 + (top ? (127.5 * (mel[at] - first[at])) / top : 0);
    return levels;
  }
  const cells = cellsOf(name);
  const factor = detail.scale ? detail.map_top / about.map_levels / detail.scale : 0;
  for (let at = 0; at < size; at++) levels[at] = Math.min(Math.max(cells[at] * factor, 0), 1) * 255;
  return levels;
}

// The class beside which melanoma is looked at: the first answer, or the next one where that is melanoma itself.
const firstAnswer = (detail) => detail.shown.find((name) => name !== "mel");

// For each pixel of a line: the cell before it and how much of the next one it takes; axis 0 is y, 1 is x.
function placesOf(pixels, cells, axis) {
  const { offset_y_x: offset, pitch_y_x: pitch } = about.map_cells;
  return Array.from({ length: pixels }, (_, at) => {
    const place = Math.min(Math.max((((at + 0.5) * cells) / pixels - 0.5 - offset[axis]) / pitch[axis], 0), cells - 1);
    const before = Math.min(Math.floor(place), Math.max(cells - 2, 0));
    return [before, Math.min(before + 1, cells - 1), place - before];
  });
}

function drawMap(canvas, detail, name, width, height) {
  const factor = Math.min(1, 300 / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * factor));
  canvas.height = Math.max(1, Math.round(height * factor));
  const levels = levelsOf(detail, name);
  const palette = palettes[name === CONTRAST ? "contrast" : "evidence"];
  const columns = placesOf(canvas.width, about.map_width, 1);
  const pen = canvas.getContext("2d");
  const picture = pen.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(picture.data.buffer);
  let at = 0;
  for (const [above, below, down] of placesOf(canvas.height, about.map_height, 0)) {
    const [upper, lower] = [above * about.map_width, below * about.map_width];
    for (const [left, right, along] of columns) {
      const high = levels[upper + left] * (1 - along) + levels[upper + right] * along;
      const low = levels[lower + left] * (1 - along) + levels[lower + right] * along;
      pixels[at++] = palette[Math.floor(high * (1 - down) + low * down + 0.5)];
    }
  }
  pen.putImageData(picture, 0, 0);
}

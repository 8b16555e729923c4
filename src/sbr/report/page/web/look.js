// How runs and figures look: one colour and one symbol a run, the same everywhere.

const COLOURS = 8;
const SYMBOLS = ["circle", "square", "triangle", "diamond", "star", "wye", "cross", "square2"];

/** Name -> place in the palette.  "GRPO (3 seeds)" is GRPO. */
const places = new Map();
function placeOf(name) {
  const short = name.replace(/ \(\d+ seeds\)$/, "");
  return places.get(name) ?? places.get(short) ?? 0;
}

/** The runs get the first places in their order; other names, in the order of the page, share those that are left. */
function givePlaces({ runs, sections }) {
  runs.forEach((run, i) => places.set(run.name, i % COLOURS));
  const free = runs.length < COLOURS ? d3.range(runs.length, COLOURS) : d3.range(COLOURS);
  const others = sections.flatMap(({ curves, bars }) => [
    ...curves.flatMap((curve) => curve.lines.map((line) => line.name)), ...bars.flatMap((figure) => figure.bars.map((bar) => bar.series)),
  ]);
  let next = 0;
  for (const name of new Set(others)) {
    if (!places.has(name) && !places.has(name.replace(/ \(\d+ seeds\)$/, ""))) places.set(name, free[next++ % free.length]);
  }
}
const colourOf = (name) => `var(--run-${placeOf(name)})`;
const symbolOf = (name) => SYMBOLS[placeOf(name)];

const SHAPES = {
  circle: d3.symbolCircle, square: d3.symbolSquare, triangle: d3.symbolTriangle, diamond: d3.symbolDiamond2,
  star: d3.symbolStar, wye: d3.symbolWye, cross: d3.symbolCross, square2: d3.symbolSquare2,
};
function Mark({ name }) {
  const path = d3.symbol(SHAPES[symbolOf(name)], 64)();
  return html`<svg class="mark" viewBox="-7 -7 14 14" aria-hidden="true"><path d=${path} style=${`fill:${colourOf(name)}`} /></svg>`;
}

/** A string from the data: one isolated run of text, in its own direction. */
const Text = ({ of }) => html`<bdi>${visible(String(of))}</bdi>`;

const minus = (text) => text.replaceAll("-", "−");
const points = (value) => minus(d3.format("+.1f")(100 * value));
const percent = (value) => `${d3.format(".1f")(100 * value)}`;
/** A number with three digits that matter, 0.0123 or 1.2e−7. */
function figure(value) {
  const size = Math.abs(value);
  return minus(d3.format(size >= 1000 ? ",.0f" : size >= 0.001 || size === 0 ? ".3~r" : ".2~e")(value));
}
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

const HEAT = d3.range(256).map((i) => {
  const colour = d3.rgb(d3.interpolateInferno(0.08 + (0.9 * i) / 255));
  return [colour.r, colour.g, colour.b, 60 + Math.round(125 * (i / 255))];
});
/** 0 to 1 -> red, green, blue, alpha: dark and thin to bright and thick. */
const heatOf = (value) => HEAT[Math.max(0, Math.min(255, Math.round(255 * value)))];

// Charts with Observable Plot.  Each function gets data and a width in pixels and returns an SVG.

const STYLE = { background: "none", color: "var(--ink)", fontFamily: "inherit", fontSize: "12px", overflow: "visible" };
const shade = "var(--faint)";
const scaled = (value, unit) => (value === null || value === undefined ? NaN : unit === "%" ? 100 * value : value);

const ruler = document.createElement("canvas").getContext("2d");
/** Pixels of a line of text in a chart. */
function wordWidth(text) {
  ruler.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(text).width;
}
function colourScale(names) {
  return { type: "ordinal", domain: names, range: names.map(colourOf) };
}
function symbolScale(names) {
  return { domain: names, range: names.map(symbolOf) };
}
const fromZero = (difference) => difference.low !== null && (difference.low > 0 || difference.high < 0);
const sure = (d) => fromZero(d) && (d.video_low === null || d.video_low > 0 || d.video_high < 0);
const pairOf = (d) => `${visible(d.other)} − ${visible(d.base)}`;

/** Paired differences: levels one below the other, in each a line a pair, and a line at zero.  A mark is filled where its
 * intervals leave out zero, in a study where its corrected p is small too. */
function forest({ differences, counted }, width) {
  const claimed = (d) => sure(d) && (counted === "questions" || d.p_holm <= 0.05);
  const rows = [];
  for (const [level, inside] of d3.group(differences, (d) => d.level)) {
    rows.push({ id: `${level}\n`, heading: visible(level) });
    for (const d of inside) rows.push({ id: `${level}\n${d.other}\n${d.base}`, ...d });
  }
  const pairs = rows.filter((row) => !row.heading);
  const names = [...new Set(pairs.map((d) => d.other))];
  const wide = width > 540;
  const left = Math.min(0.42 * width, 14 + d3.max(pairs, (d) => wordWidth(pairOf(d))));
  const ends = pairs.flatMap((d) => [d.value, d.low, d.high, d.video_low, d.video_high]).filter((v) => v !== null);
  const labels = new Map(pairs.map((d) => [d.id, pairOf(d)]));
  const words = (d) => `${points(d.value)}${d.low === null ? "" : `  [${points(d.low)}, ${points(d.high)}]`}`;
  const position = { y: "id", stroke: "other" };
  return Plot.plot({
    width, height: rows.length * 24 + 44, marginLeft: left, marginRight: wide ? 150 : 12, marginTop: 8, marginBottom: 34,
    style: STYLE,
    x: { domain: d3.nice(Math.min(0, d3.min(ends)) * 100 - 1, Math.max(0, d3.max(ends)) * 100 + 1, 6), label: "percentage points", labelAnchor: "center", labelArrow: "none", tickFormat: (x) => minus(String(x)), ticks: wide ? 8 : 5 },
    y: { domain: rows.map((row) => row.id), label: null, padding: 0.2 },
    color: colourScale(names), symbol: symbolScale(names),
    marks: [
      Plot.gridX({ stroke: shade, strokeOpacity: 1, ticks: wide ? 8 : 5 }),
      Plot.ruleX([0], { stroke: "var(--ink)", strokeWidth: 1.25 }),
      Plot.axisY(pairs.map((d) => d.id), { tickSize: 0, tickFormat: (id) => labels.get(id), textOverflow: "ellipsis", lineWidth: left / 12 }),
      Plot.text(rows.filter((row) => row.heading), { y: "id", text: "heading", frameAnchor: "left", dx: -left, textAnchor: "start", fontWeight: 650 }),
      Plot.ruleY(pairs.filter((d) => d.video_low !== null), { ...position, x1: (d) => 100 * d.video_low, x2: (d) => 100 * d.video_high, strokeWidth: 1.25 }),
      Plot.ruleY(pairs.filter((d) => d.low !== null), { ...position, x1: (d) => 100 * d.low, x2: (d) => 100 * d.high, strokeWidth: 4, strokeOpacity: 0.55 }),
      Plot.dot(pairs, { y: "id", x: (d) => 100 * d.value, symbol: "other", stroke: "other", fill: (d) => (claimed(d) ? d.other : null), r: 5, strokeWidth: 2 }),
      Plot.dot(pairs.filter((d) => !claimed(d)), { y: "id", x: (d) => 100 * d.value, symbol: "other", stroke: "other", fill: "var(--page)", r: 5, strokeWidth: 2 }),
      wide ? Plot.text(pairs, { y: "id", text: words, frameAnchor: "right", dx: 150, textAnchor: "end", fill: "var(--muted)", fontVariant: "tabular-nums" }) : null,
    ],
  });
}

/** A curve: lines, or means of seeds with their band and the seeds behind. */
function curve({ lines, unit, axis }, width) {
  const rows = lines.flatMap((line) => line.steps.map((step, i) => ({
    name: line.name, step, value: scaled(line.values[i], unit),
    low: line.low ? scaled(line.low[i], unit) : NaN, high: line.high ? scaled(line.high[i], unit) : NaN,
  })));
  const raw = lines.flatMap((line) => line.raw.flatMap((values, seed) =>
    line.steps.map((step, i) => ({ name: line.name, seed: `${line.name} ${seed}`, step, value: scaled(values[i], unit) }))));
  const names = lines.map((line) => line.name);
  const whole = { x: "step", y: "value", stroke: "name", z: "name" };
  const short = d3.max(lines, (line) => line.steps.length) <= 12;
  const told = rows.filter((row) => Number.isFinite(row.value));
  const [least, most] = d3.extent([...rows.flatMap((row) => [row.value, row.low, row.high]), ...raw.map((row) => row.value)].filter(Number.isFinite));
  const steps = [...new Set(lines.flatMap((line) => line.steps))].sort(d3.ascending);
  const ticks = steps.length <= 12 && width / steps.length > 24 ? steps : Math.max(3, width / 90);
  const flat = least === most ? { domain: [Math.min(0, least), Math.max(0, most) || 1] } : {};
  return Plot.plot({
    width, height: 210, marginLeft: 44, marginRight: 14, marginTop: 22, marginBottom: 34, style: STYLE,
    x: { label: axis ?? "step", labelArrow: "none", ticks, tickFormat: ",d", nice: false },
    y: { label: unit, labelArrow: "none", ticks: 5, nice: true, ...flat, tickFormat: figure, labelAnchor: "top" },
    color: colourScale(names),
    marks: [
      Plot.gridY({ stroke: shade, strokeOpacity: 1, ticks: 5 }),
      Plot.areaY(rows.filter((row) => Number.isFinite(row.low)), { x: "step", y1: "low", y2: "high", fill: "name", z: "name", fillOpacity: 0.16 }),
      Plot.line(raw, { ...whole, z: "seed", strokeWidth: 1, strokeOpacity: 0.35 }),
      Plot.line(rows, { ...whole, strokeWidth: 2 }),
      short ? Plot.dot(told, { ...whole, fill: "name", r: 3 }) : null,
      Plot.ruleX(told, Plot.pointerX({ x: "step", stroke: "var(--muted)", strokeWidth: 0.75 })),
      Plot.tip(told, Plot.pointerX({ x: "step", y: "value", title: (d) => `${visible(d.name)}\n${axis ?? "step"} ${d.step}: ${figure(d.value)} ${unit}` + (Number.isFinite(d.low) ? `\n${figure(d.low)} to ${figure(d.high)}` : ""), ...TIP })),
    ],
  });
}
const TIP = { fill: "var(--page)", stroke: "var(--line)", textPadding: 8 };

/** Values with intervals: few groups one below the other, many side by side. */
function bars(data, width) {
  const series = [...new Set(data.bars.map((bar) => bar.series))];
  const groups = [...new Set(data.bars.map((bar) => bar.group))];
  const rows = data.bars.map((bar) => ({
    ...bar, v: scaled(bar.value.value, data.unit), low: scaled(bar.value.low, data.unit), high: scaled(bar.value.high, data.unit),
    words: `${visible(bar.group)} · ${visible(bar.series)}\n${figure(scaled(bar.value.value, data.unit))} ${data.unit}` +
      (bar.value.low === null ? "" : ` [${figure(scaled(bar.value.low, data.unit))}, ${figure(scaled(bar.value.high, data.unit))}]`) +
      `, n = ${d3.format(",")(bar.value.n)}`,
  }));
  const values = rows.flatMap((row) => [row.v, row.low, row.high]).filter(Number.isFinite);
  const reference = data.reference === null ? null : scaled(data.reference, data.unit);
  const extent = data.span ? data.span.map((end) => scaled(end, data.unit)) : d3.extent([...values, 0, ...(reference === null ? [] : [reference])]);
  const scale = { domain: data.span ? extent : d3.nice(extent[0], extent[1], 5), label: data.unit, labelArrow: "none", tickFormat: figure, ticks: Math.max(3, Math.min(6, width / 90)) };
  return (groups.length > 8 && !data.span ? barsAcross : barsDown)({ rows, series, groups, reference, scale, unit: data.unit }, width);
}

function barsDown({ rows, series, groups, reference, scale, unit }, width) {
  const tall = groups.length * (series.length * 14 + 14) + 44;
  const left = Math.min(0.4 * width, 16 + d3.max(groups, (group) => wordWidth(visible(group))));
  const place = { fy: "group", y: "series" };
  const intervals = rows.filter((row) => Number.isFinite(row.low));
  const single = rows.flatMap((row) => row.points.map((point) => ({ group: row.group, series: row.series, v: scaled(point, unit) })));
  return Plot.plot({
    width, height: tall, marginLeft: left, marginRight: 14, marginTop: 4, marginBottom: 36, style: STYLE,
    x: { ...scale, labelAnchor: "center", ticks: Math.max(2, (width - left) / 70) },
    fy: { domain: groups, axis: null, padding: 0 }, y: { type: "point", domain: series, axis: null, padding: 0.9 },
    color: colourScale(series), symbol: symbolScale(series),
    marks: [
      Plot.gridX({ stroke: shade, strokeOpacity: 1, ticks: Math.max(2, (width - left) / 70) }),
      scale.domain[0] < 0 ? Plot.ruleX([0], { stroke: "var(--muted)" }) : null,
      reference === null ? null : Plot.ruleX([reference], { stroke: "var(--ink)", strokeDasharray: "3 3" }),
      Plot.text(groups, { fy: (group) => group, text: (group) => visible(group), frameAnchor: "left", textAnchor: "end", dx: -10, lineWidth: left / 12 }),
      Plot.ruleY(intervals, { ...place, x1: "low", x2: "high", stroke: "series", strokeWidth: 3, strokeOpacity: 0.5 }),
      Plot.dot(single, { ...place, x: "v", fill: "series", r: 2, fillOpacity: 0.7, dy: -5 }),
      Plot.dot(rows, { ...place, x: "v", fill: "series", symbol: "series", r: 4.5 }),
      Plot.tip(rows, Plot.pointer({ ...place, x: "v", title: "words", ...TIP })),
    ],
  });
}

function barsAcross({ rows, series, groups, reference, scale }, width) {
  const numbered = groups.every((group) => /^\D*\d+$/.test(group));
  const every = Math.ceil(groups.length / (width / (14 + d3.max(groups, (group) => wordWidth(visible(group))))));
  const shift = new Map(series.map((name, i) => [name, (i - (series.length - 1) / 2) * Math.min(4, (0.6 * width) / groups.length / series.length)]));
  const each = (mark) => series.map((name) => mark(rows.filter((row) => row.series === name), shift.get(name)));
  return Plot.plot({
    width, height: 240, marginLeft: 44, marginRight: 14, marginTop: 22, marginBottom: 34, style: STYLE,
    x: { type: "point", domain: groups, label: null, padding: 0.5, ticks: groups.filter((_, i) => i % every === 0), tickFormat: visible },
    y: { ...scale, labelAnchor: "top" },
    color: colourScale(series), symbol: symbolScale(series),
    marks: [
      Plot.gridY({ stroke: shade, strokeOpacity: 1, ticks: 5 }),
      reference === null ? null : Plot.ruleY([reference], { stroke: "var(--ink)", strokeDasharray: "3 3" }),
      numbered ? each((some, dx) => Plot.line(some, { x: "group", y: "v", stroke: "series", dx, strokeOpacity: 0.6 })) : null,
      each((some, dx) => Plot.ruleX(some.filter((row) => Number.isFinite(row.low)), { x: "group", y1: "low", y2: "high", stroke: "series", strokeWidth: 2.5, strokeOpacity: 0.45, dx })),
      each((some, dx) => Plot.dot(some, { x: "group", y: "v", fill: "series", symbol: "series", r: 3.5, dx })),
      Plot.tip(rows, Plot.pointer({ x: "group", y: "v", title: "words", ...TIP })),
    ],
  });
}

// Attention of generated tokens to visual tokens -> pictures over the frames.

/** Visual tokens in the picture's own order, or null when the numbers do not fit the grids. */
function gridOf(frames, map) {
  const [pairs, rows, columns] = frames.video_grid ?? [0, 0, 0];
  const [imageRows, imageColumns] = frames.image_grid ?? [0, 0];
  const video = pairs * rows * columns;
  const fits = map.size === video + imageRows * imageColumns && map.raw.length === map.size * map.tokens.length;
  return fits ? { pairs, rows, columns, imageRows, imageColumns, video } : null;
}

/** Does token number `token` hold a character of a span?  As sbr.analysis.attention_spans has it. */
function holds(answer, map, token, [first, last]) {
  const end = token + 1 < map.starts.length ? map.starts[token + 1] : [...answer.response].length;
  return Math.max(map.starts[token], first) < Math.min(end, last);
}

/** First and last token of a span of characters, or null. */
function tokensOf(answer, map, span) {
  const inside = answer[span] ? d3.range(map.starts.length).filter((token) => holds(answer, map, token, answer[span])) : [];
  return inside.length ? [inside[0], inside[inside.length - 1]] : null;
}

/** What is drawn for a choice {run, from, to} or {run, span}: {values, most, from, to, words}, or null. */
function drawnMap(choice, answers, maps, mode, sinks) {
  const map = choice && maps[choice.run];
  if (!map) return null;
  const range = choice.span ? tokensOf(answers[choice.run], map, choice.span) : [choice.from, choice.to];
  if (!range || range[0] === null || range[0] >= map.tokens.length) return null;
  const [from, to] = [range[0], Math.min(range[1], map.tokens.length - 1)];
  const values = new Float64Array(map.size);
  for (let token = from; token <= to; token++) {
    for (let v = 0; v < map.size; v++) values[v] += map.raw[token * map.size + v];
  }
  for (let v = 0; v < map.size; v++) {
    values[v] *= map.scale / 255 / (to - from + 1);
    // A byte is a step of scale / 255: a general map below half a step is taken as half a step.
    if (mode === "relative") values[v] /= (Math.max(map.general[v], 0.5) * map.general_scale) / 255 || 1;
  }
  if (sinks === "out") for (const v of map.sinks) values[v] = 0;
  return { map, values, most: d3.max(values) || 0, from, to };
}

/** The part of a map that lies over tile number `tile`: {values, rows, columns, start}; null for a tile without one. */
function partOver(frames, grid, tile) {
  if (tile === frames.video && frames.image) {
    return grid.imageRows ? { start: grid.video, rows: grid.imageRows, columns: grid.imageColumns } : null;
  }
  const pair = Math.floor(tile / perPair(frames));
  return pair < grid.pairs ? { start: pair * grid.rows * grid.columns, rows: grid.rows, columns: grid.columns } : null;
}

/** How many frames share a row of visual tokens: two, unless the grid says otherwise. */
function perPair(frames) {
  return frames.video_grid?.[0] ? Math.max(1, Math.ceil(frames.video / frames.video_grid[0])) : 2;
}

/** One pixel a visual token; CSS makes it as large as the frame. */
function Overlay({ frames, drawn, tile, sinks }) {
  const canvas = useRef(null);
  const grid = useMemo(() => drawn && gridOf(frames, drawn.map), [drawn?.map]);
  const part = grid && partOver(frames, grid, tile);
  useLayoutEffect(() => {
    if (!part) return;
    const context = canvas.current.getContext("2d", { willReadFrequently: true }); // a few pixels: no work for a GPU
    const pixels = context.createImageData(part.columns, part.rows);
    for (let i = 0; i < part.rows * part.columns; i++) {
      pixels.data.set(heatOf(drawn.most ? drawn.values[part.start + i] / drawn.most : 0), 4 * i);
    }
    context.putImageData(pixels, 0, 0);
  }, [part?.start, part?.rows, drawn]);
  if (!part) return null;
  const flagged = sinks === "in" ? drawn.map.sinks.filter((v) => v >= part.start && v < part.start + part.rows * part.columns) : [];
  return html`
    <canvas ref=${canvas} class="overlay" width=${part.columns} height=${part.rows} data-tokens=${`${drawn.from}-${drawn.to}`} aria-hidden="true" />
    ${flagged.map((v) => html`<i class="sink" title="sink: draws attention whatever is written" style=${cell(part, v - part.start)} />`)}`;
}

const cell = ({ rows, columns }, i) =>
  `left:${(100 * (i % columns)) / columns}%;top:${(100 * Math.floor(i / columns)) / rows}%;width:${100 / columns}%;height:${100 / rows}%`;

/** Where the largest value of a map is: {pair, row, column} from 0; without `pair` in the observation. */
function peakIn(frames, drawn) {
  const grid = gridOf(frames, drawn.map);
  if (!grid || !drawn.most) return null;
  const v = drawn.values.indexOf(drawn.most);
  const size = grid.rows * grid.columns;
  const [pair, at, columns] = v < grid.video ? [Math.floor(v / size), v % size, grid.columns] : [null, v - grid.video, grid.imageColumns];
  return { pair, row: Math.floor(at / columns), column: at % columns };
}

/** The tile to look at: the first frame of the pair, or the observation. */
function peakTile(frames, drawn) {
  const peak = peakIn(frames, drawn);
  return peak && Math.min(peak.pair === null ? frames.video : peak.pair * perPair(frames), tilesOf(frames) - 1);
}

function peakWords(frames, drawn) {
  const peak = peakIn(frames, drawn);
  return peak ? `most in ${peak.pair === null ? "the observation" : `pair ${peak.pair + 1}`}, row ${peak.row + 1}, column ${peak.column + 1}` : "";
}

// How outcomes move from one model to the next: two columns, right and wrong, and what flows between them.

const FLOW = { width: 210, height: 112, bar: 8, gap: 8 };

function Flow({ flow, runs, onChoose }) {
  const { right_right: rr, right_wrong: rw, wrong_right: wr, wrong_wrong: ww } = flow;
  const all = rr + rw + wr + ww;
  if (!all) return html`<p class="muted">no questions</p>`;
  const scale = (FLOW.height - FLOW.gap) / all;
  const lower = (above) => above * scale + FLOW.gap;
  const bands = [
    { kind: "kept", n: rr, y: 0, to: 0, base: true, other: true, words: "stay right" },
    { kind: "broken", n: rw, y: rr * scale, to: lower(rr + wr), base: true, other: false, words: "turn wrong" },
    { kind: "fixed", n: wr, y: lower(rr + rw), to: rr * scale, base: false, other: true, words: "turn right" },
    { kind: "lost", n: ww, y: lower(rr + rw + wr), to: lower(rr + wr + rw), base: false, other: false, words: "stay wrong" },
  ];
  const inner = FLOW.width - 2 * FLOW.bar;
  const shape = ({ y, to, n }) => {
    const [a, b, c, high] = [FLOW.bar, FLOW.bar + inner, FLOW.bar + inner / 2, n * scale];
    return `M${a},${y}C${c},${y} ${c},${to} ${b},${to}V${to + high}C${c},${to + high} ${c},${y + high} ${a},${y + high}Z`;
  };
  const column = (x, right) => html`
    <rect class="right" x=${x} y="0" width=${FLOW.bar} height=${right * scale} />
    <rect class="wrong" x=${x} y=${lower(right)} width=${FLOW.bar} height=${(all - right) * scale} />`;
  const both = [runs.indexOf(flow.base), runs.indexOf(flow.other)];
  const open = (band) => onChoose({
    ...NO_FILTER, level: flow.level === "all" ? [] : [flow.level],
    right: both.filter((_, i) => [band.base, band.other][i]), wrong: both.filter((_, i) => ![band.base, band.other][i]),
  });
  const linked = both.every((run) => run >= 0);
  return html`
    <svg class="flow" viewBox="0 0 ${FLOW.width} ${FLOW.height}" role="img"
      aria-label=${`${flow.base} to ${flow.other}, ${flow.level}: ${bands.map((band) => `${band.n} ${band.words}`).join(", ")}`}>
      ${bands.map((band) => html`<path class=${band.kind} d=${shape(band)}><title>${`${band.n} ${band.words}`}</title></path>`)}
      ${column(0, rr + rw)}${column(FLOW.width - FLOW.bar, rr + wr)}
    </svg>
    <ul class="flowcounts">
      ${bands.map((band) => html`<li class=${band.kind}><i />
        ${linked ? html`<button type="button" class="linklike" title="show these cases" onClick=${() => open(band)}><b>${band.n}</b> ${band.words}</button>`
          : html`<b>${band.n}</b> ${band.words}`}</li>`)}
    </ul>`;
}

function Flows({ flows, runs, onChoose }) {
  return [...d3.group(flows, (flow) => `${flow.base}\n${flow.other}`).values()].map((some) => html`
    <div class="flowrow">
      <h3><${Mark} name=${some[0].base} /><${Text} of=${some[0].base} /> → <${Mark} name=${some[0].other} /><${Text} of=${some[0].other} /></h3>
      <div class="flowlevels">
        ${some.map((flow) => html`<div><h4><${Text} of=${flow.level} /></h4><${Flow} ...${{ flow, runs, onChoose }} /></div>`)}
      </div>
    </div>`);
}

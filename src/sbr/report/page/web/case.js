// One question: what the model saw, what was asked, what each run said.

function CaseView({ data, one, index, state }) {
  const [loaded, setLoaded] = useState(null);
  const [hover, setHover] = useState(null);
  useEffect(() => {
    let current = true;
    setLoaded(null);
    setHover(null);
    partsOf(index).then((read) => current && setLoaded(read), (problem) => current && setLoaded({ url: null, maps: [], problem }));
    return () => (current = false);
  }, [index]);
  const { frames, answers } = one;
  const maps = useMemo(
    () => answers.map((_, run) => (frames && loaded?.maps[run] && gridOf(frames, loaded.maps[run]) ? loaded.maps[run] : null)),
    [one, loaded],
  );
  const chosen = state.run === null ? null : { run: state.run, from: state.from, to: state.to, span: state.span };
  const choice = hover ?? chosen;
  const drawn = useMemo(
    () => drawnMap(choice, answers, maps, state.map, state.sinks),
    [choice?.run, choice?.from, choice?.to, choice?.span, maps, state.map, state.sinks],
  );
  const scales = useMemo(() => longest(maps), [maps]);
  const peak = !hover && drawn && frames && state.frame === null ? peakTile(frames, drawn) : null;
  const onChoose = useRef((change) => choose(change)).current;
  const view = { frames, url: loaded?.url, drawn, sinks: state.sinks };
  return html`
    <article class="case" data-loaded=${loaded !== null} data-case=${one.id} aria-labelledby="case-title">
      <${CaseHead} ...${{ one }} />
      ${frames && tilesOf(frames) > 0
        ? html`<section class="seen" aria-label="what the model saw">
            <${Strip} ...${view} first=${state.frame ?? 0} peak=${peak} onOpen=${(frame) => choose({ frame }, true)} />
            ${maps.some(Boolean) && html`<${MapPanel} ...${{ data, one, choice, drawn, state, maps }} />`}
          </section>`
        : html`<p class="muted">There are no frames of this question in the page.</p>`}
      ${loaded?.problem && html`<p class="problem">Pictures or maps of this case cannot be read: ${String(loaded.problem.message)}</p>`}
      <${Options} ...${{ one, runs: data.runs }} />
      <section class="answers" aria-label="responses">
        ${data.runs.map((run, number) => html`<${Answer} key=${run.name} ...${{
          answer: answers[number], run, index: number, map: maps[number], scales, ready: loaded !== null,
          shown: drawn && choice.run === number ? drawn : null, onHover: setHover, onChoose,
        }} />`)}
      </section>
      ${frames && state.frame !== null && tilesOf(frames) > 0 && html`<${Large} ...${view} frame=${state.frame} onMove=${(frame) => choose({ frame })} />`}
    </article>`;
}

function CaseHead({ one }) {
  const about = [one.level, one.domain, one.scenario, one.video].filter((text) => text !== null && text !== "");
  return html`
    <header class="casehead">
      <p class="eyebrow" id="case-title"><b class="num"><${Text} of=${one.id} /></b>${about.map((text) => html`<span><${Text} of=${text} /></span>`)}</p>
      <h3 dir="auto">${visible(one.question)}</h3>
      ${one.goal !== null && !one.question.includes(one.goal) && html`<p><span class="muted">Goal:</span> <${Text} of=${one.goal} /></p>`}
      ${one.progress.length > 0 && html`<details class="progress"><summary>${plural(one.progress.length, "narrated action")} before, which the models do not see</summary>
        <ol>${one.progress.map((action) => html`<li dir="auto">${visible(action)}</li>`)}</ol></details>`}
    </header>`;
}

/** Options with the right one marked, and who chose which. */
function Options({ one, runs }) {
  const letters = one.options.map((_, i) => String.fromCharCode(65 + i));
  const chips = (number) => html`<span class="chip" style=${`--run:${colourOf(runs[number].name)}`}><${Mark} name=${runs[number].name} /><${Text} of=${runs[number].name} /></span>`;
  const others = runs.map((_, number) => number).filter((number) => !letters.includes(one.answers[number].letter));
  return html`
    <ol class="options" aria-label="options">
      ${one.options.map((option, i) => html`
        <li class=${letters[i] === one.gold ? "gold" : ""}>
          <b class="letter">${letters[i]}</b><span class="optiontext" dir="auto">${visible(option)}</span>
          ${letters[i] === one.gold && html`<span class="goldmark">✓ right answer</span>`}
          <span class="chips">${runs.map((_, number) => one.answers[number].letter === letters[i] && chips(number))}</span>
        </li>`)}
      ${others.length > 0 && html`<li class="none"><b class="letter">–</b><span class="optiontext muted">no letter on offer</span><span class="chips">${others.map(chips)}</span></li>`}
    </ol>`;
}

/** Which map is drawn, how it is drawn, and where else the token looks. */
function MapPanel({ data, one, choice, drawn, state, maps }) {
  const sinks = d3.max(maps, (map) => map?.sinks.length ?? 0);
  const answer = choice && one.answers[choice.run];
  const text = drawn && (choice.span ? `${choice.span} span` : drawn.map.tokens.slice(drawn.from, drawn.to + 1).join("").trim() || "blank");
  const mode = (name, title) => html`
    <button type="button" aria-pressed=${state.map === name} title=${title} onClick=${() => choose({ map: name })}>${name}</button>`;
  const shares = drawn && d3.range(4).map((i) => d3.mean(drawn.map.shares.slice(drawn.from, drawn.to + 1), (share) => share[i]));
  return html`
    <div class="mappanel">
      <div class="maptools">
        <span class="segmented" role="group" aria-label="map">${mode("raw", "share of the token's attention")}${mode("relative", "divided by the same model's map under a general prompt")}</span>
        ${sinks > 0 && html`<label><input type="checkbox" checked=${state.sinks === "out"} onChange=${(event) => choose({ sinks: event.target.checked ? "out" : "in" })} /> leave out ${plural(sinks, "sink")}</label>`}
      </div>
      <p class="mapword" aria-live="polite" data-run=${drawn ? choice.run : ""}>${drawn && answer
        ? html`<${Mark} name=${data.runs[choice.run].name} /><b dir="auto">${visible(text.length > 60 ? `${text.slice(0, 60)}…` : text)}</b>
            <span class="muted num">${drawn.from === drawn.to ? `token ${drawn.from + 1}` : `mean of tokens ${drawn.from + 1} to ${drawn.to + 1}`}; ${peakWords(one.frames, drawn)}</span>`
        : html`<span class="muted">Hover, click or drag over words of a response, or use ← → in it: the frames show where it looked.</span>`}</p>
      <div class="scale ${drawn ? "" : "idle"}"><span class="num">0</span><i class="heat" aria-hidden="true" />
        <span class="num">${drawn ? (state.map === "raw" ? `${figure(100 * drawn.most)} % of the attention` : `${figure(drawn.most)} × the map under a general prompt`) : "most"}</span></div>
      <${Shares} shares=${shares} />
      <p class="muted small">${perPair(one.frames) === 2 ? "A map belongs to a pair of frames, which the model joins in one row of visual tokens." : `A map belongs to ${plural(perPair(one.frames), "frame")}.`}
        ${" "}Mean over heads and layers ${layersOf(maps)}. Where a token looks is not why it was written: see the effect below each response.</p>
    </div>`;
}

/** Where a token's attention goes; as high without a token, so that nothing moves under the pointer. */
function Shares({ shares }) {
  const known = shares && shares.every((share) => share !== undefined);
  const words = (i) => (known ? `${SHARES[i]} ${percent(shares[i])} %` : SHARES[i]);
  return html`<div class=${`shares${known ? "" : " idle"}`}>
    <div aria-hidden="true">${SHARES.map((_, i) => html`<span class=${`share s${i}`} style=${`flex:${known ? Math.max(shares[i], 0.001) : 1}`} title=${words(i)} />`)}</div>
    <p class="num">${SHARES.map((_, i) => html`<span><i class=${`share s${i}`} />${words(i)} </span>`)}</p></div>`;
}

const SHARES = ["video", "image", "words of the prompt", "own words"];
function layersOf(maps) {
  const layers = maps.find(Boolean).layers;
  return layers.length > 6 ? `${layers[0]} to ${layers[layers.length - 1]}` : layers.join(", ");
}

// What one model said, with reasoning and answer marked; each token can be chosen where attention was recorded.

/** Pieces of a response: {text, token, part}, in order; without maps a piece is a whole part. */
function piecesOf(answer, map) {
  const unit = unitAt(answer.response);
  const length = answer.response.length;
  const partAt = (position) => ["think", "answer"].find((part) => answer[part] && position >= answer[part][0] && position < answer[part][1]) ?? null;
  if (map) {
    const pieces = map.starts.map((start, token) => {
      const [from, to] = [unit(start), token + 1 < map.starts.length ? unit(map.starts[token + 1]) : length];
      const after = from >= length; // what ends the turn is no part of the response
      const part = after ? "end" : ["think", "answer"].find((name) => answer[name] && holds(answer, map, token, answer[name])) ?? null;
      return { token, part, text: after ? map.tokens[token] : answer.response.slice(from, to) };
    });
    const before = map.starts.length ? unit(map.starts[0]) : length;
    return before ? [{ token: null, part: null, text: answer.response.slice(0, before) }, ...pieces] : pieces;
  }
  const ends = ["think", "answer"].flatMap((part) => answer[part] ?? []).map(unit);
  const cuts = [...new Set([0, ...ends, length])].sort((a, b) => a - b);
  const back = new Map(["think", "answer"].flatMap((part) => (answer[part] ?? []).map((position) => [unit(position), position])));
  return cuts.slice(0, -1).map((from, i) => ({ token: null, part: partAt(back.get(from) ?? 0), text: answer.response.slice(from, cuts[i + 1]) }));
}

function Pieces({ answer, map, run, onHover, onChoose }) {
  return useMemo(() => {
    const blocks = [];
    for (const piece of piecesOf(answer, map)) {
      if (!blocks.length || blocks[blocks.length - 1].part !== piece.part) blocks.push({ part: piece.part, pieces: [] });
      blocks[blocks.length - 1].pieces.push(piece);
    }
    const label = (part) => map && tokensOf(answer, map, part)
      ? html`<button type="button" class="partname" data-span=${part} title=${`mean attention of the whole ${part} span`}
          onMouseEnter=${() => onHover({ run, span: part })} onMouseLeave=${() => onHover(null)}
          onFocus=${() => onHover({ run, span: part })} onBlur=${() => onHover(null)}
          onClick=${() => onChoose({ ...NO_TOKEN, run, span: part })}>${part}</button>`
      : html`<span class="partname">${part}</span>`;
    const named = new Set();
    return blocks.map(({ part, pieces }) => {
      const first = (part === "think" || part === "answer") && !named.has(part) && named.add(part);
      return html`<span class=${`part in-${part ?? "between"}`}>${first && label(part)}${pieces.map(({ token, text }) => {
        if (token === null) return visible(text);
        const [, space, word] = /^(\s*)([^]*)$/.exec(text); // a space at the end of a line would be marked alone
        return word ? html`${visible(space)}<span data-token=${token}>${visible(word)}</span>` : html`<span data-token=${token}>${visible(text)}</span>`;
      })}</span>`;
    });
  }, [answer, map]);
}

function ResponseText({ answer, map, run, shown, onHover, onChoose }) {
  const box = useRef(null);
  const drag = useRef(null);
  const tokenAt = (event) => Number(event.target.closest?.("[data-token]")?.dataset.token ?? NaN);
  useLayoutEffect(() => {
    for (const old of box.current.querySelectorAll("[data-token].on")) old.classList.remove("on");
    if (!shown) return;
    for (let token = shown.from; token <= shown.to; token++) box.current.querySelector(`[data-token="${token}"]`)?.classList.add("on");
  }, [shown?.from, shown?.to, answer, map]);
  const last = map ? map.tokens.length - 1 : 0;
  const pick = (from, to) => onChoose({ run, from: Math.min(from, to), to: Math.max(from, to), span: null });
  const keys = (event) => {
    if (!map || event.target !== box.current) return;
    const state = store.state;
    const at = state.run === run && state.from !== null ? state : null;
    const anchor = at && (drag.current === at.to ? at.to : at.from);
    const head = at && (anchor === at.from ? at.to : at.from);
    const next = {
      ArrowRight: at ? Math.min(head + 1, last) : 0, ArrowLeft: at ? Math.max(head - 1, 0) : last,
      Home: 0, End: last,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    drag.current = event.shiftKey && at ? anchor : next;
    pick(drag.current, next);
    box.current.querySelector(`[data-token="${next}"]`)?.scrollIntoView({ block: "nearest" });
  };
  const over = (event) => {
    const token = tokenAt(event);
    if (Number.isNaN(token)) return;
    if (event.buttons === 1 && drag.current !== null) pick(drag.current, token);
    else onHover({ run, from: token, to: token });
  };
  const down = (event) => {
    const token = tokenAt(event);
    if (Number.isNaN(token) || event.button) return;
    event.preventDefault(); // no selection of text
    box.current.focus({ preventScroll: true });
    if (event.shiftKey && store.state.run === run && store.state.from !== null) pick(store.state.from, token);
    else {
      const again = store.state.run === run && store.state.from === token && store.state.to === token;
      drag.current = token;
      if (again) onChoose(NO_TOKEN);
      else pick(token, token);
    }
  };
  return html`
    <div ref=${box} class=${`text${map ? " tokens" : ""}`} dir="auto" tabindex="0" role="group"
      aria-label=${map ? "response; left and right go from token to token" : "response"}
      onMouseOver=${map ? over : undefined} onMouseLeave=${map ? () => onHover(null) : undefined}
      onMouseDown=${map ? down : undefined} onKeyDown=${keys}>
      <${Pieces} ...${{ answer, map, run, onHover, onChoose }} />
      ${answer.response === "" && html`<span class="muted">nothing was written</span>`}
    </div>`;
}

/** +0.42, −0.031, −0.0004. */
function change(value) {
  const size = Math.abs(value);
  return value === 0 ? "0" : minus(d3.format(size >= 0.1 ? "+.2f" : size >= 0.001 ? "+.3f" : "+.1~e")(value));
}

const LOSSES = [
  { title: "answer letter", top: "top", random: "random" },
  { title: "whole reasoning", top: "reasoning_top", random: "reasoning_random" },
];
const known = (effect, { top, random }) => typeof effect[top] === "number" && typeof effect[random] === "number";

/** The longest bar of each kind of loss, the same for all runs of a case; at least 0.1, so that nothing looks like much. */
function longest(maps) {
  const effects = maps.flatMap((map) => map?.effects ?? []);
  return LOSSES.map((loss) => d3.max(effects.filter((e) => known(e, loss)), (e) => Math.max(Math.abs(e[loss.top]), Math.abs(e[loss.random]), 0.1)));
}

/** What painting over the most attended tokens does, against as many random ones. */
function Effects({ effects, scales }) {
  const bar = (value, kind, most) => html`<i class=${`${kind}${value > 0 ? " up" : ""}`} style=${`width:${(100 * Math.abs(value)) / most}%`} />`;
  const row = (e, { top, random }, most) => html`
    <tr title=${`the ${plural(e.tokens, "visual token")} that the ${e.span} span attends to most, and as many at random`}>
      <th scope="row">${e.span} ${Math.round(100 * e.fraction)} %</th>
      <td class="lane" aria-hidden="true">${bar(e[top], "top", most)}${bar(e[random], "random", most)}</td>
      <td class="num">${change(e[top])}</td><td class="num">${change(e[random])}</td></tr>`;
  return html`
    <table class="effects">
      <caption>Painting over visual tokens changes the log-probability: <span><i class="top" />most attended</span> <span><i class="random" />as many at random</span></caption>
      <colgroup><col class="first" /><col /><col class="last" /><col class="last" /></colgroup>
      ${LOSSES.map((loss, i) => effects.some((e) => known(e, loss)) && html`
        <tbody><tr><th colspan="4" scope="rowgroup" class="kind">of the ${loss.title}</th></tr>
          ${effects.filter((e) => known(e, loss)).map((e) => row(e, loss, scales[i]))}</tbody>`)}
    </table>`;
}

function Answer({ answer, run, index, map, scales, ready, shown, onHover, onChoose }) {
  return html`
    <article class="answer" style=${`--run:${colourOf(run.name)}`} data-run=${index}>
      <header><h4><${Mark} name=${run.name} /><${Text} of=${run.name} /></h4><${Verdict} answer=${answer} /></header>
      <p class="meta">
        ${answer.tokens !== null && html`<span class="num">${plural(answer.tokens, "token")}</span>`}
        ${answer.truncated && html`<span class="tag warn">cut off</span>`}
        ${answer.tags.filter((tag) => !(tag === "cut off" && answer.truncated)).map((tag) => html`<span class="tag"><${Text} of=${tag} /></span>`)}
      </p>
      ${answer.consistency && html`<p class="consistency"><${Text} of=${answer.consistency} /></p>`}
      <${ResponseText} ...${{ answer, map, run: index, shown, onHover, onChoose }} />
      ${map && !map.exact && html`<p class="muted small">The response, tokenised again, has another number of tokens than were generated.</p>`}
      ${map && map.effects.length > 0 && html`<${Effects} ...${{ effects: map.effects, scales }} />`}
      ${ready && !map && answer.attention && html`<p class="muted small">Its attention cannot be drawn on these frames.</p>`}
    </article>`;
}

function Verdict({ answer }) {
  return html`<span class=${`verdict ${answer.correct ? "right" : "wrong"}`}>
    <b>${answer.letter === null ? "no letter" : visible(answer.letter)}</b> ${answer.correct ? "✓ right" : "✗ wrong"}</span>`;
}

// The case explorer: filters, the list, one case, and the keyboard.

function Explorer({ data }) {
  const state = useStore();
  const shown = useMemo(() => passing(data.cases, state), FILTERS.map((name) => state[name]));
  const counts = useMemo(() => countsOf(data, state), FILTERS.map((name) => state[name]));
  const numbers = useMemo(() => new Map(data.cases.map((one, index) => [one.id, index])), [data]);
  const index = state.case === null ? (shown.length ? numbers.get(shown[0].id) : -1) : numbers.get(state.case) ?? -1;
  const one = data.cases[index];
  const [help, setHelp] = useState(false);
  useKeyboard({ shown, one, onHelp: () => setHelp(true) });
  return html`
    <${Filters} ...${{ data, state, counts, shown: shown.length }} />
    <div class="browser">
      <${CaseList} ...${{ data, shown, one }} />
      <div class="casebox" id="case" tabindex="-1">${one
        ? html`<${CaseView} key=${one.id} ...${{ data, one, index, state }} />`
        : html`<p class="empty">${state.case !== null && index < 0 && state.case !== undefined
            ? html`There is no case ${visible(state.case)} in this page.` : "No case passes these filters."}
            ${" "}<button type="button" class="button" onClick=${() => choose({ ...NO_FILTER, case: null }, true)}>show all cases</button></p>`}</div>
    </div>
    ${help && html`<${Help} onClose=${() => setHelp(false)} />`}`;
}

/** Go to a case; what was chosen in the last one is left behind. */
const goTo = (id) => choose({ case: id, ...NO_TOKEN, frame: null, at: null }, true);

/** Change filters; the case stays when it passes them. */
function filter(change, data) {
  const state = { ...store.state, ...change };
  const stays = state.case !== null && passing(data.cases, state).some((one) => one.id === state.case);
  choose({ ...change, at: null, ...(stays ? {} : { case: null, frame: null, ...NO_TOKEN }) }, !("q" in change));
}

function Filters({ data, state, counts, shown }) {
  const flip = (name, value) => filter({ [name]: state[name].includes(value) ? state[name].filter((one) => one !== value) : [...state[name], value] }, data);
  const chip = (name, value, label, n) => html`
    <button type="button" class="filter" key=${value} data-filter=${name} data-value=${value} aria-pressed=${state[name].includes(value)}
      disabled=${!n && !state[name].includes(value)} onClick=${() => flip(name, value)}>${label}<span class="count">${n}</span></button>`;
  const domains = [...new Set(data.cases.map((one) => one.domain))].sort();
  const flows = [...d3.rollup(data.cases, (some) => some.length, (one) => one.flow)].sort((a, b) => b[1] - a[1]).map(([flow]) => flow);
  const group = (title, content) => html`<fieldset class="facet"><legend>${title}</legend><div class="values">${content}</div></fieldset>`;
  const outcome = (run, kind) => {
    const on = state[kind].includes(run);
    const other = kind === "right" ? "wrong" : "right";
    const change = { [kind]: on ? state[kind].filter((r) => r !== run) : [...state[kind], run], [other]: state[other].filter((r) => r !== run) };
    return html`<button type="button" class=${`filter ${kind}`} data-filter=${kind} data-value=${run} aria-pressed=${on}
      disabled=${!counts.outcomes[run][kind] && !on}
      onClick=${() => filter(change, data)}><span class="hidden">${visible(data.runs[run].name)}</span>${kind === "right" ? "✓" : "✗"} ${kind}<span class="count">${counts.outcomes[run][kind]}</span></button>`;
  };
  const n = active(state).length;
  return html`
    <details class="filters" open=${matchMedia("(min-width: 900px)").matches}>
      <summary>Filters${n ? ` (${n})` : ""}</summary>
      <div class="facets">
        <div>
          <label class="search"><span>Search</span><input type="search" id="search" value=${state.q} placeholder="any word of question, options, responses" autocomplete="off"
            onInput=${(event) => filter({ q: event.target.value }, data)} /></label>
          ${group("Level", data.levels.map((level) => chip("level", level, html`<${Text} of=${level} />`, counts.level.get(level) ?? 0)))}
          ${domains.length > 1 && group("Domain", domains.map((domain) => chip("domain", domain, html`<${Text} of=${domain} />`, counts.domain.get(domain) ?? 0)))}
        </div>
        <div>${group("Outcome of each model", html`<div class="outcomes">${data.runs.map((run, number) => html`
            <span class="runname"><${Mark} name=${run.name} /><${Text} of=${run.name} /></span>${outcome(number, "right")}${outcome(number, "wrong")}`)}</div>`)}
          ${data.cases.some(attended) && group("Attention", html`<button type="button" class="filter" data-filter="attended" data-value="1" aria-pressed=${state.attended}
            disabled=${!counts.attended && !state.attended} onClick=${() => filter({ attended: !state.attended }, data)}>recorded<span class="count">${counts.attended}</span></button>`)}
        </div>
        <div>${data.runs.length > 1 && group(html`Flow <span class="muted">${data.runs.length > 4 ? "in the order of the runs" : data.runs.map((run) => visible(run.name)).join(" → ")}</span>`,
            flows.map((flow) => chip("flow", flow, html`<${FlowMarks} flow=${flow} />`, counts.flow.get(flow) ?? 0)))}
          ${data.tags.length > 0 && group(html`Tags ${data.runs.length > 1 && html`<select aria-label="tags of which model" value=${state.by ?? ""}
              onChange=${(event) => filter({ by: event.target.value === "" ? null : Number(event.target.value) }, data)}>
              <option value="">of any model</option>${data.runs.map((run, number) => html`<option value=${number}>of ${visible(run.name)}</option>`)}</select>`}`,
            data.tags.map((tag) => chip("tag", tag, html`<${Text} of=${tag} />`, counts.tag.get(tag) ?? 0)))}
        </div>
      </div>
    </details>
    <p class="listhead" aria-live="polite"><b class="num" id="shown">${shown}</b> of ${plural(data.cases.length, "case")}
      ${n > 0 && html` <button type="button" class="linklike" id="reset" onClick=${() => filter(NO_FILTER, data)}>reset filters</button>`}</p>`;
}

function FlowMarks({ flow }) {
  return html`<span class="flowmarks" role="img" aria-label=${[...flow].map((mark) => (mark === "1" ? "right" : "wrong")).join(", ")}>${
    [...flow].map((mark) => (mark === "1" ? html`<i class="right">✓</i>` : html`<i class="wrong">✗</i>`))}</span>`;
}

/** Light rows; the browser lays out only those in sight (content-visibility). */
function CaseList({ data, shown, one }) {
  const list = useRef(null);
  useEffect(() => {
    const show = () => {
      const row = list.current?.querySelector("[aria-current]");
      if (row) list.current.scrollTop += outside(row.getBoundingClientRect(), list.current.getBoundingClientRect());
    };
    show();
    requestAnimationFrame(show); // rows that were out of sight have their true height now
  }, [one?.id, shown]);
  const rows = useMemo(() => shown.map((each) => html`
    <li key=${each.id}><a href=${`#${writeState({ ...EMPTY, case: each.id })}`} data-case=${each.id}
      onClick=${(event) => { if (event.ctrlKey || event.metaKey || event.shiftKey) return; event.preventDefault(); goTo(each.id); }}>
      <span class="rowhead"><b class="num"><${Text} of=${each.id} /></b><${FlowMarks} flow=${each.flow} /></span>
      <span class="rowtext" dir="auto">${visible((each.goal ?? each.question).slice(0, 160))}</span>
      <span class="rowmeta"><bdi>${visible(each.domain.slice(0, 40))}</bdi>${attended(each) && html`<span title="attention was recorded">◉ attention</span>`}</span>
    </a></li>`), [shown]);
  useLayoutEffect(() => {
    for (const row of list.current.querySelectorAll("a")) {
      if (row.dataset.case === one?.id) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }, [one?.id, rows]);
  return html`<nav class="list" aria-label="cases"><ol ref=${list}>${rows}</ol></nav>`;
}

const outside = (row, box) => (row.top < box.top ? row.top - box.top : row.bottom > box.bottom ? row.bottom - box.bottom : 0);

function useKeyboard(now) {
  const latest = useRef(now);
  latest.current = now;
  useEffect(() => {
    const onKey = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (event.target.matches?.("input, select, textarea")) {
        if (event.key === "Escape") event.target.blur();
        return;
      }
      const { shown, one, onHelp } = latest.current;
      const at = shown.findIndex((each) => each.id === one?.id);
      if (event.key === "j" && at + 1 < shown.length) toCase(shown[at + 1].id);
      else if (event.key === "k" && at > 0) toCase(shown[at - 1].id);
      else if (event.key === "/") openSearch();
      else if (event.key === "?") onHelp();
      else if (event.key === "Escape" && store.state.run !== null) choose(NO_TOKEN);
      else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
        if (!arrow(event)) return;
      } else return;
      event.preventDefault();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

function toCase(id) {
  goTo(id);
  const box = document.querySelector(".browser").getBoundingClientRect();
  if (box.top > innerHeight * 0.6 || box.bottom < 120) document.getElementById("cases").scrollIntoView();
}

function openSearch() {
  const search = document.getElementById("search");
  search.closest("details").open = true;
  search.focus();
  search.select();
}

/** Arrows outside of a response and of the strip: the chosen token moves, or else the frames get the focus. */
function arrow(event) {
  const { run } = store.state;
  const text = run !== null && document.querySelector(`.answer[data-run="${run}"] .text.tokens`);
  if (text) {
    text.focus({ preventScroll: true });
    text.dispatchEvent(new KeyboardEvent("keydown", { key: event.key, shiftKey: event.shiftKey, bubbles: true, cancelable: true }));
    return true;
  }
  const frame = event.target === document.body || event.target.closest?.(".browser") ? document.querySelector(".pairs .frame.on") : null;
  frame?.focus({ preventScroll: true });
  return Boolean(frame);
}

const KEYS = [
  ["j k", "next, previous case"], ["← →", "in a response: tokens; in the strip and the large view: frames"], ["shift ← →", "several tokens: the mean of their maps"],
  ["space", "large view: play"], ["/", "search"], ["Esc", "let go of the token, close"], ["?", "this help"],
];
function Help({ onClose }) {
  const dialog = useRef(null);
  useLayoutEffect(() => dialog.current.showModal(), []);
  return html`
    <dialog ref=${dialog} class="help" aria-labelledby="help-title" onClose=${onClose} onClick=${(event) => event.target === dialog.current && dialog.current.close()}>
      <h3 id="help-title">Keys</h3>
      <dl>${KEYS.map(([keys, words]) => html`<dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd>`)}</dt><dd>${words}</dd>`)}</dl>
      <p class="muted">The address of the page holds the case, the filters, the token and the view: copy it to show someone the same.</p>
      <button type="button" class="button" onClick=${() => dialog.current.close()}>close</button>
    </dialog>`;
}

// What the reader has chosen; all of it stands in the address, so that a link restores it.

const EMPTY = {
  case: null, level: [], domain: [], right: [], wrong: [], flow: [], tag: [], by: null, attended: false, q: "",
  run: null, from: null, to: null, span: null, map: "raw", sinks: "in", frame: null, theme: null, at: null,
};
const LISTS = ["level", "domain", "flow", "tag"];
const RUNS = ["right", "wrong"];
const FILTERS = [...LISTS, ...RUNS, "by", "attended", "q"];

/** "case=L1/115&right=2&token=4-6" -> state.  What is unknown or cannot be read is left out. */
function readState(hash) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const state = { ...EMPTY };
  const number = (text) => (/^\d{1,6}$/.test(text ?? "") ? Number(text) : null);
  for (const name of LISTS) state[name] = words.getAll(name);
  for (const name of RUNS) state[name] = words.getAll(name).map(number).filter((run) => run !== null);
  for (const name of ["run", "frame", "by"]) state[name] = number(words.get(name));
  for (const name of ["case", "at"]) state[name] = words.get(name);
  state.attended = words.get("attended") === "1";
  state.q = words.get("q") ?? "";
  const token = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(words.get("token") ?? "");
  if (token && state.run !== null) {
    state.from = Math.min(Number(token[1]), Number(token[2] ?? token[1]));
    state.to = Math.max(Number(token[1]), Number(token[2] ?? token[1]));
  }
  if (["think", "answer"].includes(words.get("span")) && state.from === null) state.span = words.get("span");
  if (words.get("map") === "relative") state.map = "relative";
  if (words.get("sinks") === "out") state.sinks = "out";
  if (["light", "dark"].includes(words.get("theme"))) state.theme = words.get("theme");
  return state;
}

/** state -> "case=L1%2F115&..." */
function writeState(state) {
  const words = new URLSearchParams();
  for (const name of [...LISTS, ...RUNS]) for (const value of state[name]) words.append(name, value);
  if (state.by !== null) words.set("by", state.by);
  if (state.attended) words.set("attended", "1");
  if (state.q) words.set("q", state.q);
  if (state.case !== null) words.set("case", state.case);
  if (state.run !== null) words.set("run", state.run);
  if (state.from !== null) words.set("token", state.from === state.to ? state.from : `${state.from}-${state.to}`);
  else if (state.span) words.set("span", state.span);
  for (const name of ["map", "sinks", "frame", "theme", "at"]) {
    if (state[name] !== EMPTY[name]) words.set(name, state[name]);
  }
  return words.toString().replaceAll("%2F", "/");
}

const store = { state: readState(location.hash), listeners: new Set(), timer: null };

/** Change what is chosen.  `push`: the back button comes back to what is now. */
function choose(change, push = false) {
  clearTimeout(store.timer);
  if (push) flush();
  store.state = { ...store.state, ...change };
  if (push) history.pushState(null, "", `#${writeState(store.state)}`);
  else store.timer = setTimeout(flush, 150); // browsers refuse many changes a second
  for (const listener of store.listeners) listener(store.state);
}

function flush() {
  const hash = `#${writeState(store.state)}`;
  if (hash !== (location.hash || "#")) history.replaceState(null, "", hash);
}

function restore() {
  clearTimeout(store.timer);
  store.state = readState(location.hash);
  for (const listener of store.listeners) listener(store.state);
}

function useStore() {
  const [state, setState] = useState(store.state);
  useLayoutEffect(() => {
    store.listeners.add(setState);
    setState(store.state);
    return () => store.listeners.delete(setState);
  }, []);
  return state;
}

const NO_TOKEN = { run: null, from: null, to: null, span: null };

// The start: what is in the page gets its charts and the explorer.

const byId = (id) => document.getElementById(id);

function applyTheme({ theme }) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  const dark = theme === "dark" || (!theme && matchMedia("(prefers-color-scheme: dark)").matches);
  byId("theme").textContent = dark ? "☀ light" : "☾ dark";
  byId("theme").dataset.next = dark ? "light" : "dark";
}

/** Draw `figure` when it comes near the window, again when its width changes, and before printing. */
function chart(element, draw) {
  let width = 0;
  const paint = () => {
    const now = Math.floor(element.clientWidth);
    if (!now || now === width) return;
    width = now;
    const drawn = draw(now);
    element.replaceChildren(...drawn);
    element.lastChild.setAttribute("role", "img"); // its numbers stand below it
    element.lastChild.setAttribute("aria-label", element.dataset.title);
    for (const part of element.lastChild.querySelectorAll("g[aria-label]")) part.removeAttribute("aria-label");
  };
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    paint();
    new ResizeObserver(paint).observe(element);
  }, { rootMargin: "600px" });
  near.observe(element);
  addEventListener("beforeprint", paint);
}

function legend(names) {
  const box = document.createElement("p");
  box.className = "legend";
  render(names.map((name) => html`<span><${Mark} name=${name} /><${Text} of=${name} /></span>`), box);
  return box;
}

function drawFigures(data) {
  if (data.differences.length) chart(byId("forest"), (width) => [forest(data, width)]);
  data.sections.forEach((section, s) => {
    section.curves.forEach((one, i) => chart(byId(`curve-${s}-${i}`), (width) => [legend(one.lines.map((line) => line.name)), curve(one, width)]));
    section.bars.forEach((one, i) => chart(byId(`bars-${s}-${i}`), (width) => [legend([...new Set(one.bars.map((bar) => bar.series))]), bars(one, width)]));
    if (section.flows.length) {
      const known = (change) => ({ ...change, level: change.level.filter((level) => data.levels.includes(level)) });
      const onChoose = (change) => { choose({ ...known(change), case: null, ...NO_TOKEN, frame: null, at: "cases" }, true); goAt(); };
      render(html`<${Flows} ...${{ flows: section.flows, runs: data.runs.map((run) => run.name), onChoose }} />`, byId(`flows-${s}`));
    }
  });
}

function goAt() {
  const at = store.state.at ?? (store.state.case !== null ? "case" : null);
  if (at) byId(at)?.scrollIntoView();
}

async function start() {
  applyTheme(store.state);
  store.listeners.add(applyTheme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => applyTheme(store.state));
  byId("theme").hidden = false;
  byId("theme").addEventListener("click", () => choose({ theme: byId("theme").dataset.next }));
  if (typeof DecompressionStream === "undefined") {
    throw new Error("This browser cannot unpack the data of the page (DecompressionStream): charts and cases need Chrome 80, Firefox 113, Safari 16.4 or newer.");
  }
  const data = await unpack(byId("head"));
  givePlaces(data);
  for (const element of document.querySelectorAll("[data-mark]")) render(html`<${Mark} name=${data.runs[element.dataset.mark].name} />`, element);
  drawFigures(data);
  if (data.cases.length) render(html`<${Explorer} data=${data} />`, byId("explorer"));
  for (const link of document.querySelectorAll("[data-at]")) {
    link.addEventListener("click", (event) => { event.preventDefault(); choose({ at: link.dataset.at }, true); goAt(); });
  }
  addEventListener("popstate", () => { restore(); goAt(); });
  addEventListener("hashchange", restore);
  document.documentElement.dataset.ready = "yes";
  performance.mark("ready");
  goAt();
}

start().catch((problem) => {
  byId("problem").textContent = problem.message;
  byId("problem").hidden = false;
  throw problem;
});

// Cases that pass the filters, and how many each value of a filter would leave.

/** The name of each filter and whether a case passes it; a filter without a choice lets everything pass. */
function tests(state) {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  return {
    level: (one) => !state.level.length || state.level.includes(one.level),
    domain: (one) => !state.domain.length || state.domain.includes(one.domain),
    flow: (one) => !state.flow.length || state.flow.includes(one.flow),
    tag: (one) => state.tag.every((tag) => tagged(one, tag, state.by)),
    attended: (one) => !state.attended || attended(one),
    q: (one) => words.every((word) => textOf(one).includes(word)),
    right: (one) => state.right.every((run) => one.answers[run]?.correct === true),
    wrong: (one) => state.wrong.every((run) => one.answers[run]?.correct === false),
  };
}

const tagged = (one, tag, by) => one.answers.some((answer, run) => (by === null || by === run) && answer.tags.includes(tag));
const attended = (one) => one.answers.some((answer) => answer.attention);

const texts = new WeakMap();
/** Everything that can be read about a case, for the search. */
function textOf(one) {
  if (!texts.has(one)) {
    const said = one.answers.flatMap((answer) => [answer.response, answer.consistency ?? "", ...answer.tags]);
    const all = [one.id, one.domain, one.scenario, one.video, one.goal, one.question, ...one.options, ...one.progress, ...said];
    texts.set(one, all.filter((text) => text !== null).join("\n").toLowerCase());
  }
  return texts.get(one);
}

/** Cases that pass every filter, or every one but `besides`. */
function passing(cases, state, besides = []) {
  const kept = Object.entries(tests(state)).filter(([name]) => !besides.includes(name)).map(([, test]) => test);
  return cases.filter((one) => kept.every((test) => test(one)));
}

function count(cases, valuesOf) {
  const counts = new Map();
  for (const one of cases) for (const value of valuesOf(one)) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

/** Counts beside the values of the filters: how many cases there are with this value under all other filters. */
function countsOf(data, state) {
  const { cases, runs } = data;
  const outcomes = runs.map((_, run) => {
    const others = { ...state, right: state.right.filter((r) => r !== run), wrong: state.wrong.filter((r) => r !== run) };
    const rest = passing(cases, others);
    const right = rest.filter((one) => one.answers[run].correct).length;
    return { right, wrong: rest.length - right };
  });
  const everything = passing(cases, state);
  return {
    level: count(passing(cases, state, ["level"]), (one) => [one.level]),
    domain: count(passing(cases, state, ["domain"]), (one) => [one.domain]),
    flow: count(passing(cases, state, ["flow"]), (one) => [one.flow]),
    tag: count(everything, (one) => data.tags.filter((tag) => tagged(one, tag, state.by))),
    attended: passing(cases, state, ["attended"]).filter(attended).length,
    outcomes,
  };
}

const active = (state) => FILTERS.filter((name) => JSON.stringify(state[name]) !== JSON.stringify(EMPTY[name]) && name !== "by");
const NO_FILTER = Object.fromEntries(FILTERS.map((name) => [name, EMPTY[name]]));

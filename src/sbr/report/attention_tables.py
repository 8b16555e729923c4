"""Tables of `sbr analyze attention`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from sbr.analysis.attention_records import AttentionRecord
from sbr.analysis.attention_shares import MEDIA, AttentionSummary, Figure, Kind
from sbr.analysis.attention_spans import Span, mean_map, phrase_tokens, relative_map
from sbr.analysis.bootstrap import Estimate
from sbr.report.tables import TextTable

SPAN_NAMES: Mapping[Span, str] = {"all": "all tokens", "think": "reasoning", "answer": "answer"}
PHRASES_SHOWN = 5
"""Answers with a phrase that a table lists for each run; all count in its means."""
PAIRS_SHOWN = 3

Read = Callable[[str, AttentionRecord], tuple[np.ndarray, np.ndarray]]
"""(run, record) -> tokens_NV and general_V."""


def attention_tables(summary: AttentionSummary) -> list[TextTable]:
    """Shares by part of the answer and by layer, density, effects and paired differences."""
    tables = [_shares(summary), *(_by_layer(summary, medium) for medium in ("video", "image")), _density(summary)]
    tables += [_effects(summary, reasoning) for reasoning in (True, False)]
    if len(summary.runs) > 1:
        tables += _differences(summary)
    return [table for table in tables if table.rows]


def _shares(summary: AttentionSummary) -> TextTable:
    rows = _by_span(summary, [(Figure("share", "all", medium), 100, 1) for medium in MEDIA])
    levels = ", ".join(f"{level} {count}" for level, count in summary.levels.items())
    note = (
        f"Mean over layers, heads, the tokens of each part and {summary.questions} questions ({levels}), the same for "
        "every run. text: the words of the prompt; own: what was written before. Intervals (95 %) draw whole videos "
        "with replacement."
    )
    if other := [f"{name} {count}" for name, count in summary.retokenised.items() if count]:
        note += f" Answers whose tokens are not known to be those that were generated: {', '.join(other)}."
    if blind := [f"{name} {count}" for name, count in summary.unseen.items() if count]:
        note += f" Answers to questions of which nothing was shown: {', '.join(blind)}."
    return TextTable("Where the attention goes, %", ("", *MEDIA), rows, note)


def _by_layer(summary: AttentionSummary, medium: str) -> TextTable:
    rows = [
        (str(layer), *(_cell(summary, name, Figure("share", "all", medium, layer), 100, 1) for name in summary.runs))
        for layer in summary.layers
    ]
    shown = any((name, Figure("share", "all", medium)) in summary.figures for name in summary.runs)
    return TextTable(
        f"Attention on the {medium} by layer, %", ("layer", *summary.runs), tuple(rows if shown else ()), "As above."
    )


def _density(summary: AttentionSummary) -> TextTable:
    rows = _by_span(
        summary, [(Figure("entropy", "all"), 1, 3), (Figure("half", "all"), 100, 1), (Figure("sinks", "all"), 100, 1)]
    )
    sinks = ", ".join(f"{name} {100 * share:.1f}" for name, share in summary.sinks.items())
    note = (
        "Of a token's attention over the visual tokens. entropy: 1 is spread evenly, 0 one token alone. half: % of the "
        "visual tokens that hold half of it. sinks: % of it on tokens flagged as sinks, which are so many % of the "
        f"visual tokens: {sinks}."
    )
    return TextTable("How dense the maps are", ("", "entropy", "half", "sinks"), rows, note)


def _effects(summary: AttentionSummary, reasoning: bool) -> TextTable:
    kinds: tuple[Kind, ...] = (
        ("reasoning_top", "reasoning_random", "reasoning_effect") if reasoning else ("top", "random", "effect")
    )
    rows = [
        (
            f"{name}, {SPAN_NAMES[span]}, {100 * fraction:g} %",
            *(_cell(summary, name, Figure(kind, span, fraction=fraction), 1, 3) for kind in kinds),
        )
        for name in summary.runs
        for span in summary.spans
        for fraction in summary.fractions
        if (name, Figure(kinds[-1], span, fraction=fraction)) in summary.figures
    ]
    note = (
        "Change in nats when the visual tokens that the named part attends to most are painted over with the mean "
        "colour (top), and as many random ones. Below 0 in top - random: what is attended to matters more than others."
    )
    if lacking := {
        name: summary.questions - _scored(summary, name, kinds[-1])
        for name in summary.runs
        if _scored(summary, name, kinds[-1]) < summary.questions
    }:
        what = "reasoning before an answer letter" if reasoning else "answer letter to score"
        note += f" Questions without {what}: {', '.join(f'{name} {count}' for name, count in lacking.items())}."
    what = "reasoning, summed over its tokens" if reasoning else "answer letter, after the reasoning that was written"
    return TextTable(
        f"What painting over does to the log-probability of the {what}", ("", *_EFFECT_COLUMNS), tuple(rows), note
    )


_EFFECT_COLUMNS = ("top", "random", "top - random")


def _differences(summary: AttentionSummary) -> list[TextTable]:
    tables = [
        _paired(
            summary, "Paired differences of shares, points", [(m, Figure("share", "all", m), 100, 1) for m in MEDIA]
        )
    ]
    density = [("entropy", Figure("entropy", "all"), 1, 3), ("half, points", Figure("half", "all"), 100, 1)]
    tables.append(_paired(summary, "Paired differences of density", density))
    for fraction in summary.fractions[-1:]:
        effects = [
            ("reasoning", Figure("reasoning_effect", "all", fraction=fraction), 1, 3),
            ("answer", Figure("effect", "all", fraction=fraction), 1, 3),
        ]
        title = f"Paired differences of top - random, {100 * fraction:g} % painted over, nats"
        tables.append(_paired(summary, title, effects))
    return tables


def _paired(summary: AttentionSummary, title: str, columns: Sequence[tuple[str, Figure, float, int]]) -> TextTable:
    """A row for each two runs and span; the spans of the figures are replaced."""
    pairs = dict.fromkeys((base, other) for base, other, _ in summary.differences)
    rows = [
        (
            f"{other} - {base}, {SPAN_NAMES[span]}",
            *(
                _estimate(summary.differences.get((base, other, figure._replace(span=span))), scale, digits, True)
                for _, figure, scale, digits in columns
            ),
        )
        for base, other in pairs
        for span in summary.spans
        if span != "all" and any((base, other, f._replace(span=span)) in summary.differences for _, f, _, _ in columns)
    ]
    note = "By question, intervals (95 %) as above; they are not corrected for their number."
    return TextTable(title, ("", *(name for name, *_ in columns)), tuple(rows), note)


def phrase_table(phrase: str, runs: Mapping[str, Sequence[AttentionRecord]], read: Read) -> TextTable:
    """Where the models look while they write `phrase`: means of every run, and its first answers."""
    rows: list[tuple[str, ...]] = []
    for name, records in runs.items():
        spoken = [(record, tokens) for record in records if (tokens := phrase_tokens(record, phrase))]
        if not spoken:
            rows.append((f"{name}: in no answer of {len(records)}", "", "", "", ""))
            continue
        shares = [_mean_shares(record, tokens) for record, tokens in spoken]
        cells = [f"{100 * share:.1f}" for share in np.mean(shares, axis=0)]
        rows.append((f"{name}: {len(spoken)} of {len(records)} answers", *cells, "", ""))
        for (record, tokens), share in list(zip(spoken, shares, strict=True))[:PHRASES_SHOWN]:
            pairs = _top_pairs(record, tokens, *read(name, record))
            rows.append((f"  {record.level} {record.sample_id}", *(f"{100 * part:.1f}" for part in share), *pairs))
    note = (
        "Attention on video and image in %, mean over layers, heads and the phrase's tokens. A map belongs to a PAIR "
        "of frames: pair 1 is frames 1 and 2, and a visual token cannot tell them apart. raw: the pairs (image: the "
        "current observation) with most attention, % of all visual attention. relative: those with most attention "
        "compared with that under a general prompt, mean ratio over their tokens. "
        f"The first {PHRASES_SHOWN} answers of each run are listed."
    )
    header = ("", *_SEEN, "pairs, raw %", "pairs, relative")
    return TextTable(f'While writing "{phrase}"', header, tuple(rows), note)


_SEEN = MEDIA[:2]


def _mean_shares(record: AttentionRecord, tokens: Sequence[int]) -> list[float]:
    values = [[[getattr(of_layer[n], medium) for medium in _SEEN] for n in tokens] for of_layer in record.shares]
    return np.mean(values, axis=(0, 1)).tolist()


def _top_pairs(
    record: AttentionRecord, tokens: Sequence[int], tokens_NV: np.ndarray, general_V: np.ndarray
) -> tuple[str, str]:
    map_V = mean_map(tokens_NV, tokens)
    if map_V is None or not map_V.sum():
        return "-", "-"
    pairs, rows, columns = record.video_grid or (0, 0, 0)
    places = [(str(pair + 1), slice(pair * rows * columns, (pair + 1) * rows * columns)) for pair in range(pairs)]
    places += [("image", slice(pairs * rows * columns, None))] if record.image_grid else []
    relative_V = relative_map(map_V, general_V)
    raw = [(name, 100 * map_V[part].sum() / map_V.sum()) for name, part in places]
    relative = [(name, relative_V[part].mean()) for name, part in places]
    return _largest(raw, "{:.0f}"), _largest(relative, "{:.2f}")


def _largest(values: Iterable[tuple[str, float]], form: str) -> str:
    most = sorted(values, key=lambda item: -item[1])[:PAIRS_SHOWN]
    return ", ".join(f"{name}: {form.format(value)}" for name, value in most)


def _by_span(summary: AttentionSummary, figures: Sequence[tuple[Figure, float, int]]) -> tuple[tuple[str, ...], ...]:
    """A row for each run and span; the spans of `figures` are replaced."""
    return tuple(
        (
            f"{name}, {SPAN_NAMES[span]}",
            *(_cell(summary, name, figure._replace(span=span), scale, digits) for figure, scale, digits in figures),
        )
        for name in summary.runs
        for span in summary.spans
        if any((name, figure._replace(span=span)) in summary.figures for figure, _, _ in figures)
    )


def _scored(summary: AttentionSummary, name: str, kind: Kind) -> int:
    """Questions with this effect, of the span that most have."""
    found = [e.questions for (run, figure), e in summary.figures.items() if run == name and figure.kind == kind]
    return max(found, default=0)


def _cell(summary: AttentionSummary, name: str, figure: Figure, scale: float, digits: int) -> str:
    return _estimate(summary.figures.get((name, figure)), scale, digits, figure.kind not in ("share", *_UNSIGNED))


_UNSIGNED: tuple[Kind, ...] = ("entropy", "half", "sinks")


def _estimate(estimate: Estimate | None, scale: float, digits: int, signed: bool) -> str:
    if estimate is None:
        return "-"
    sign = "+" if signed else ""
    if estimate.interval is None:
        return f"{scale * estimate.mean:{sign}.{digits}f} (too few)"
    low, high = (scale * limit for limit in (estimate.interval.low, estimate.interval.high))
    return f"{scale * estimate.mean:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"

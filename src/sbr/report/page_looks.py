"""Where the models look while they write, and whether it matters: means over many answers."""

from __future__ import annotations

from collections.abc import Callable

from sbr.analysis.attention_sample import has_attention, summarize_attention
from sbr.analysis.attention_shares import MEDIA, AttentionSummary, Figure
from sbr.analysis.attention_spans import Span
from sbr.analysis.bootstrap import Estimate
from sbr.report.page_data import Bar, Bars, Curve, Fraction, Line, PageTable, Section
from sbr.report.page_inputs import PageRuns
from sbr.report.tables import p_cell

_SPANS: dict[Span, str] = {"all": "all tokens", "think": "reasoning", "answer": "answer"}


def looks_section(runs: PageRuns) -> Section | None:
    """Of the runs that `sbr analyze attention` has looked at; None when there are none.

    Raises DataError when they have no question in common.
    """
    looked = [run for run in runs.asked if has_attention(run)]
    if not looked:
        return None
    summary = summarize_attention(looked)
    counts = ", ".join(f"{count} of {level}" for level, count in summary.levels.items())
    intro = (
        f"Attention of generated tokens on what stands before them, on the same {summary.questions} questions "
        f"({counts}). A map belongs to a pair of frames. Attention alone does not say what the answer rests on; the effects "
        "below do."
    )
    if missing := [run.name for run in runs.asked if run not in looked]:
        intro += f" Not looked at: {', '.join(missing)}."
    if other := {name: count for name, count in summary.retokenised.items() if count}:
        listed = ", ".join(f"{count} of {name}" for name, count in other.items())
        intro += f" Answers whose tokens may not be those that were generated: {listed}."
    return Section(
        "attention",
        "Where they look",
        intro,
        curves=tuple(_by_layer(summary, medium) for medium in ("video", "image")) if len(summary.layers) > 1 else (),
        bars=tuple(bars for bars in _bars(summary) if bars.bars),
        tables=tuple(table for table in (_differences(summary),) if table.rows),
    )


def _bars(summary: AttentionSummary) -> list[Bars]:
    found = [
        _figures(
            summary,
            f"Share of attention on the {medium}" if medium != "own" else "Share of attention on what it wrote before",
            "Mean over layers, heads and the tokens of the reasoning or of the answer.",
            "%",
            {name: (lambda span, medium=medium: Figure("share", span, medium)) for name in summary.runs},
        )
        for medium in MEDIA
    ]
    found.append(
        _figures(
            summary,
            "How widely the visual attention spreads",
            "Entropy of a token's map in units of its largest value: 100 % is even, 0 % is one visual token alone.",
            "%",
            {name: (lambda span: Figure("entropy", span)) for name in summary.runs},
        )
    )
    found.append(
        _figures(
            summary,
            "Share of the visual tokens that holds half of the attention",
            "Small: the model looks at few places; large: it looks densely.",
            "%",
            {name: (lambda span: Figure("half", span)) for name in summary.runs},
        )
    )
    found += [_effects(summary, fraction) for fraction in summary.fractions]
    return found


def _figures(
    summary: AttentionSummary, title: str, about: str, unit: str, figures: dict[str, Callable[[Span], Figure]]
) -> Bars:
    bars = [
        Bar(name, _SPANS[span], _fraction(estimate))
        for name, figure in figures.items()
        for span in summary.spans
        if span != "all" and (estimate := summary.figures.get((name, figure(span)))) is not None
    ]
    return Bars(title, about, unit, tuple(bars))


def _effects(summary: AttentionSummary, fraction: float) -> Bars:
    bars = [
        Bar(name, f"{_SPANS[span]}: {kind}", _fraction(estimate))
        for name in summary.runs
        for span in summary.spans
        for kind, figure in (
            ("most attended", Figure("top", span, fraction=fraction)),
            ("random", Figure("random", span, fraction=fraction)),
        )
        if (estimate := summary.figures.get((name, figure))) is not None
    ]
    return Bars(
        f"What the answer loses without {100 * fraction:g} % of the visual tokens",
        "Change of the answer's log-probability when the visual tokens that the reasoning (or the answer) attends to "
        "most are painted over with the mean colour, beside as many random ones; below 0 the answer gets less likely.",
        "nats",
        tuple(bars),
        reference=0.0,
    )


def _by_layer(summary: AttentionSummary, medium: str) -> Curve:
    lines: list[Line] = []
    for name in summary.runs:
        found = [summary.figures.get((name, Figure("share", "all", medium, layer))) for layer in summary.layers]
        limits = [estimate.interval for estimate in found if estimate and estimate.interval]
        whole = len(limits) == len(found)
        lines.append(
            Line(
                name,
                summary.layers,
                tuple(None if estimate is None else round(estimate.mean, 5) for estimate in found),
                low=tuple(round(interval.low, 5) for interval in limits) if whole else None,
                high=tuple(round(interval.high, 5) for interval in limits) if whole else None,
            )
        )
    about = f"Share of the attention of all generated tokens on the {medium}, layer by layer, with 95 % intervals."
    return Curve(f"Attention on the {medium} by layer", "%", about, tuple(lines))


def _differences(summary: AttentionSummary) -> PageTable:
    named = {
        **{Figure("share", span, medium): f"share on {medium}, {_SPANS[span]}" for span in _SPANS for medium in MEDIA},
        **{Figure("entropy", span): f"spread (entropy), {_SPANS[span]}" for span in _SPANS},
        **{Figure("half", span): f"tokens that hold half, {_SPANS[span]}" for span in _SPANS},
    }
    pairs = list(dict.fromkeys((base, other) for base, other, _ in summary.differences))
    rows = [
        (words, *(_difference(summary.differences.get((*pair, figure))) for pair in pairs))
        for figure, words in named.items()
        if any((*pair, figure) in summary.differences for pair in pairs)
    ]
    note = (
        "In percentage points, paired by question, with 95 % intervals that resample whole videos, and p-values, which "
        "are not corrected for the number of rows."
    )
    header = ("", *(f"{other} against {base}" for base, other in pairs))
    return PageTable("Differences of where they look", header, tuple(rows), note)


def _difference(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    limits = estimate.interval
    text = f"{100 * estimate.mean:+.2f}"
    if limits is not None:
        text += f" [{100 * limits.low:+.2f}, {100 * limits.high:+.2f}]"
    return text if estimate.p_value is None else f"{text} p {p_cell(estimate.p_value)}"


def _fraction(estimate: Estimate) -> Fraction:
    limits = estimate.interval
    return Fraction(
        round(estimate.mean, 5),
        None if limits is None else round(limits.low, 5),
        None if limits is None else round(limits.high, 5),
        estimate.questions,
    )

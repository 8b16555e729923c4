"""Where the models look while they write, and whether it matters: means over many answers."""

from __future__ import annotations

from sbr.analysis.attention_sample import has_attention, summarize_attention
from sbr.analysis.attention_shares import MEDIA, AttentionSummary, Figure, Kind
from sbr.analysis.bootstrap import Estimate
from sbr.report.attention_tables import SPAN_NAMES, attention_tables
from sbr.report.page.data import Bar, Bars, Curve, Fraction, Line, Section
from sbr.report.page.inputs import PageRuns
from sbr.report.page.tables import page_table

_MEDIA = {"video": "the video", "image": "the image", "text": "the words of the prompt", "own": "what it wrote before"}


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
        f"({counts}). A map belongs to a pair of frames. Attention alone does not say what the answer rests on; the "
        "effects below do."
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
        tables=tuple(map(page_table, attention_tables(summary))),
    )


def _bars(summary: AttentionSummary) -> list[Bars]:
    shares = [
        _by_span(
            summary,
            f"Share of attention on {_MEDIA[medium]}",
            "Mean over layers, heads and the tokens of the reasoning or of the answer.",
            "%",
            Figure("share", "all", medium),
        )
        for medium in MEDIA
    ]
    density = [
        _by_span(
            summary,
            "How widely the visual attention spreads",
            "Entropy of a token's map in units of its largest value: 100 % is even, 0 % is one visual token alone.",
            "%",
            Figure("entropy", "all"),
        ),
        _by_span(
            summary,
            "Visual tokens that hold half of the attention",
            "Their share of all visual tokens: small where a model looks at few places, large where it looks densely.",
            "%",
            Figure("half", "all"),
        ),
    ]
    letter = [_effects(summary, fraction, "top", "random", "answer letter") for fraction in summary.fractions]
    reasoning = [
        _effects(summary, fraction, "reasoning_top", "reasoning_random", "reasoning") for fraction in summary.fractions
    ]
    return [*shares, *density, *letter, *reasoning]


def _by_span(summary: AttentionSummary, title: str, about: str, unit: str, figure: Figure) -> Bars:
    bars = [
        Bar(name, SPAN_NAMES[span], _fraction(estimate))
        for name in summary.runs
        for span in summary.spans
        if span != "all" and (estimate := summary.figures.get((name, figure._replace(span=span)))) is not None
    ]
    return Bars(title, about, unit, tuple(bars))


def _effects(summary: AttentionSummary, fraction: float, top: Kind, random: Kind, what: str) -> Bars:
    """Random tokens are the same whatever span ranks the others, so they are one bar a run."""
    bars: list[Bar] = []
    for name in summary.runs:
        found = {
            f"most attended: {SPAN_NAMES[span]}": summary.figures.get((name, Figure(top, span, fraction=fraction)))
            for span in summary.spans
        }
        drawn = [summary.figures.get((name, Figure(random, span, fraction=fraction))) for span in summary.spans]
        found["random"] = next((estimate for estimate in drawn if estimate is not None), None)
        bars += [Bar(name, words, _fraction(estimate)) for words, estimate in found.items() if estimate is not None]
    return Bars(
        f"What the {what} loses without {100 * fraction:g} % of the visual tokens",
        f"Change of the log-probability of the {what} when the visual tokens that are attended to most are painted "
        "over with the mean colour, beside as many random ones. Below 0 it gets less likely.",
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


def _fraction(estimate: Estimate) -> Fraction:
    limits = estimate.interval
    return Fraction(
        round(estimate.mean, 5),
        None if limits is None else round(limits.low, 5),
        None if limits is None else round(limits.high, 5),
        estimate.questions,
    )

"""What the runs show, one sentence for each two runs, and what they cannot show."""

from __future__ import annotations

from collections.abc import Sequence

from sbr.analysis.arms import arms_of
from sbr.report.page.data import Difference
from sbr.report.page.inputs import PageRuns
from sbr.report.page.results import is_supported
from sbr.report.page.study import study_limits
from sbr.report.tables import p_cell

_NO_BREAK = "\N{NO-BREAK SPACE}"
_FEW_VIDEOS = 30
"""Below so many the bootstrap over videos is too sure of itself (sbr.eval.stats)."""


def accuracy_findings(differences: Sequence[Difference]) -> tuple[str, ...]:
    """One sentence for each two runs: on which levels one is right more often, and where no difference is supported."""
    pairs = dict.fromkeys((difference.base, difference.other) for difference in differences)
    return tuple(_sentence([d for d in differences if (d.base, d.other) == pair]) for pair in pairs)


def findings_note(differences: Sequence[Difference]) -> str:
    """By what rule a difference is called supported."""
    tested = [difference for difference in differences if difference.p is not None]
    by_video = any(difference.video_low is not None for difference in differences)
    rule = "A difference is claimed where its 95 % interval leaves out 0"
    if by_video:
        rule = "A difference is claimed where neither 95 % interval (by question, with whole videos resampled) holds 0"
    if tested:
        rule += (
            f" and its exact McNemar p, corrected by Holm for the {len(tested)} comparisons that have one, is at most "
            "0.05; p is the corrected one"
        )
    if len(tested) < len(differences):
        rule += ". Several answers to a question have no exact test; their intervals decide"
    return f"{rule}. In percentage points [95 % interval by question]."


def _sentence(differences: Sequence[Difference]) -> str:
    """ "GRPO is right more often than base: L1 +47.7 [+41.2, +53.5]; no supported difference on L3 (..)." """
    base, other = differences[0].base, differences[0].other
    more = [d for d in differences if is_supported(d) and d.value > 0]
    less = [d for d in differences if is_supported(d) and d.value < 0]
    none = [d for d in differences if not is_supported(d)]
    parts: list[str] = []
    if more:
        parts.append(f"{other} is right more often than {base}: {_listed(more)}")
    if less:
        parts.append(f"{other} is right less often than {base}: {_listed(less)}")
    if none:
        levels = ", ".join(f"{d.level} ({_points(d)}{_p(d)})" for d in none)
        parts.append(f"no supported difference on {levels}" if parts else _none(base, other, levels))
    return "; ".join(parts) + "."


def _none(base: str, other: str, levels: str) -> str:
    return f"No supported difference between {other} and {base} on {levels}"


def _listed(differences: Sequence[Difference]) -> str:
    return ", ".join(f"{d.level}{_NO_BREAK}{_points(d)}" for d in differences)


def _points(difference: Difference) -> str:
    text = f"{100 * difference.value:+.1f}"
    if difference.low is not None and difference.high is not None:
        text += f" [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]".replace(" ", _NO_BREAK)
    return text


def _p(difference: Difference) -> str:
    """Why a difference is not claimed although its interval may leave out 0."""
    return "" if difference.p_holm is None else f", p{_NO_BREAK}{p_cell(difference.p_holm)}"


def consistency_findings(differences: Sequence[Difference]) -> tuple[str, ...]:
    """By rule: in which runs the reasoning ends at the answer more or less often than in the first."""
    found: list[str] = []
    for other in dict.fromkeys(difference.other for difference in differences):
        own = [difference for difference in differences if difference.other == other and is_supported(difference)]
        for word, some in (("less", [d for d in own if d.value < 0]), ("more", [d for d in own if d.value > 0])):
            if some:
                found.append(
                    f"The reasoning of {other} ends at its answer {word} often than that of {some[0].base}, by rule: "
                    f"{_listed(some)}."
                )
    return tuple(found)


def limits_of(runs: PageRuns, differences: Sequence[Difference]) -> tuple[str, ...]:
    """What these runs cannot tell, computed from them."""
    first = runs.asked[0]
    found = _training_limits(runs) if runs.study is None else [*study_limits(runs.study)]
    questions = {record.level: set[str]() for record in first.records}
    for record in first.records:
        questions[record.level].add(record.sample_id)
    counts = ", ".join(f"{len(ids)} of {level}" for level, ids in questions.items())
    found.append(f"The figures are about the questions in {first.recipe.data.root}: {counts}.")
    if first.recipe.eval.limit is not None:
        found.append(f"Only the first {first.recipe.eval.limit} questions of each level were asked (eval.limit).")
    videos = {d.level: d.videos for d in differences}
    few = {level: count for level, count in videos.items() if count is not None and count < _FEW_VIDEOS}
    if few and runs.study is None:
        listed = ", ".join(f"{count} in {level}" for level, count in few.items())
        found.append(f"Few videos ({listed}): intervals with whole videos resampled are too narrow.")
    if unknown := [level for level, count in videos.items() if count is None]:
        found.append(
            f"Not every answer names its video ({', '.join(unknown)}): questions of one video count as independent."
        )
    if first.recipe.eval.protocol == "greedy":
        found.append("Answers are greedy, one a question: how much sampled answers vary is not seen.")
    if other := [run.name for run in runs.asked if run.recipe.frames != first.recipe.frames]:
        found.append(
            f"{', '.join(other)} saw other pictures than {first.name} (frames); those of {first.name} are shown."
        )
    controls = {control.recipe.eval.control for name in runs.controls for control in runs.controls[name]}
    if not controls & {"blind", "no_video"}:
        found.append("No evaluation without media is among the runs: what part of a score is vision is not known.")
    found.append(
        "Consistency by rule knows only the options that a reasoning names by their words or letters; it cannot tell "
        "whether a reasoning is right."
    )
    return tuple(found)


def _training_limits(runs: PageRuns) -> list[str]:
    """What single evaluations say of seeds."""
    arms, found = arms_of(runs.trainings), list[str]()
    alone = [arm for arm in arms if len(arm.runs) == 1]
    if alone:
        found.append(
            f"Trained with one seed: {', '.join(arm.name for arm in alone)}. Intervals count questions, not seeds: "
            "another seed gives another model, and small differences between single trainings mean nothing."
        )
    if several := [arm for arm in arms if len(arm.runs) > 1]:
        found.append(
            f"Several seeds were trained ({', '.join(arm.name for arm in several)}), but each evaluation is of one "
            "model: the intervals of accuracies count questions, not seeds."
        )
    return found

"""Tables of cases: tags by model and level, flows of outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sbr.analysis.cases import Case
from sbr.analysis.flow import Flow
from sbr.analysis.tags import OF_PROGRESS, TAGS
from sbr.eval.summary import in_natural_order
from sbr.report.tables import TextTable, p_cell


def tag_table(cases: Sequence[Case], with_progress: bool) -> TextTable:
    """How many answers of each model have each tag, a block of rows a level; `cases` are all questions.

    `with_progress`: the tags that need what was narrated were given.
    """
    names = [answer.run for answer in cases[0].answers]
    rows: list[tuple[str, ...]] = []
    for level in in_natural_order({case.level for case in cases}):
        of_level = [case for case in cases if case.level == level]
        right = Counter(answer.run for case in of_level for answer in case.answers if answer.correct)
        rows.append((f"{level} right of {len(of_level)}", *(str(right[name]) for name in names)))
        found = Counter((tag, answer.run) for case in of_level for answer in case.answers for tag in answer.tags)
        for tag in TAGS:
            if any(found[tag, name] for name in names):
                rows.append((f"{level} {tag}", *(str(found[tag, name]) for name in names)))
    note = (
        "Answers with each tag, one answer a question; a tag that no answer of a level has is left out. fixed, broken: "
        "against the model one column to the left. done before, last step not named: among wrong answers, signs of a "
        "missed cue and no proof. The rules of all tags: docs/analysis.md."
    )
    if not with_progress:
        note += f" Without the questions these tags could not be given: {', '.join(OF_PROGRESS)}."
    if several := max((answer.right_of[1] for answer in cases[0].answers if answer.right_of), default=0):
        note += f" Of {several} answers of each model to each question the first is taken."
    return TextTable("What happened", ("", *names), tuple(rows), note)


def flow_table(flows: Sequence[Flow]) -> TextTable:
    """Right and wrong from model to model, with McNemar's p."""
    rows = [
        (
            f"{flow.level} {flow.base} -> {flow.other}",
            *map(str, (flow.right_right, flow.right_wrong, flow.wrong_right, flow.wrong_wrong)),
            p_cell(flow.p_value),
        )
        for flow in flows
    ]
    note = (
        "Questions, one answer each. p: exact McNemar test that as many were fixed as broken; not corrected for the "
        "number of rows. Questions count as independent; `sbr compare` also resamples whole videos."
    )
    header = ("", "right -> right", "right -> wrong", "wrong -> right", "wrong -> wrong", "p")
    return TextTable("From model to model", header, tuple(rows), note)


def chain_table(cases: Sequence[Case]) -> TextTable:
    """How often each chain of outcomes over all models occurs, by level, the frequent first."""
    levels = in_natural_order({case.level for case in cases})
    found = Counter((case.flow, case.level) for case in cases)
    chains = sorted(Counter(case.flow for case in cases).items(), key=lambda pair: (-pair[1], pair[0]))
    rows = [(flow, *(str(found[flow, level]) for level in levels), str(total)) for flow, total in chains]
    names = ", ".join(answer.run for answer in cases[0].answers)
    note = f"Questions; 1 right, 0 wrong, in the order {names}. --flow shows the questions of one chain."
    return TextTable("Chains of outcomes", ("", *levels, "all"), tuple(rows), note)

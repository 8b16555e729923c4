"""Runs -> the page: PageData with as many cases as fit into the file."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import islice

from sbr.analysis.evaluated import EvaluatedRun
from sbr.errors import ConfigError
from sbr.report.page.attention import attended_runs, fits
from sbr.report.page.cards import cards_of, lead_of, made_of
from sbr.report.page.cases import Chosen, Questions, chosen_cases
from sbr.report.page.consistency import by_rule, rule_differences
from sbr.report.page.data import PageCase, PageData, PageFrames
from sbr.report.page.findings import accuracy_findings, consistency_findings, findings_note, limits_of
from sbr.report.page.frames import page_frames, size_factor
from sbr.report.page.inputs import PageRuns
from sbr.report.page.render import render
from sbr.report.page.results import comparisons_of, corrected, differences_of, results_of
from sbr.report.page.sections import sections_of
from sbr.report.page.study import (
    COUNTED,
    shown_words,
    study_differences,
    study_findings_note,
    study_lead,
    study_results,
)

Watcher = Callable[[int, int], None]
"""Told after every case: how many are done, of how many."""


@dataclass(frozen=True, slots=True)
class PageOptions:
    title: str
    cases: int = 200
    """At most."""
    most_bytes: int = 15_000_000
    """Of the file; fewer cases are shown where they do not fit."""
    frames: bool = True
    """Show the pictures; without them the data need not be there."""


@dataclass(frozen=True, slots=True)
class Page:
    content: str
    data: PageData
    questions: int
    """Of which the cases were chosen."""
    attended: int
    """Cases with the attention of at least one run."""
    left_out: tuple[str, ...]
    """Sections without content, and what would fill them."""


def make_page(runs: PageRuns, options: PageOptions, watcher: Watcher | None = None) -> Page:
    """The file and what is in it.

    Raises DataError when the runs did not answer the same questions, or the data is not what was asked; MediaError for
    pictures that cannot be read; ConfigError when the page does not fit even without cases.
    """
    ruled = {run.name: by_rule(run.records) for run in runs.asked}
    if (shown := runs.study) is None:
        accuracies = differences_of(comparisons_of(runs.asked))  # refuses what cannot be compared
        differences, reasoning = corrected(accuracies, rule_differences(ruled))
        columns, results, results_note = results_of(runs.asked)
        note = findings_note((*differences, *reasoning)) if differences else ""
    else:  # answers of one seed an arm support no finding about arms
        differences, reasoning = study_differences(shown.study), ()
        columns, results, results_note = study_results(shown)
        note = study_findings_note(shown.study) if differences else ""
    first = runs.asked[0]
    questions = questions_of(first, options.frames)
    sections = sections_of(runs, ruled)
    data = PageData(
        title=options.title,
        made=made_of(),
        lead=lead_of(runs) if shown is None else study_lead(shown),
        runs=cards_of(runs),
        levels=tuple(dict.fromkeys(record.level for record in first.records)),
        columns=columns,
        results=results,
        results_note=results_note,
        differences=differences,
        findings=(*accuracy_findings(differences), *consistency_findings(reasoning)),
        limits=limits_of(runs, differences),
        sections=sections.shown,
        cases=(),
        cases_note="",
        tags=(),
        findings_note=note,
        counted=COUNTED if shown is not None else "questions",
    )
    room = options.most_bytes - _size(render(data))
    if room < 0:
        raise ConfigError(
            f"the page takes {(options.most_bytes - room) / 1e6:.1f} MB without any case; --max-mb allows "
            f"{options.most_bytes / 1e6:g}"
        )
    made = _cases(runs, questions, options, room, watcher)
    if shown is not None:
        made = replace(made, notes=(shown_words(shown), *made.notes))
    content, data = _fitted(data, made, room, options)
    attention = sum(any(answer.attention for answer in case.answers) for case in data.cases)
    return Page(content, data, made.total, attention, sections.left_out)


def questions_of(run: EvaluatedRun, needed: bool) -> Questions | None:
    """The questions of the data root; None when it is not there and not `needed`, as it is for pictures."""
    return run.questions() if needed or run.recipe.data.root.is_dir() else None


@dataclass(frozen=True, slots=True)
class _Made:
    cases: tuple[PageCase, ...]
    total: int
    wanted: int
    notes: tuple[str, ...]


def _cases(
    runs: PageRuns, questions: Questions | None, options: PageOptions, room: int, watcher: Watcher | None
) -> _Made:
    """The first cases by interest; no more are made when they fill `room` bytes."""
    first, attended = runs.asked[0], attended_runs(runs.asked)
    chosen = list(islice(chosen_cases(runs.asked, attended, questions), options.cases))
    made: list[PageCase] = []
    unfit = used = 0
    with closing(_with_frames(chosen, first, options.frames)) as cases:
        for case, frames in cases:
            answers = case.page.answers
            if frames is not None:
                strange = [a.attention is not None and not fits(a.attention, frames) for a in answers]
                answers = tuple(replace(a, attention=None) if s else a for a, s in zip(answers, strange, strict=True))
                unfit += sum(strange)
            made.append(replace(case.page, frames=frames, answers=answers))
            used += _least_bytes(made[-1])
            if watcher is not None:
                watcher(len(made), len(chosen))
            if used > room:
                break
    notes: list[str] = []
    if options.frames:
        shape = next((case.frames for case in made if case.frames is not None), None)
        if shape is not None:
            notes.append(f"The pictures are those that {first.name} saw, {shape.width} x {shape.height} pixels each.")
        if size_factor(first) is None:
            notes.append(
                f"The files of the model {first.recipe.model.path} are not here: the pictures have multiples of 28 "
                "pixels, as Qwen2-VL takes them."
            )
    elif questions is None:
        notes.append(f"The data in {first.recipe.data.root} were not there: instead of the question stands the prompt.")
    if unfit:
        notes.append(f"{unfit} maps of attention are left out: they belong to frames of another size or number.")
    total = len({(record.level, record.sample_id) for record in first.records})
    return _Made(tuple(made), total, min(total, options.cases), tuple(notes))


def _with_frames(
    chosen: Sequence[Chosen], run: EvaluatedRun, shown: bool
) -> Generator[tuple[Chosen, PageFrames | None]]:
    if not shown:
        yield from ((case, None) for case in chosen)
        return
    samples = [case.sample for case in chosen if case.sample is not None]
    yield from zip(chosen, page_frames(samples, run), strict=True)


def _fitted(data: PageData, made: _Made, room: int, options: PageOptions) -> tuple[str, PageData]:
    """The page with the most of the cases that fit, and its data."""
    count = len(made.cases)
    while True:
        shown = _with_cases(data, made, count, options)
        content = render(shown)
        over = _size(content) - options.most_bytes
        if over <= 0 or count == 0:
            return content, shown
        # All but what the excess takes on average, and one less where that is nothing.
        count = min(count - 1, int(count * room / (room + over)))


def _with_cases(data: PageData, made: _Made, count: int, options: PageOptions) -> PageData:
    cases = made.cases[:count]
    tags = dict.fromkeys(tag for case in cases for answer in case.answers for tag in answer.tags)
    return replace(data, cases=cases, cases_note=_note(count, made, options), tags=tuple(tags))


def _note(count: int, made: _Made, options: PageOptions) -> str:
    if count == made.total:
        start = f"All {made.total} questions, the most interesting first."
    elif count == made.wanted:
        start = f"{count} of {made.total} questions: the most interesting ones, levels in turns."
    else:
        start = (
            f"{count} of {made.total} questions: the most interesting ones, levels in turns, as many as fit into "
            f"{options.most_bytes / 1e6:g} MB ({made.wanted} were asked for)."
        )
    return " ".join([start, *made.notes])


def _least_bytes(case: PageCase) -> int:
    """What a case takes in the file at least: its picture, and its maps, which are compressed."""
    maps = [answer.attention for answer in case.answers if answer.attention is not None]
    packed = gzip.compress(json.dumps([asdict(attention) for attention in maps]).encode()) if maps else b""
    return (0 if case.frames is None else len(case.frames.sprite)) + len(base64.b64encode(packed))


def _size(content: str) -> int:
    return len(content.encode())

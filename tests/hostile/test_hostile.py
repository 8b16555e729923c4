"""Whatever is wrong with the input, every verb answers with one message that names the culprit, and changes nothing."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
from cases import Case
from cases_annotations import CASES as ANNOTATIONS
from cases_asking import CASES as ASKING
from cases_attention import CASES as ATTENTION
from cases_consistency import CASES as CONSISTENCY
from cases_curves import CASES as CURVES
from cases_data import CASES as DATA
from cases_evaluated import CASES as EVALUATED
from cases_folders import CASES as FOLDERS
from cases_models import CASES as MODELS
from cases_outcomes import CASES as OUTCOMES
from cases_published import CASES as PUBLISHED
from cases_recipes import CASES as RECIPES
from cases_report import CASES as REPORT
from cases_study import CASES as STUDY
from cases_words import CASES as WORDS
from house import Place, tree

from sbr.cli.console import has_control
from sbr.cli.main import run

GROUPS = {
    **{"words": WORDS, "evaluated": EVALUATED, "recipes": RECIPES, "annotations": ANNOTATIONS},
    **{"data": DATA, "folders": FOLDERS, "models": MODELS, "asking": ASKING},
    **{"attention": ATTENTION, "consistency": CONSISTENCY, "outcomes": OUTCOMES, "curves": CURVES, "report": REPORT},
    "published": PUBLISHED,
    "study": STUDY,
}
CASES = {f"{group}, {case.name}": case for group, cases in GROUPS.items() for case in cases}


LONGEST = 60
"""Seconds; on an idle machine no case takes more than a few."""


def test_names_are_unique_and_many() -> None:
    assert len(CASES) == sum(map(len, GROUPS.values())) >= 150


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_message_and_nothing_changed(case: Case, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    argv = case.make(place)
    before = tree(place.path)
    capsys.readouterr()
    with ends_within(LONGEST), case.around() if case.around else nullcontext():
        try:
            status = run(argv)
        except SystemExit as stop:  # tyro's way to refuse, and status 1 of `sbr data check`
            status = stop.code
    after = tree(place.path)
    printed = capsys.readouterr()
    assert not has_control(printed.out + printed.err)
    message = " ".join(re.sub("[╭╮╰╯│─]+", " ", printed.err).split())
    assert status == case.status, message
    assert "Traceback" not in message
    for words in case.words:
        assert words in (message if case.status == 2 else " ".join(printed.out.split())), printed.out + printed.err
    if case.status == 2:
        assert messages(message) == 1, message
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert not {name for name in changed if not f"{name}/".startswith(tuple(f"{path}/" for path in case.may_change))}


@contextmanager
def ends_within(seconds: int) -> Iterator[None]:
    """Input that is never refused, such as a pipe that is waited for, ends the case instead of the suite."""

    def stop(*_: object) -> None:
        pytest.fail(f"not refused within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def messages(text: str) -> int:
    """How many errors `text` tells of: ours, and those of the parser of the command line, which end with advice."""
    return len(re.findall(r"(?:^| )error: |For full helptext", text))

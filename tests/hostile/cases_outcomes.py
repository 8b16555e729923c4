"""`sbr analyze cases`: words, evaluations that do not fit together, data that are not theirs, files to write."""

from __future__ import annotations

import json
from collections.abc import Callable

from cases import Case, words
from full_disk import full_disk
from house import Place

from sbr.types import LETTERS

RECORDS = "b/records.jsonl"


def asked(name: str, argv: str, *expected: str, prepare: Callable[[Place], object] = lambda _: None) -> Case:
    """The equal evaluations a and b with their data, after `prepare`."""

    def make(place: Place) -> list[str]:
        for folder in ("a", "b"):
            place.copy("eval", folder)
        place.copy("data")
        prepare(place)
        return ["analyze", "cases", *argv.split()]

    return Case(f"cases: {name}", make, expected)


def every(**values: object) -> Callable[[Place], object]:
    """Other values in all records of b."""
    return lambda place: place.write_lines(RECORDS, [line | values for line in place.lines(RECORDS)])


def fewer(place: Place) -> None:
    place.write_lines(RECORDS, place.lines(RECORDS)[:-1])


def rotated(place: Place) -> None:
    """b was asked with its options in every order."""
    lines = place.lines(RECORDS)
    turned = [line | {"rotation": by} for line in lines for by in range(len(line["options"]))]
    place.write_lines(RECORDS, turned)


def half_rotated(place: Place) -> None:
    """a and b lack the last order of the last question."""
    rotated(place)
    lines = place.lines(RECORDS)[:-1]
    for folder in ("a", "b"):
        place.write_lines(f"{folder}/records.jsonl", lines)


def other_gold(place: Place) -> None:
    """In a and b alike, so that they fit together and not to the data."""
    lines = place.lines(RECORDS)
    gold = next(letter for letter in LETTERS if letter not in (lines[0]["gold"], lines[0]["extracted"]))
    lines[0] |= {"gold": gold, "correct": False}
    for folder in ("a", "b"):
        place.write_lines(f"{folder}/records.jsonl", lines)


def some_tag(place: Place) -> None:
    """The first answers differ, so that there is a case to write."""
    lines = place.lines(RECORDS)
    letter = lines[0]["gold"]
    response = f"<think>so</think><answer>{letter}</answer>"
    place.write_lines(RECORDS, [lines[0] | {"response": response, "extracted": letter, "correct": True}, *lines[1:]])


def with_out(content: str | bytes) -> Callable[[Place], object]:
    return lambda place: (some_tag(place), place.write("out.jsonl", content))


CASES: tuple[Case, ...] = (
    words("cases: nothing", "analyze cases", "needs two or more evaluations"),
    words("cases: one evaluation", "analyze cases a", "needs two or more evaluations"),
    words("cases: nowhere", "analyze cases nowhere gone", "nowhere"),
    words("cases: names", "analyze cases a b --names x", "give 2 different name(s)"),
    words("cases: same names", "analyze cases a b --names x x", "give 2 different name(s)"),
    words("cases: one evaluation twice", "analyze cases a a", "give 2 different name(s)"),
    words("cases: a limit below 0", "analyze cases a b --limit -1", "--limit is -1"),
    words("cases: words for a limit", "analyze cases a b --limit all", "--limit", "all"),
    words("cases: unknown tag", "analyze cases a b --tag lucky", "--tag is 'lucky'", "fixed, broken"),
    words("cases: a flow of one", "analyze cases a b --flow 1", "--flow is '1', expected 2 digits"),
    words("cases: a flow of three", "analyze cases a b --flow 101", "--flow is '101', expected 2 digits"),
    words("cases: a flow of words", "analyze cases a b --flow 1x", "--flow is '1x'"),
    words("cases: a flow of other digits", "analyze cases a b --flow 1\u0661", "--flow is", "expected 2 digits"),
    asked("unknown level", "a b --level L9", "--level is 'L9'", "L1, L2, L3"),
    Case(
        "cases: a tag of questions that are not read",
        lambda _: ["analyze", "cases", "a", "b", "--records-only", "--tag", "done before"],
        ("needs the narrated actions",),
    ),
    asked("fewer questions", "a b", "the question sets differ", prepare=fewer),
    asked("other questions", "a b", "the question sets differ", prepare=every(level="L9")),
    asked("other options", "a b", "has the options", prepare=every(options=["\x9b31m", "b", "c", "d"])),
    asked("another rule", "a b", "scored by different rules", prepare=every(rule="care")),
    asked("a control", "a b", "were not shown the same", "none and blind", prepare=every(control="blind")),
    asked("rotations against none", "a b", "the question sets differ", prepare=rotated),
    asked("a rotation is missing", "a b", "expected 4 rotations", prepare=half_rotated),
    asked("a training run", "a g", "g/records.jsonl", prepare=lambda p: p.copy("grpo", "g")),
    asked("a device", "a /dev/zero", "/dev/zero"),
    asked("files without their questions", "a/records.jsonl b/records.jsonl", "--records-only"),
    asked("no data", "a b --data nowhere", "nowhere", "--records-only does without"),
    asked("data that are a file", f"a b --data {RECORDS}", RECORDS),
    asked("another right letter", "a b", "another right letter", prepare=other_gold),
    asked("a recipe that is a list", "a b", "a/recipe.json", prepare=lambda p: p.write("a/recipe.json", "[]")),
    asked("out is the records", f"a b --out {RECORDS}", RECORDS, "left as it is", prepare=some_tag),
    asked("out is a note", "a b --out out.jsonl", "out.jsonl", "left as it is", prepare=with_out("my notes\n")),
    asked("out is JSON", "a b --out out.jsonl", "left as it is", prepare=with_out(json.dumps({"id": 1}))),
    asked("out is a folder", "a b --out data", "data is a folder"),
    asked("out is a device", "a b --out /dev/full", "/dev/full is no ordinary file"),
    asked("out in /proc", "a b --out /proc/cases.jsonl", "/proc/cases.jsonl", prepare=some_tag),
    asked("out below a file", f"a b --out {RECORDS}/c.jsonl", RECORDS, prepare=some_tag),
    asked("out is a loop", "a b --out l", "l is no ordinary file", prepare=lambda p: p.link("l", "l")),
    Case(
        "cases: disk full",
        lambda place: asked("", "a b --out out.jsonl", prepare=some_tag).make(place),
        ("out.jsonl", "File too large"),
        around=full_disk,
    ),
)

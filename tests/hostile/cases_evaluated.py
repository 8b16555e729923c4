"""Finished evaluations that were changed, are none, or are more than they seem, for all that read them."""

from __future__ import annotations

from collections.abc import Callable

from cases import Case
from full_disk import full_disk
from house import Place

READERS: dict[str, list[str]] = {
    "compare": ["compare", "a", "b"],
    "controls": ["controls", "b"],
    "score": ["score", "b", "--rule", "care", "--out", "out.jsonl"],
    "reasoning": ["mini", "reasoning", "b"],
    "report": ["report", "b", "-o", "page.html"],
    "consistency": ["analyze", "consistency", "b"],
    "cases": ["analyze", "cases", "a", "b"],
}
"""Every verb that reads the evaluation b."""

RECORDS = "b/records.jsonl"


def two(place: Place) -> Place:
    """The evaluations a and b, equal."""
    place.copy("eval", "a")
    place.copy("eval", "b")
    return place


def damaged(name: str, damage: Callable[[Place], object], *expected: str) -> list[Case]:
    """The same damage to b for every verb that reads it."""

    def make(argv: list[str]) -> Callable[[Place], list[str]]:
        def prepare(place: Place) -> list[str]:
            damage(two(place))
            return argv

        return prepare

    return [Case(f"{verb}: {name}", make(argv), expected) for verb, argv in READERS.items()]


def with_record(number: int = 0, **values: object) -> Callable[[Place], object]:
    """b with other values in one record; `...` takes a key away."""

    def change(place: Place) -> None:
        lines = place.lines(RECORDS)
        lines[number] |= values
        lines[number] = {key: value for key, value in lines[number].items() if value is not ...}
        place.write_lines(RECORDS, lines)

    return change


def flipped(place: Place) -> None:
    with_record(correct=not place.lines(RECORDS)[0]["correct"])(place)


def blinded(place: Place) -> None:
    place.write_lines(RECORDS, [line | {"control": "blind"} for line in place.lines(RECORDS)])


def prepend(content: bytes) -> Callable[[Place], object]:
    return lambda place: place.write(RECORDS, content + (place.path / RECORDS).read_bytes())


def replaced(make: Callable[[Place], object]) -> Callable[[Place], object]:
    """The records of b are something else than a file."""

    def change(place: Place) -> None:
        (place.path / RECORDS).unlink()
        make(place)

    return change


def call(name: str, argv: str, *expected: str, prepare: Callable[[Place], object] = lambda _: None) -> Case:
    def make(place: Place) -> list[str]:
        prepare(two(place))
        return argv.split()

    return Case(name, make, expected)


FIRST = f"{RECORDS}:1"
DEEP = b"[" * 200_000 + b"\n"
CASES: tuple[Case, ...] = (
    *damaged("torn record", lambda p: p.write(RECORDS, (p.path / RECORDS).read_bytes()[:-9]), f"{RECORDS}:3", "torn"),
    *damaged("garbage record", prepend(b"\x00\xff{]\n"), FIRST, "not JSON"),
    *damaged("record that is a number", prepend(b"7\n"), FIRST, "not a record"),
    *damaged("record nested without end", prepend(DEEP), FIRST),
    *damaged("record twice", lambda p: p.write_lines(RECORDS, p.lines(RECORDS)[:1] * 2), f"{RECORDS}:2", "already"),
    *damaged("unknown key in a record", with_record(extra="x\x1b[31m"), FIRST, "extra is unknown"),
    *damaged("missing key in a record", with_record(gold=...), FIRST, "gold is missing"),
    *damaged("wrong type in a record", with_record(correct="yes"), FIRST, "correct is 'yes'"),
    *damaged("escape in a record", with_record(correct="\x1b[31m"), FIRST, "correct is"),
    *damaged("no records", replaced(lambda _: None), RECORDS, "does not exist"),
    *damaged("records that are a folder", replaced(lambda p: (p.path / RECORDS).mkdir()), RECORDS),
    *damaged("records that are a loop", replaced(lambda p: p.link(RECORDS, "records.jsonl")), RECORDS),
    *damaged("records that are a pipe", replaced(lambda p: p.pipe(RECORDS)), RECORDS),
    *damaged("records without end", replaced(lambda p: p.link(RECORDS, "/dev/zero")), RECORDS),
    *damaged("records that cannot be read", replaced(lambda p: p.link(RECORDS, "/proc/self/mem")), RECORDS),
    *damaged("empty records", lambda p: p.write(RECORDS, b""), "no records"),
    *damaged(
        "a flipped record", lambda p: p.edit(RECORDS, '"correct": false', '"correct": true'), RECORDS, "correct is True"
    ),
    *damaged("another answer in a record", with_record(extracted="A"), FIRST, "extracted is 'A'"),
    *damaged("gold that is no letter", with_record(gold="Z"), FIRST, "gold is 'Z'"),
    *damaged("gold beyond the options", with_record(gold="E"), FIRST, "gold is 'E'"),
    *damaged("an unknown rule", with_record(rule="loose"), FIRST, "rule is 'loose'"),
    *damaged("no options", with_record(options=[]), FIRST, "gold is"),
    *damaged("seconds that are no number", lambda p: p.edit(RECORDS, '"seconds": ', '"seconds": NaN, "x": '), FIRST),
    *damaged("an unfinished evaluation", lambda p: (p.path / "b/summary.json").unlink(), "b holds no summary.json"),
    *damaged(
        "answers of processes", lambda p: p.write("b/records-1.jsonl", b""), "b/records-1.jsonl holds answers", "again"
    ),
    call("compare: a training run", "compare a g", "g/records.jsonl", prepare=lambda p: p.copy("grpo", "g")),
    call("compare: a device", "compare a /dev/zero", "/dev/zero"),
    call("compare: a pipe", "compare a p", "p", prepare=lambda p: p.pipe("p")),
    call("compare: other questions", "compare a b", "the question sets differ", prepare=with_record(sample_id="nine")),
    call(
        "compare: other options",
        "compare a b",
        "has the options",
        prepare=with_record(options=["a", "b", "c", "\x9bd"]),
    ),
    call("compare: other control", "compare a b", "control", prepare=with_record(control="blind")),
    call("compare: out in /proc", "compare a b --out /proc/table.md", "/proc/table.md"),
    call("compare: out is a folder", "compare a b --out a", "a is a folder"),
    call("compare: out is a device", "compare a b --out /dev/full", "/dev/full is no ordinary file"),
    call("compare: out is the records", f"compare a b --out {RECORDS}", RECORDS, "left as it is"),
    call("compare: out below a file", f"compare a b --out {RECORDS}/t.md", RECORDS),
    call("compare: out with a long name", f"compare a b --out {'x' * 300}", "File name too long", "shorter"),
    call("compare: out is a loop", "compare a b --out l", "l is no ordinary file", prepare=lambda p: p.link("l", "l")),
    call("controls: out in /proc", "controls b --out /proc/table.md", "/proc/table.md"),
    call("controls: out is the records", f"controls b --out {RECORDS}", RECORDS, "left as it is"),
    call("controls: only blind", "controls b", "shows video and image", prepare=blinded),
    call("controls: mixed", "controls b", "b mixes the controls blind, none", prepare=with_record(control="blind")),
    call("score: out in /proc", "score b --rule care --out /proc/out", "/proc/out"),
    call("score: out is the input", f"score b --rule care --out {RECORDS}", "the file that is read"),
    call("score: out is another evaluation", "score b --rule care --out a/records.jsonl", "belongs to the evaluation"),
    call("score: out is a folder", "score b --rule care --out a", "is a folder"),
    call("score: out is a device", "score b --rule care --out /dev/null", "/dev/null holds something else"),
    call(
        "score: out is an annotation file",
        "score b --rule care --out data/annotations/training_6k.jsonl",
        "holds something else than these answers",
        prepare=lambda p: p.copy("data"),
    ),
)
CASES += tuple(
    Case(f"{name}: disk full", lambda place, argv=argv: two(place) and argv, (file, "File too large"), around=full_disk)
    for name, argv, file in (
        ("compare", ["compare", "a", "b", "--out", "t.md"], "t.md"),
        ("controls", ["controls", "b", "--out", "t.md"], "t.md"),
        ("score", READERS["score"], "out.jsonl"),
    )
)

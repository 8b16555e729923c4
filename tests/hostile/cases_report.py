"""Runs that `sbr report` cannot make a page of, and places where it cannot write one."""

from __future__ import annotations

from collections.abc import Callable

from cases import Case, words
from full_disk import full_disk
from house import Place

ATTENTION = "a/attention/attention.jsonl"


def page(name: str, damage: Callable[[Place], object], *expected: str, argv: str = "a b") -> Case:
    """Two evaluations, a with its attention; the damage; the page of both."""

    def make(place: Place) -> list[str]:
        place.copy("data")
        place.copy("attention", "a")
        place.copy("eval", "b")
        damage(place)
        out = [] if "-o" in argv else ["-o", "page.html"]
        return ["report", *argv.split(), *out]

    return Case(f"report: {name}", make, expected)


def nothing(_: Place) -> None:
    pass


def without(name: str) -> Callable[[Place], object]:
    return lambda place: (place.path / name).unlink()


def with_attention(**values: object) -> Callable[[Place], object]:
    def change(place: Place) -> None:
        lines = place.lines(ATTENTION)
        lines[0] |= values
        place.write_lines(ATTENTION, lines)

    return change


def every_map(content: bytes) -> Callable[[Place], object]:
    def change(place: Place) -> None:
        for file in (place.path / "a/attention/maps").iterdir():
            place.write(str(file.relative_to(place.path)), content)

    return change


def training(place: Place) -> None:
    place.copy("grpo", "g")


def bad_metrics(place: Place) -> None:
    training(place)
    place.write("g/metrics.jsonl", '{"step": 1, "loss": "\x1b[31m"}\n')


CASES: tuple[Case, ...] = (
    words("report: nothing", "report", "needs at least one folder"),
    words("report: a folder that is not there", "report gone", "gone does not exist"),
    words("report: a device", "report /dev/zero", "/dev/zero is no folder"),
    words("report: no cases at all", "report x --cases -3", "--cases is -3"),
    words("report: too many cases", "report x --cases 99999999", "--cases is 99999999"),
    words("report: no room", "report x --max-mb 0", "--max-mb is 0"),
    words("report: endless room", "report x --max-mb inf", "--max-mb is inf"),
    words("report: an escape as a title", "report x --title \x1b[31m", "cannot be shown"),
    page("one folder of two", nothing, "c does not exist", argv="a b c"),
    page("an empty folder", lambda p: (p.path / "e").mkdir(), "e holds neither", argv="a e"),
    page("a training alone", training, "there is no evaluation in g", argv="g"),
    page("metrics with an escape", bad_metrics, "g/metrics.jsonl:1", argv="a b g"),
    page("a recipe that is no JSON", lambda p: p.write("b/recipe.json", "{"), "b/recipe.json"),
    page("a recipe nested without end", lambda p: p.write("b/recipe.json", "[" * 100_000), "b/recipe.json"),
    page("other questions", lambda p: p.write_lines("b/records.jsonl", p.lines("b/records.jsonl")[:1]), "sets differ"),
    page("attention that is no JSON", lambda p: p.write(ATTENTION, "x\n"), f"{ATTENTION}:1", "not JSON"),
    page("torn attention", lambda p: p.write(ATTENTION, (p.path / ATTENTION).read_bytes()[:-2]), ATTENTION, "torn"),
    page("attention with a map elsewhere", with_attention(maps="../../../x.npz"), f"{ATTENTION}:1", "maps is"),
    page("maps that are none", every_map(b"PK\x03\x04"), "a/attention/maps/", "damaged"),
    page("a consistency that was only begun", lambda p: p.write("b/consistency/recipe.json", "{}"), "b/consistency"),
    page("data that are gone", lambda p: (p.path / "data/annotations/validation_L1.jsonl").unlink(), "validation_L1"),
    page("a picture that is none", lambda p: _spoil(p, ".png"), ".png"),
    page("a video that is none", lambda p: _spoil(p, ".mp4"), ".mp4"),
    page("too little room", nothing, "without any case", argv="a b --max-mb 0.001"),
    page("out in /proc", nothing, "/proc/page.html", argv="a b -o /proc/page.html"),
    page("out is a folder", nothing, "a is a folder", argv="a b -o a"),
    page("out is a device", nothing, "/dev/full is no ordinary file", argv="a b -o /dev/full"),
    page("out is the records", nothing, "left as it is", argv="a b -o b/records.jsonl"),
    page("out with a long name", nothing, "File name too long", argv=f"a b -o {'x' * 300}"),
    page("out is a loop", lambda p: p.link("l", "l"), "l is no ordinary file", argv="a b -o l"),
)


def _spoil(place: Place, suffix: str) -> None:
    for file in (place.path / "data").rglob(f"*{suffix}"):
        place.write(str(file.relative_to(place.path)), b"\x1b[31m")


_FULL = page("disk full", nothing, "page.html", "File too large")
CASES += (Case(_FULL.name, _FULL.make, _FULL.words, around=full_disk),)

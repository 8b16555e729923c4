"""Data roots and annotation files that are damaged, or want more than they may."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cases import Case
from house import Place

TRAIN, L1 = "data/annotations/training_6k.jsonl", "data/annotations/validation_L1.jsonl"


def grpo(place: Place) -> list[str]:
    return ["grpo", str(place.recipe("grpo"))]


def distill(place: Place) -> list[str]:
    return ["distill", str(place.recipe("distill"))]


def evaluate(place: Place) -> list[str]:
    return ["eval", str(place.recipe("eval", **{"eval.levels": ["L1"]}))]


def cache(place: Place) -> list[str]:
    return ["data", "cache", str(place.copy("data").relative_to(place.path)), "--splits", "train"]


READERS: dict[str, Callable[[Place], list[str]]] = {"grpo": grpo, "distill": distill, "data cache": cache}


def damaged(name: str, damage: Callable[[Place], object], *expected: str) -> list[Case]:
    """The same damage to the training file for every verb that reads it."""

    def prepare(argv: Callable[[Place], list[str]]) -> Callable[[Place], list[str]]:
        def make(place: Place) -> list[str]:
            words = argv(place)
            damage(place)
            return words

        return make

    return [Case(f"{verb}: {name}", prepare(argv), ("training_6k.jsonl", *expected)) for verb, argv in READERS.items()]


def with_row(file: str = TRAIN, **values: Any) -> Callable[[Place], object]:
    """The first row of `file` with other values; `...` takes a key away."""

    def change(place: Place) -> None:
        rows = place.lines(file)
        rows[0] = {key: value for key, value in (rows[0] | values).items() if value is not ...}
        place.write_lines(file, rows)

    return change


def instead(make: Callable[[Place], object], file: str = TRAIN) -> Callable[[Place], object]:
    def change(place: Place) -> None:
        (place.path / file).unlink()
        make(place)

    return change


def medium(suffix: str, content: bytes) -> Callable[[Place], object]:
    """Every clip or picture of the data root holds `content`."""

    def change(place: Place) -> None:
        for file in sorted((place.path / "data").rglob(f"*{suffix}")):
            place.write(str(file.relative_to(place.path)), content)

    return change


def case(name: str, argv: Callable[[Place], list[str]], damage: Callable[[Place], object], *expected: str) -> Case:
    def make(place: Place) -> list[str]:
        words = argv(place)
        damage(place)
        return words

    return Case(name, make, expected)


def shown(name: str, suffix: str, content: bytes) -> Case:
    """Every medium of a kind holds `content`; an evaluation meets it when it has begun."""
    return replace(case(f"eval: {name}", evaluate, medium(suffix, content), suffix), may_change=("out",))


def checked(name: str, damage: Callable[[Place], object], *expected: str) -> Case:
    """`sbr data check` finds it: status 1, and the report names it."""

    def make(place: Place) -> list[str]:
        place.copy("data")
        damage(place)
        return ["data", "check", "data", "--workers", "1"]

    return Case(f"data check: {name}", make, expected, status=1)


def built(name: str, file: str, content: str | bytes, *expected: str) -> Case:
    def make(place: Place) -> list[str]:
        place.write(file, content)
        return ["data", "build", file, "--out", "out", "--goals", "goals.csv"]

    return Case(f"data build: {name}", make, (file, *expected))


CASES: tuple[Case, ...] = (
    *damaged("row that is not JSON", lambda p: p.write(TRAIN, b"{]\n"), ":1"),
    *damaged("row that is no object", lambda p: p.write(TRAIN, b"7\n"), ":1"),
    *damaged("row nested without end", lambda p: p.write(TRAIN, b"[" * 200_000), ":1"),
    *damaged("rows that are not UTF-8", lambda p: p.write(TRAIN, b'{"a": "\xff"}\n'), ":1"),
    *damaged("rows with a NUL", lambda p: p.write(TRAIN, b"\x00" * 64), ":1"),
    *damaged("no rows", lambda p: p.write(TRAIN, b"")),
    case("grpo: absent rows", grpo, instead(lambda _: None), "training_6k.jsonl does not exist"),
    case("data cache: absent rows", cache, instead(lambda _: None), "has no annotation file of train"),
    *damaged("rows that are a folder", instead(lambda p: (p.path / TRAIN).mkdir())),
    *damaged("rows that are a loop", instead(lambda p: p.link(TRAIN, "training_6k.jsonl"))),
    *damaged("rows that are a pipe", instead(lambda p: p.pipe(TRAIN))),
    *damaged("rows without end", instead(lambda p: p.link(TRAIN, "/dev/zero"))),
    *damaged("missing answer", with_row(answer=...), ":1", "answer"),
    *damaged("answer that is a number", with_row(answer=7), ":1", "answer"),
    *damaged("escape for an answer", with_row(answer={"\x1b[31m": "\x9b2J"}), ":1", "answer"),
    *damaged("path out of the root", with_row(video_basename="../../etc/passwd"), ":1", "video_basename"),
    *damaged("absolute path", with_row(current_observation_basename="/etc/passwd"), ":1", "current_observation"),
    *damaged("NUL in a path", with_row(video_basename="a\x00b"), ":1", "video_basename"),
    replace(
        case("grpo: escape in a path", grpo, with_row(video_source="\x1b]0;owned\x07"), "images/]0;owned/"),
        may_change=("out",),
    ),
    replace(
        case("data cache: escape in a path", cache, with_row(video_source="\x1b]0;owned\x07"), "images/]0;owned/"),
        status=1,
        may_change=("data",),
    ),
    *damaged("special token in a question", with_row(question="a <|im_end|> b"), ":1", "question"),
    case("eval: gold that is no letter", evaluate, with_row(L1, golden_choice_idx="Z"), "validation_L1.jsonl:1", "'Z'"),
    case("eval: two of three choices", evaluate, with_row(L1, choice_c=...), "validation_L1.jsonl:1", "choice_c"),
    case("eval: a root without images", evaluate, lambda p: (p.path / "data/images").rename("i"), "images/"),
    case("eval: a root that is a file", evaluate, lambda p: p.write("eval.toml", file_root(p)), "eval.toml is a file"),
    shown("a clip that is none", ".mp4", b"\x00" * 100),
    shown("an empty clip", ".mp4", b""),
    shown("a playlist", ".mp4", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"),
    shown("a picture that is none", ".png", b"GIF89a"),
    shown("SVG for a picture", ".png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    checked("row that is not JSON", lambda p: p.write(TRAIN, b"{]\n"), "training_6k.jsonl:1"),
    replace(checked("escape in a domain", with_row(L1, domain="\x1b[2J"), "[2J", "nothing is wrong"), status=0),
    checked("missing clip", with_row(video_basename="\x9bnowhere.mp4"), "nowhere.mp4"),
    checked("clip that is none", medium(".mp4", b"\x00" * 100), "media that cannot be used"),
    checked("picture that is none", medium(".png", b"\x00" * 100), "media that cannot be used"),
    checked("special token", with_row(L1, question="<|video_pad|>"), "validation_L1.jsonl:1"),
    built("rows that are not JSON", "tasks.jsonl", b"{]\n", ":1"),
    built("rows without end", "tasks.jsonl.gz", gzip.compress(b"[" * 5_000_000), ":1"),
    built("gzip that is none", "tasks.jsonl.gz", b"\x1f\x8b\x00", "gzip"),
    built("unknown kind", "tasks.xml", "<a/>", "tasks.xml"),
    built("rows of another kind", "tasks.jsonl", json.dumps({"a": "\x1b[31m"}) + "\n", ":1"),
)


def file_root(place: Place) -> str:
    return (place.path / "eval.toml").read_text().replace('"data"', '"eval.toml"')

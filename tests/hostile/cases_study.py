"""Study files that are none, studies of things that are not there, and folders and notes that are damaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cases import Case
from house import Place

STUDY: Mapping[str, Any] = {
    "output_dir": "out",
    "seeds": [0],
    "bases.tiny": "model",
    "stages.grpo.run": "grpo",
    "stages.grpo.recipe": "grpo.toml",
    "arms.GRPO": "grpo",
    "eval.recipe": "eval.toml",
}


def written(content: str | bytes) -> Callable[[Place], object]:
    return lambda place: place.write("s.toml", content)


def file(name: str, make: Callable[[Place], object], *expected: str) -> Case:
    """Whatever lies at s.toml."""

    def prepare(place: Place) -> list[str]:
        make(place)
        return ["study", "s.toml"]

    return Case(f"study file {name}", prepare, ("s.toml", *expected))


def study(
    name: str,
    *expected: str,
    prepare: Callable[[Place], object] = lambda _: None,
    words: tuple[str, ...] = (),
    **keys: Any,
) -> Case:
    """A study that would run but for `keys` ("bases__tiny"), what `prepare` does, or further words."""

    def make(place: Place) -> list[str]:
        place.recipe("grpo")
        place.recipe("eval")
        values = {**STUDY, **{key.replace("__", "."): value for key, value in keys.items()}}
        lines = [f"{key} = {_toml(value)}\n" for key, value in values.items() if value is not None]
        place.write("s.toml", "".join(lines))
        prepare(place)
        verb = ["study", "list", "s.toml"] if words[:1] == ("list",) else ["study", "s.toml"]
        return [*verb, *[word for word in words if word != "list"]]

    return Case(f"study, {name}", make, expected)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_toml(inner)}' for key, inner in value.items()) + "}"
    return str(value) if not isinstance(value, str) else f'"{value}"'


NOTE = "out/.study/tiny/grpo/seed_0/note.json"

CASES: tuple[Case, ...] = (
    file("absent", lambda _: None, "does not exist", "give a study"),
    file("a folder", lambda place: (place.path / "s.toml").mkdir(), "folder"),
    file("a loop", lambda place: place.link("s.toml", "s.toml")),
    file("a pipe", lambda place: place.pipe("s.toml")),
    file("without end", lambda place: place.link("s.toml", "/dev/zero")),
    file("not UTF-8", written(b"\xff\xfe\x00"), "not valid TOML"),
    file("not TOML", written("[arms\n"), "not valid TOML"),
    file("nested without end", written("a = " + "[" * 100_000), "not valid TOML"),
    file("empty", written(""), "output_dir is missing; set it in the study"),
    file("with unknown keys", written("[arm]\na = 'x\\u001b[31m'\n"), "unknown key 'arm'", "did you mean 'arms'"),
    study("a base in a folder above", "../x", bases__tiny=None, bases={"../x": "model"}),
    study("a base that is not there", "no_model", bases__tiny="no_model"),
    study("a base that is a file", "grpo.toml", bases__tiny="grpo.toml"),
    study("an arm of nothing", "arms.GRPO is 'grop'", "did you mean 'grpo'", arms__GRPO="grop"),
    study("a recipe that is not there", "stages.grpo.recipe", "no.toml", stages__grpo__recipe="no.toml"),
    study("a recipe of another verb", "eval.toml", "unknown key", stages__grpo__recipe="eval.toml"),
    study("a stage that needs itself", "in a circle", stages__grpo__model="grpo"),
    study("data that is not there", "nowhere", set={"data.root": "nowhere"}),
    study("an unknown key in set", "train.seedd", stages__grpo__set={"train.seedd": 1}),
    study("a key of its own in set", "model.path cannot be set", stages__grpo__set={"model.path": "x"}),
    study("numbers without end in set", "train.learning_rate", stages__grpo__set={"train.learning_rate": float("inf")}),
    study("a seed below 0", "seeds.0 is -1", seeds=[-1]),
    study("output_dir is a file", "out", prepare=lambda p: p.write("out", "mine")),
    study("output_dir is a loop", "out", prepare=lambda p: p.link("out", "out")),
    study(
        "a folder of notes",
        "tiny/grpo/seed_0",
        "mine.txt",
        prepare=lambda p: p.write("out/tiny/grpo/seed_0/mine.txt", ""),
    ),
    study("a stage's folder is a file", "out/tiny/grpo/seed_0", prepare=lambda p: p.write("out/tiny/grpo/seed_0", "")),
    study("another run in a folder", "tiny/grpo/seed_0", prepare=lambda p: p.copy("eval", "out/tiny/grpo/seed_0")),
    study("a damaged note", NOTE, "is damaged", prepare=lambda p: p.write(NOTE, "[]")),
    study("a note nested without end", NOTE, prepare=lambda p: p.write(NOTE, "[" * 100_000)),
    study(
        "a note without end",
        NOTE,
        prepare=lambda p: (p.write(NOTE, ""), (p.path / NOTE).unlink(), p.link(NOTE, "/dev/zero")),
    ),
    study("no jobs", "--jobs is 0", words=("--jobs", "0")),
    study("only nothing", "no run 'tiny/x'", words=("--only", "tiny/x")),
    study("a tier that is none", "--tier is 7", words=("list", "--tier", "7")),
)

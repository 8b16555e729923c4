"""Folders of `sbr eval` and `sbr distill`: other people's, damaged, held, on a full disk; servers that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from cases import Case
from full_disk import full_disk
from house import Place

from sbr.resume.lock import locked

JOURNALS = {"eval": "out/records.jsonl", "distill": "out/samples.jsonl"}
DEEP = "[" * 200_000


def both(
    name: str,
    prepare: Callable[[Place], object],
    *expected: str,
    out: str = "out",
    may_change: tuple[str, ...] = (),
    around: Callable[[], AbstractContextManager[object]] | None = None,
) -> list[Case]:
    """For both verbs, on a new folder unless `prepare` puts something there."""

    def make(verb: str) -> Callable[[Place], list[str]]:
        def case(place: Place) -> list[str]:
            prepare(place)
            return [verb, str(place.recipe(verb, output_dir=out))]

        return case

    return [Case(f"{verb}: {name}", make(verb), expected, may_change=may_change, around=around) for verb in JOURNALS]


def finished(
    name: str,
    damage: Callable[[Place, str], object],
    *expected: str,
    settings: dict[str, dict[str, Any]] | None = None,
    may_change: tuple[str, ...] = (),
    around: Callable[[], AbstractContextManager[object]] | None = None,
    verbs: tuple[str, ...] = ("eval", "distill"),
) -> list[Case]:
    """The same command on the folder of a finished run with some damage; `damage` gets the place and the journal."""

    def make(verb: str) -> Callable[[Place], list[str]]:
        def case(place: Place) -> list[str]:
            place.copy(verb, "out")
            damage(place, JOURNALS[verb])
            return [verb, str(place.recipe(verb, **(settings or {}).get(verb, {})))]

        return case

    return [Case(f"{verb}: {name}", make(verb), expected, may_change=may_change, around=around) for verb in verbs]


def changed(**values: object) -> Callable[[Place, str], object]:
    def change(place: Place, journal: str) -> None:
        lines = place.lines(journal)
        place.write_lines(journal, [lines[0] | values, *lines[1:]])

    return change


def wrote(name: str, content: str | bytes) -> Callable[[Place, str], object]:
    return lambda place, _: place.write(f"out/{name}", content)


def linked(name: str, to: str) -> Callable[[Place, str], object]:
    def link(place: Place, _: str) -> None:
        (place.path / f"out/{name}").unlink()
        place.link(f"out/{name}", to)

    return link


def of_rank_1(place: Place, journal: str) -> None:
    """An answer of another process that differs from ours."""
    line = place.lines(journal)[0] | {"prompt": "another"}
    place.write_lines(journal.replace(".jsonl", "-1.jsonl"), [line])


def no_damage(*_: object) -> None:
    pass


def run_with(content: str | bytes) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        place.write("g/recipe.json", content)
        (place.path / "g" / "final").mkdir()
        return ["eval", "--run", "g"]

    return make


def endpoint(url: str | list[str]) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        values = {"engine.kind": "endpoint", "engine.url": url, "engine.retries": 0}
        return ["eval", str(place.recipe("eval", **values))]

    return make


OTHER = {"eval": {"eval.max_new_tokens": 4}, "distill": {"distill.max_new_tokens": 4}}
HOST = "http://127.0.0.1:9"
"""Where nothing answers."""
FILTER = {"distill": {"distill.min_words": 1}}
CASES: tuple[Case, ...] = (
    *both("out is a file", lambda place: place.write("out", "x"), "out is a file"),
    *both("out below a file", lambda place: place.write("f", "x"), "f", out="f/out"),
    *both("out is the data root", lambda place: place.copy("data"), "data holds", "left as it is", out="data"),
    *both("out is a loop", lambda place: place.link("out", "out"), "out"),
    *both("out in /proc", lambda _: None, "/proc/sbr", out="/proc/sbr"),
    *both("out with a long name", lambda _: None, "File name too long", out="x" * 300),
    *both("out is a run of grpo", lambda place: place.copy("grpo", "out"), "out", "belongs to another run"),
    *both("out holds a note", lambda place: place.write("out/note.txt", "x"), "out holds note.txt"),
    *both("a full disk", lambda _: None, "out", "File too large", around=full_disk),
    *finished("other settings", no_damage, "max_new_tokens: 3 then, 4 now", settings=OTHER),
    *finished("recipe.json is a list", wrote("recipe.json", "[]"), "out/recipe.json", "a JSON list"),
    *finished("recipe.json is empty", wrote("recipe.json", ""), "out/recipe.json is damaged"),
    *finished("recipe.json without end", wrote("recipe.json", DEEP), "out/recipe.json is damaged"),
    *finished("recipe.json is no text", wrote("recipe.json", b"\xff"), "out/recipe.json is damaged"),
    *finished("recipe.json is a device", linked("recipe.json", "/dev/zero"), "out/recipe.json is no ordinary file"),
    *finished("inputs.json is a list", wrote("inputs.json", "[]"), "out/inputs.json", "a JSON list"),
    *finished("inputs.json is null", wrote("inputs.json", "null"), "out/inputs.json", "a JSON NoneType"),
    *finished("inputs.json without end", wrote("inputs.json", DEEP), "out/inputs.json is damaged"),
    *finished("inputs.json is empty", wrote("inputs.json", "{}"), "input file", "is new"),
    *finished("garbage in the journal", lambda p, j: p.write(j, b"\x00\n"), ":1: not JSON"),
    *finished("a journal without end", lambda p, j: linked(Path(j).name, "/dev/zero")(p, j), "no ordinary file"),
    *finished("an answer with another right letter", changed(gold="Z"), "gold is 'Z'", verbs=("eval",)),
    *finished("a flipped verdict", changed(correct=True, extracted=None), "correct is True", verbs=("eval",)),
    *finished(
        "an answer that was not read", changed(extracted="B", correct=False), "extracted is 'B'", verbs=("eval",)
    ),
    *finished("an answer to nobody's question", changed(sample_id="nine"), "nine", "was not asked", verbs=("eval",)),
    *finished("other options", changed(options=["a", "b", "c", "d"]), "was asked with the options"),
    *finished("another process's answer", of_rank_1, "-1.jsonl", "differently"),
    *finished("a full disk when it goes on", no_damage, "File too large", around=lambda: full_disk(300)),
    *finished(
        "a full disk while selecting again",
        no_damage,
        "out/samples.jsonl: File too large",
        settings=FILTER,
        around=lambda: full_disk(1500),
        may_change=("out/recipe.json",),
        verbs=("distill",),
    ),
    *finished("held by another run", no_damage, "out is being written by process", around=lambda: locked(Path("out"))),
    Case("eval: a run that is a list", run_with("[]"), ("g/recipe.json", "a JSON list")),
    Case("eval: a run without end", run_with(DEEP), ("g/recipe.json is damaged",)),
    Case("eval: a run that is nothing", run_with(json.dumps({"algo": 1})), ("g/recipe.json",)),
    Case("eval: no server", endpoint("http://127.0.0.1:9/v1"), ("http://127.0.0.1:9/v1", "cannot be reached")),
    Case("eval: an address that is none", endpoint("nowhere"), ("nowhere",)),
    Case("eval: an address of a file", endpoint("file:///etc/passwd"), ("file:///etc/passwd",)),
    Case("eval: an address without an end", endpoint("http://[::1"), ("http://[::1", "no address")),
    Case("eval: no address in the list", endpoint([]), ("engine.url is an empty list", "name a server")),
    Case("eval: an address twice", endpoint([f"{HOST}/v1", f"{HOST}/v1/"]), (f"names {HOST}/v1 twice",)),
    Case("eval: one of two is no address", endpoint([f"{HOST}/v1", "nowhere"]), ("engine.url holds 'nowhere'",)),
    Case("eval: one of two with a password", endpoint([f"{HOST}/v1", "http://me:secret@host/v1"]), ("api_key_env",)),
    Case("eval: too many addresses", endpoint([f"{HOST}/{n}" for n in range(1001)]), ("1,001", "1,000")),
    Case(
        "eval: no server of two", endpoint([f"{HOST}/v1", f"{HOST}/v2"]), ("none of the 2", f"{HOST}/v1", "/v2 (model")
    ),
)

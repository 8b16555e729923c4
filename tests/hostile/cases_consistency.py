"""`sbr analyze consistency`: words, folders that are damaged or other people's, judges that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from cases import Case, words
from full_disk import full_disk
from house import Place

from sbr.resume.lock import locked

HOST = "http://127.0.0.1:9/v1"
"""Where nothing answers."""
FOLDER = "b/consistency"


def analyse(
    name: str,
    argv: str,
    *expected: str,
    prepare: Callable[[Place], object] = lambda _: None,
    may_change: tuple[str, ...] = (),
    around: Callable[[], AbstractContextManager[object]] | None = None,
) -> Case:
    """On the evaluation b and its data, after `prepare`."""

    def make(place: Place) -> list[str]:
        place.copy("eval", "b")
        place.copy("data")
        place.copy("model")
        prepare(place)
        return ["analyze", "consistency", *argv.split()]

    return Case(f"consistency: {name}", make, expected, may_change=may_change, around=around)


def finished(name: str, damage: Callable[[Place], object], *expected: str, argv: str = "b") -> Case:
    """The same command on an analysis with some damage."""

    def prepare(place: Place) -> None:
        place.copy("analysed", FOLDER)
        damage(place)

    return analyse(name, argv, *expected, prepare=prepare)


def wrote(name: str, content: str | bytes) -> Callable[[Place], object]:
    return lambda place: place.write(f"{FOLDER}/{name}", content)


def with_recipe(**values: object) -> Callable[[Place], object]:
    """Sections of the evaluation's recipe.json with other values."""

    def change(place: Place) -> None:
        recipe = json.loads((place.path / "b/recipe.json").read_text())
        for section, value in values.items():
            recipe[section] |= value
        place.write("b/recipe.json", json.dumps(recipe))

    return change


def other_options(place: Place) -> None:
    lines = place.lines("b/records.jsonl")
    lines[0]["options"] = ["a", "b", "c", "d"]
    place.write_lines("b/records.jsonl", lines)


def with_answers(place: Place) -> None:
    """Of a model that can write: there is something to judge."""
    answer = {"response": "<think>so</think><answer>A</answer>", "extracted": "A"}
    lines = [line | answer | {"correct": line["gold"] == "A"} for line in place.lines("b/records.jsonl")]
    place.write_lines("b/records.jsonl", lines)


def with_record(**values: object) -> Callable[[Place], object]:
    def change(place: Place) -> None:
        lines = place.lines(f"{FOLDER}/consistency.jsonl")
        place.write_lines(f"{FOLDER}/consistency.jsonl", [lines[0] | values, *lines[1:]])

    return change


JUDGE = f"b --judge-url {HOST} --judge-model m"
JOURNAL = f"{FOLDER}/consistency.jsonl"
DEEP = "[" * 200_000
CASES: tuple[Case, ...] = (
    words("consistency: nothing", "analyze consistency", "needs at least one evaluation"),
    words("consistency: nowhere", "analyze consistency nowhere", "nowhere is not the folder of an evaluation"),
    words("consistency: unknown flag", "analyze consistency a --nonsense 3", "--nonsense"),
    words("consistency: no questions", "analyze consistency a --per-level 0", "per_level is 0"),
    words("consistency: words for a number", "analyze consistency a --per-level ten", "--per-level", "ten"),
    words("consistency: names", "analyze consistency a b --names c", "--names gives 2 different name(s)"),
    words("consistency: same names", "analyze consistency a b --names c c", "--names gives 2 different name(s)"),
    words("consistency: a judge without a name", f"analyze consistency a --judge-url {HOST}", "needs --judge-model"),
    words("consistency: a judge nowhere", "analyze consistency a --judge-model m", "needs --judge-url"),
    words("consistency: no judge's tokens", "analyze consistency a --judge-tokens 3", "--judge-tokens: of a judge"),
    words("consistency: no tokens", f"analyze consistency a {JUDGE[2:]} --judge-tokens 0", "max_new_tokens is 0"),
    words("consistency: no requests", f"analyze consistency a {JUDGE[2:]} --concurrency 0", "concurrency is 0"),
    words(
        "consistency: a password",
        "analyze consistency a --judge-url http://me:secret@host/v1 --judge-model m",
        "leave out what stands before the @",
    ),
    words("consistency: no name", f"analyze consistency a --judge-url {HOST} --judge-model \x01", "characters"),
    analyse("twice", "b b/../b --names x y", "one evaluation twice"),
    analyse("a training run", "g", "g/recipe.json", prepare=lambda place: place.copy("grpo", "g")),
    analyse("a file of records", "b/records.jsonl", "b/records.jsonl is not the folder of an evaluation"),
    analyse("a recipe that is a list", "b", "b/recipe.json", prepare=lambda p: p.write("b/recipe.json", "[]")),
    analyse("a recipe without end", "b", "b/recipe.json", prepare=lambda p: p.write("b/recipe.json", DEEP)),
    analyse("other options", "b", "has other options or another right letter", prepare=other_options),
    analyse("no data", "b --data nowhere", "nowhere"),
    analyse("data that is a file", "b --data b/records.jsonl", "b/records.jsonl"),
    analyse("no model", "b", "model folder gone", prepare=with_recipe(model={"path": "gone"})),
    analyse("an unknown engine", "b", "engine.kind is 'mine'", prepare=with_recipe(engine={"kind": "mine"})),
    analyse("a file for a folder", "b", f"{FOLDER} is a file", prepare=lambda p: p.write(FOLDER, "x")),
    analyse("a note in the folder", "b", f"{FOLDER} holds note.txt", prepare=wrote("note.txt", "x")),
    analyse("another's folder", "b", FOLDER, "belongs to another run", prepare=lambda p: p.copy("grpo", FOLDER)),
    analyse("a loop for a folder", "b", FOLDER, prepare=lambda p: p.link(FOLDER, "consistency")),
    analyse("no server", JUDGE, HOST, "cannot be reached", prepare=with_answers),
    analyse("no address", "b --judge-url nowhere --judge-model m", "nowhere", prepare=with_answers),
    analyse("an address twice", f"b --judge-url {HOST} {HOST}/ --judge-model m", f"names {HOST} twice"),
    analyse("a full disk", "b", FOLDER, "File too large", around=full_disk),
    finished("recipe.json is a list", wrote("recipe.json", "[]"), f"{FOLDER}/recipe.json"),
    finished("recipe.json is empty", wrote("recipe.json", ""), f"{FOLDER}/recipe.json"),
    finished("recipe.json without end", wrote("recipe.json", DEEP), f"{FOLDER}/recipe.json"),
    finished("inputs.json is null", wrote("inputs.json", "null"), f"{FOLDER}/inputs.json", "a JSON NoneType"),
    finished("inputs.json is empty", wrote("inputs.json", "{}"), "input file", "is new"),
    finished("garbage in the journal", wrote("consistency.jsonl", b"\x00\n"), f"{JOURNAL}:1: not JSON"),
    finished("a record of nothing", wrote("consistency.jsonl", "{}\n"), f"{JOURNAL}:1: not a record"),
    finished("garbage of the judge", wrote("judge.jsonl", "7\n"), f"{FOLDER}/judge.jsonl:1: not a record"),
    finished("a letter that is none", with_record(answer="Q"), f"{JOURNAL}:1: answer is 'Q'"),
    finished("another answer", with_record(answer="C"), JOURNAL, "has the answer 'C'"),
    finished("probabilities that are words", with_record(own=["much"]), f"{JOURNAL}:1: own"),
    finished("probabilities of few letters", with_record(own=[1.0], answer="A"), f"{JOURNAL}:1: own"),
    finished("probabilities above 1", with_record(own=[2.0, 0, 0, 0]), f"{JOURNAL}:1: own"),
    finished("a rule of its own", with_record(rule=7.0), f"{JOURNAL}:1: rule is 7.0"),
    finished("table in /proc", lambda _: None, "/proc/table.md", argv="b --out /proc/table.md"),
    finished("table over the records", lambda _: None, "b/records.jsonl", argv="b --out b/records.jsonl"),
    finished("table is a device", lambda _: None, "/dev/full is no ordinary file", argv="b --out /dev/full"),
    analyse("held by another run", "b", FOLDER, "by process", around=lambda: locked(Path(FOLDER))),
)

"""What `sbr analyze attention` keeps, reads and is told, damaged or wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

from cases import Case, words
from full_disk import full_disk
from house import Place

LINES = "a/attention/attention.jsonl"
FIRST = f"{LINES}:1"


def looked(name: str, damage: Callable[[Place], object], *expected: str, argv: str = "a --no-effects") -> Case:
    """The evaluation a with its attention, the damage, and the command that made it again."""

    def make(place: Place) -> list[str]:
        for folder in ("data", "model"):
            place.copy(folder)
        place.copy("attention", "a")
        damage(place)
        return ["analyze", "attention", *argv.split()]

    return Case(f"attention: {name}", make, expected)


def with_line(**values: object) -> Callable[[Place], object]:
    """Other values in the first line."""

    def change(place: Place) -> None:
        lines = place.lines(LINES)
        lines[0] |= values
        place.write_lines(LINES, lines)

    return change


def first_map(place: Place) -> str:
    return f"a/attention/maps/{place.lines(LINES)[0]['maps']}"


def cases(*lines: object) -> Callable[[Place], object]:
    return lambda place: place.write("cases.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def without(name: str) -> Callable[[Place], object]:
    return lambda place: (place.path / name).unlink()


def replaced(name: str, make: Callable[[Place], object]) -> Callable[[Place], object]:
    def change(place: Place) -> None:
        (place.path / name).unlink()
        make(place)

    return change


def other_level(place: Place) -> None:
    """a has answered L1 alone, b the other levels."""
    place.copy("eval", "b")
    for name, wanted in (("a", ("L1",)), ("b", ("L2", "L3"))):
        rows = [row for row in place.lines(f"{name}/records.jsonl") if row["level"] in wanted]
        place.write_lines(f"{name}/records.jsonl", rows)


def not_yet(place: Place) -> None:
    shutil.rmtree(place.path / "a/attention")


CASES: tuple[Case, ...] = (
    words("attention: no run", "analyze attention", "needs a finished evaluation"),
    words("attention: no such run", "analyze attention nowhere", "nowhere is not the folder of an evaluation"),
    words("attention: no number of questions", "analyze attention a --per-level 0", "per_level", "0"),
    words("attention: two choices", "analyze attention a --all --cases c", "--all and --cases exclude each other"),
    words("attention: a fraction of 2", "analyze attention a --fractions 2", "fractions", "2.0"),
    words("attention: a fraction of nothing", "analyze attention a --fractions nan", "fractions"),
    words("attention: a layer twice", "analyze attention a --layers 1 1", "layers", "once"),
    words("attention: a layer below 0", "analyze attention a --layers -1", "layers"),
    words("attention: no randoms", "analyze attention a --randoms 0", "randoms", "0"),
    words("attention: fractions of no effects", "analyze attention a --no-effects --fractions 0.1", "exclude"),
    words("attention: unknown sub-verb", "analyze attentions a", "unknown sub-verb 'attentions'"),
    looked("names that are equal", lambda _: None, "different --names", argv="a a --names x x"),
    looked("one name for two", lambda p: p.copy("eval", "b"), "give 2 different --names", argv="a b --names x"),
    looked("a training run", lambda p: p.copy("grpo", "g"), "g/recipe.json", argv="g"),
    looked("a data root", lambda _: None, "data is not the folder of an evaluation", argv="data"),
    looked("an unfinished evaluation", without("a/summary.json"), "a holds no summary.json"),
    looked("other questions in each run", other_level, "have no question in common", argv="a b"),
    looked("garbage", lambda p: p.write(LINES, b"\x00\xff{]\n"), FIRST, "not JSON"),
    looked("an unknown key", with_line(extra="x\x1b[31m"), FIRST, "extra is unknown"),
    looked("a share that is a text", with_line(shares=[["\x1b[2J"]]), FIRST, "shares"),
    looked("shares of other tokens", with_line(shares=[[], [], []]), FIRST, "shares is 3 x"),
    looked("maps elsewhere", with_line(maps="../../../etc/passwd.npz"), FIRST, "maps is"),
    looked("a sink beyond the tokens", with_line(sinks=[10**9]), FIRST, "sinks is"),
    looked("an answer twice", lambda p: p.write_lines(LINES, p.lines(LINES)[:1] * 2), f"{LINES}:2", "already"),
    looked("lines without end", replaced(LINES, lambda p: p.link(LINES, "/dev/zero")), LINES),
    looked("a missing map", lambda p: (p.path / first_map(p)).unlink(), "is missing, the maps of question", "delete"),
    looked("an empty map", lambda p: p.write(first_map(p), b""), "is damaged", "maps"),
    looked("a map of another", lambda p: p.write(first_map(p), b"\x93NUMPY\x01\x00"), "is damaged", "maps"),
    looked("other settings", lambda _: None, "attention.fractions: [] then", argv="a"),
    looked("another answer", lambda p: p.edit("a/records.jsonl", '"seconds": ', '"seconds": 1'), "records.jsonl has"),
    looked("another model", lambda p: p.edit("model/config.json", "{", "{ "), "config.json has changed"),
    looked("no model", without("model/model.safetensors"), "model/model.safetensors is gone"),
    looked("no recipe", without("a/attention/recipe.json"), "holds", "but no recipe.json"),
    looked("a damaged recipe", lambda p: p.write("a/attention/recipe.json", b"{"), "a/attention/recipe.json"),
    looked(
        "cases that are none",
        cases({"level": "L1"}),
        "cases.jsonl:1",
        "expected an object",
        argv="a --cases cases.jsonl",
    ),
    looked("no cases", lambda _: None, "cases.jsonl does not exist", argv="a --cases cases.jsonl"),
    looked("cases on a device", lambda _: None, "/dev/zero", argv="a --cases /dev/zero"),
    looked(
        "a case of other runs",
        cases({"level": "L1", "sample_id": "x\x9b31m"}),
        "which a has not answered",
        argv="a --cases cases.jsonl",
    ),
    looked("data elsewhere", not_yet, "nowhere", argv="a --no-effects --data nowhere"),
    looked("out is the records", lambda _: None, "left as it is", argv="a --no-effects --out a/records.jsonl"),
    Case(
        "attention: disk full",
        lambda place: looked("", lambda p: None, argv="a --no-effects").make(place),
        ("a/attention", "File too large"),
        around=full_disk,
    ),
)

"""Which questions are looked at: the same for all runs, whatever else they answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attention_cases import answer, attention, keep

from sbr.analysis.attention_sample import draw, drawing_order, drawn_sample, read_cases, summarize_attention
from sbr.analysis.evaluated import EvaluatedRun
from sbr.config.inputs import DataConfig, ModelConfig
from sbr.config.recipes import EvalRecipe
from sbr.errors import DataError

LEVELS = {"L1": 40, "L3": 25}


def run(name: str, folder: Path = Path("runs/a"), last: int = 10**6, reverse: bool = False) -> EvaluatedRun:
    """Questions 0 to `last` of two levels, with a second sample and another rotation of each."""
    recipe = EvalRecipe(model=ModelConfig(path="m"), data=DataConfig(root=Path("d")), output_dir=folder)
    records = [
        answer(str(q), level=level, sample_index=index, rotation=rotation)
        for level, count in LEVELS.items()
        for q in range(min(count, last))
        for index, rotation in ((0, 0), (1, 0), (0, 1))
    ]
    return EvaluatedRun(name, folder, recipe, tuple(records[::-1] if reverse else records))


def test_the_first_questions_are_the_same_for_every_run_and_every_number() -> None:
    few, many = draw([run("a")], 5), draw([run("b", reverse=True)], 20)
    assert [level for level, _ in few] == ["L1"] * 5 + ["L3"] * 5
    for level in LEVELS:
        assert [q for q in many if q[0] == level][:5] == [q for q in few if q[0] == level]
    assert few != draw([run("a")], None)[:10] and len(set(few)) == 10
    assert [q for _, q in few[:5]] != ["0", "1", "2", "3", "4"]


def test_as_many_as_there_are() -> None:
    assert len(draw([run("a")], 1000)) == len(draw([run("a")], None)) == sum(LEVELS.values())
    shared = draw([run("a"), run("b", last=7)], None)
    assert {int(q) for _, q in shared} == set(range(7)) and len(shared) == 14


def test_picked_questions_are_not_in_the_sample(tmp_path: Path) -> None:
    runs = [run("a"), run("b")]
    order = drawing_order(runs)
    first, picked = [*order["L1"][:4], *order["L3"][:6]], [order["L1"][9], order["L3"][20]]
    of_a = [attention(q, level=level) for level, q in [*first, *picked]]
    of_b = [attention(q, level=level) for level, q in [*first[:3], *first[4:], *picked]]
    assert drawn_sample(runs, {"a": of_a, "b": of_a}) == set(first)
    assert drawn_sample(runs, {"a": of_a, "b": of_b}) == set(first[:3]) | set(first[4:])
    assert drawn_sample(runs, {"a": of_a, "b": []}) == set()


def test_a_summary_is_of_the_sample_or_of_what_is_asked_for(tmp_path: Path) -> None:
    runs = [run("a", tmp_path / "a"), run("b", tmp_path / "b")]
    order = drawing_order(runs)
    chosen = [*order["L1"][:3], order["L1"][8]]
    for of_run in runs:
        keep(of_run.folder, [attention(q, level=level) for level, q in chosen])
    assert summarize_attention(runs).questions == 3
    assert summarize_attention(runs, chosen).questions == 4
    only_picked = [run("a", tmp_path / "c")]
    keep(tmp_path / "c", [attention(order["L1"][8][1])])
    with pytest.raises(DataError, match="no drawn questions in common, only picked ones"):
        summarize_attention(only_picked)


def test_cases_name_questions(tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    rows = [{"level": "L1", "sample_id": "7", "interest": 2.0}, {"level": "L3", "sample_id": "7"}] * 2
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_cases(file) == [("L1", "7"), ("L3", "7")]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "holds no cases"),
        (b'{"level": "L1", "sample_id": "1"}\n{"level": "L1"}\n', r"cases\.jsonl:2: expected an object"),
        (b'{"level": "L1", "sample_id": 1}\n', r"cases\.jsonl:1: expected an object"),
        (b"[1]\n", r"cases\.jsonl:1: expected an object"),
        (b"\xff{\n", r"cases\.jsonl:1: not JSON"),
        (b"[" * 200_000, r"cases\.jsonl:1: not JSON"),
    ],
)
def test_a_damaged_file_of_cases(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "cases.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=told):
        read_cases(tmp_path / "cases.jsonl")

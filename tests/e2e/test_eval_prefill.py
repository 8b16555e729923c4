"""Answers that begin with given words (`engine.prefill`), on the miniature."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbr.config.asking import EngineConfig, EvalConfig
from sbr.config.inputs import DataConfig, FramesConfig, ModelConfig
from sbr.config.recipes import EvalRecipe
from sbr.errors import DataError
from sbr.eval.records import RECORDS, read_records
from sbr.eval.runner import evaluate
from sbr.mini.build import build


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mini") / "data"
    build(root, train=1, val=12, seed=5, workers=1)
    return root


def answers(root: Path, out: Path, prefill: str | None) -> dict[str, tuple[str, int | None]]:
    evaluate(
        EvalRecipe(
            model=ModelConfig(path="sbr:mini", dtype="float32"),
            data=DataConfig(root=root),
            output_dir=out,
            frames=FramesConfig(height=84, width=84),
            engine=EngineConfig(prefill=prefill),
            eval=EvalConfig(levels=("L2",), max_new_tokens=32, batch_size=4),
        )
    )
    return {record.sample_id: (record.response, record.completion_tokens) for record in read_records(out / RECORDS)}


def test_the_own_beginning_leads_to_the_own_answer_and_another_to_another(root: Path, tmp_path: Path) -> None:
    free = answers(root, tmp_path / "free", None)
    looks = answers(root, tmp_path / "looks", "<think> i see")
    assert all(response.startswith("<think> i see ") for response, _ in looks.values())
    own = [key for key, (response, _) in free.items() if response.startswith("<think> i see ")]
    assert 0 < len(own) < len(free)
    assert {key: looks[key] for key in own} == {key: free[key] for key in own}


def test_special_tokens_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"engine.prefill: it holds the special token <\|im_end\|>"):
        answers(root, tmp_path / "special", "<think><|im_end|>")


def test_other_engines_refuse_it() -> None:
    with pytest.raises(ValueError, match="prefill is for kind native, and kind is endpoint"):
        EngineConfig(kind="endpoint", url="http://localhost:1/v1", prefill="<think>")

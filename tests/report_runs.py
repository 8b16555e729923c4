"""Finished runs written by hand, as their commands leave them: what `sbr report` reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sbr.config.load import validate, write_resolved
from sbr.config.recipes import EvalRecipe, GrpoRecipe, SftRecipe
from sbr.eval.records import RECORDS, SUMMARY, record_line
from sbr.eval.summary import summarize, write_summary
from sbr.resume.folder import RECIPE
from sbr.reward.answer import extract_answer
from sbr.train.run_folder import FINAL, METRICS
from sbr.types import LETTERS, EvalRecord, Sample

OPTIONS = ("open tap", "close tap", "take cup", "put cup")


def answer(sample: Sample, letter: str, named: str | None = None, **values: Any) -> EvalRecord:
    """An answer to `sample` whose reasoning names the option `named` (default: the one that it chooses)."""
    option = sample.options[LETTERS.index(named or letter)]
    return answered(sample, f"<think>i see it . next is {option}</think><answer>{letter}</answer>", **values)


def answered(sample: Sample, response: str, **values: Any) -> EvalRecord:
    letter = extract_answer(response, sample.options, "official").letter
    record = EvalRecord(
        sample_id=sample.sample_id,
        level=sample.split,
        domain=sample.domain,
        sample_index=0,
        prompt=f"the prompt of {sample.sample_id}",
        options=sample.options,
        response=response,
        extracted=letter,
        gold=sample.gold,
        correct=letter == sample.gold,
        rule="official",
        completion_tokens=15,
        truncated=False,
        seconds=0.1,
        video_id=sample.video_id,
        scenario=sample.scenario,
        rotation=sample.rotation,
    )
    return replace(record, **values)


def sample_of(number: int, level: str = "L1", gold: str = "A", domain: str = "Daily life") -> Sample:
    """A question without media."""
    return Sample(
        sample_id=str(number),
        split=level,
        domain=domain,
        scenario=None,
        video_source="EpicKitchens",
        video_id=f"P{number}",
        video=None,
        image=None,
        task_goal="make tea",
        question="What next?",
        options=OPTIONS,
        gold=gold,
    )


def evaluation(folder: Path, records: Sequence[EvalRecord], root: Path = Path("/nowhere"), **values: Any) -> Path:
    """The folder of a finished evaluation; `values` such as model="grpo/final", control="blind" are its recipe's."""
    model = values.pop("model", "sbr:mini")
    frames = values.pop("frames", {"height": 84, "width": 84})
    levels = list(dict.fromkeys(record.level for record in records))
    recipe = validate(
        EvalRecipe,
        {
            "model": {"path": str(model), "dtype": "float32"},
            "data": {"root": str(root)},
            "output_dir": str(folder),
            "frames": frames,
            "eval": {"levels": levels, **values},
        },
        source="a test",
    )
    folder.mkdir(parents=True)
    write_resolved(recipe, folder / RECIPE)
    (folder / RECORDS).write_text("".join(map(record_line, records)), encoding="utf-8")
    write_summary(summarize(records, recipe), folder / SUMMARY)
    return folder


def training(folder: Path, kind: str = "grpo", steps: int = 4, finished: bool = True, **values: Any) -> Path:
    """The folder of a training run; `values` such as train={"seed": 1} are sections of its recipe."""
    recipe = {"model": {"path": "sbr:mini"}, "data": {"root": "/nowhere"}, "output_dir": str(folder), **values}
    kinds = {"grpo": GrpoRecipe, "sft": SftRecipe}
    folder.mkdir(parents=True, exist_ok=True)
    write_resolved(validate(kinds[kind], recipe, source="a test"), folder / RECIPE)
    lines = [_grpo_line(step) if kind == "grpo" else _sft_line(step) for step in range(1, steps + 1)]
    (folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    if finished:
        (folder / FINAL).mkdir(exist_ok=True)
    return folder


def _grpo_line(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "reward_mean": 0.4 + 0.01 * step,
        "accuracy": 0.4 + 0.01 * step,
        "accuracy_rewarded": 0.35,
        "seconds": 6.0,
        "seconds_validation": 1.5,
        "validation_accuracy": {},
    }


def _sft_line(step: int) -> dict[str, Any]:
    return {"step": step, "loss": 2.0 / step, "seconds": 3.0, "seconds_validation": 0.0, "validation_accuracy": {}}

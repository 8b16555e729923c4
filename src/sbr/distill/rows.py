"""Kept answers -> rows to learn from, in the official CoT format (`sbr.data.rows.annotations.CotRow`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sbr.config.recipes import DistillRecipe
from sbr.data.rows.annotations import ChatMessage, ChatPart, CotRow, TrainingRow, read_training_rows, write_rows
from sbr.data.rows.layout import DataRoot
from sbr.data.sources.select import load_training
from sbr.distill.another import NONE_EXCHANGED, Exchanged
from sbr.distill.samples import LINES, SampleKey, TeacherSample
from sbr.errors import ConfigError
from sbr.prompt.template import chat_messages
from sbr.types import Sample

COT_FILE = "training_with_cot.jsonl"


@dataclass(frozen=True, slots=True)
class Asked:
    """One training question: as it is asked, with its options drawn, and its row on disk."""

    sample: Sample
    row: TrainingRow


def load_asked(recipe: DistillRecipe) -> list[Asked]:
    """The training questions of the recipe, in the order of the file.

    Raises ConfigError for a source whose clips are no files of their own, which rows of chats could not name; and as
    `load_training`.
    """
    if recipe.data.source != "seed_bench_r1":
        raise ConfigError(
            f"data.source is {recipe.data.source}: its clips are ranges of longer videos, and a CoT row names a file "
            "for its video; distil from data in the layout of the SEED-Bench-R1 release"
        )
    samples = load_training(recipe.data)
    rows = read_training_rows(DataRoot(recipe.data.root).annotation_file(recipe.data.train_file))
    return [Asked(sample, row) for sample, row in zip(samples, rows[: len(samples)], strict=True)]


def write_cot_file(
    file: Path,
    asked: Sequence[Asked],
    judged: Sequence[TeacherSample],
    recipe: DistillRecipe,
    exchanged: Mapping[SampleKey, Exchanged] = NONE_EXCHANGED,
) -> int:
    """Write a row for every kept answer, in the order of the questions, then of the answers; the number of rows.

    An answer in `exchanged` is written with another reasoning.  The file depends on the questions, the answers and the
    recipe only.  Without a kept answer there is none: readers refuse an empty one, and one of an earlier, more generous
    filter is removed.
    """
    kept: dict[str, list[TeacherSample]] = {}
    for sample in judged:
        if sample.verdict == "kept":
            kept.setdefault(sample.sample_id, []).append(sample)
    pairs = [(question, sample) for question in asked for sample in kept.get(question.sample.sample_id, ())]
    if not pairs:
        file.unlink(missing_ok=True)
        return 0
    root = DataRoot(recipe.data.root).path
    found = [exchanged.get(LINES.key(sample)) for _, sample in pairs]
    rows = [
        CotRow(
            prompt=_chat(question.sample, root),
            response=other.response if other else sample.response,
            sample_id=sample.sample_id,
        )
        for (question, sample), other in zip(pairs, found, strict=True)
    ]
    beside = [_beside(*pair, recipe, other) for pair, other in zip(pairs, found, strict=True)]
    write_rows(file, rows, beside)
    return len(rows)


def _chat(sample: Sample, root: Path) -> tuple[ChatMessage, ...]:
    """The chat that was asked, with paths below the data root in the place of the media."""
    media = {"video": sample.video, "image": sample.image}
    return tuple(
        ChatMessage(
            message["role"],
            tuple(ChatPart(part["type"], _value(part, media, root)) for part in message["content"]),
        )
        for message in chat_messages(sample)
    )


def _value(part: Mapping[str, str], media: Mapping[str, object], root: Path) -> str:
    if part["type"] == "text":
        return part["text"]
    path = media[part["type"]]
    if not isinstance(path, Path):
        raise ConfigError(f"{path} is no file of its own, so a CoT row cannot name it")
    return path.relative_to(root).as_posix()


def _beside(question: Asked, sample: TeacherSample, recipe: DistillRecipe, other: Exchanged | None) -> dict[str, Any]:
    """The row's own fields, the options as they were asked, and where the response comes from."""
    own = {name: value for name, value in asdict(question.row).items() if value is not None}
    config = recipe.distill
    return own | {
        "options": sample.options,
        "golden_choice_idx": sample.gold,
        "provenance": {
            "teacher": recipe.model.path,
            "engine": recipe.engine.kind,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "top_k": config.top_k,
            "max_new_tokens": config.max_new_tokens,
            "seed": config.seed,
            "sample_index": sample.sample_index,
            "rule": config.rule,
            **({} if other is None else {"reasoning_of": other.source._asdict()}),
        },
    }

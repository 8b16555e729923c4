"""A finished evaluation as the analysis sees it: its recipe, its records and, on demand, its questions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sbr.config.load import read_resolved
from sbr.config.recipes import EvalRecipe
from sbr.data.sources.select import load_questions
from sbr.errors import ConfigError, DataError
from sbr.eval.controls import controlled
from sbr.eval.records import RecordKey, key_of_answer, read_records, records_file
from sbr.resume.folder import RECIPE, read_json
from sbr.train.run_folder import FINAL
from sbr.types import EvalRecord, Sample


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedRun:
    """Example: EvaluatedRun("GRPO", Path("runs/demo/eval_grpo_0"), recipe, 900 records)."""

    name: str
    """How tables and pages call it."""
    folder: Path
    """That `sbr eval` wrote; what is analysed of it is kept in folders of its own inside."""
    recipe: EvalRecipe
    records: tuple[EvalRecord, ...]
    """Every answer, in the order of the file."""

    def with_data(self, root: Path) -> EvaluatedRun:
        """The same, whose data now lie in `root`."""
        data = self.recipe.data.model_copy(update={"root": root})
        return replace(self, recipe=self.recipe.model_copy(update={"data": data}))

    def questions(self) -> dict[RecordKey, Sample]:
        """The question of every record, read from the data root again.

        Raises DataError when a record's question is gone or has other options or another right letter.
        """
        samples = {
            key_of_answer(sample, 0): sample
            for level in dict.fromkeys(record.level for record in self.records)
            for sample in controlled(load_questions(self.recipe.data, level, self.recipe.eval.limit), self.recipe.eval)
        }
        found: dict[RecordKey, Sample] = {}
        for record in self.records:
            key = RecordKey(record.level, record.sample_id, record.sample_index, record.rotation)
            sample = samples.get(key._replace(sample_index=0))
            if sample is None or (sample.options, sample.gold) != (record.options, record.gold):
                state = "is not there" if sample is None else "has other options or another right letter"
                raise DataError(
                    f"{self.folder}: question {record.sample_id} of {record.level} {state} in {self.recipe.data.root}; "
                    "name the data that was evaluated with --data"
                )
            found[key] = sample
        return found


def read_evaluated(folders: Mapping[str, Path]) -> tuple[EvaluatedRun, ...]:
    """Finished evaluations by name, in order.

    Raises ConfigError for a folder that is none, DataError for one that is not finished or damaged.
    """
    return tuple(_read(name, folder) for name, folder in folders.items())


def training_run_of(evaluated: EvaluatedRun) -> Path | None:
    """The folder of the training run whose model was asked: RUN of model.path RUN/final, RUN/checkpoint-100 or
    RUN/cold_start/final (then RUN/cold_start).

    None when the path is none of these (a base model, a merged adapter), and when no training run lies there any more.
    """
    model = Path(evaluated.recipe.model.path).expanduser()
    if model.name != FINAL and not re.fullmatch(r"checkpoint-\d+", model.name):
        return None
    recipe = model.parent / RECIPE
    if not recipe.is_file():
        return None
    trained = "train" in read_json(recipe, f"restore it, or move {model.parent} away")
    return model.parent if trained else None


def _read(name: str, folder: Path) -> EvaluatedRun:
    if not (folder / RECIPE).is_file():
        raise ConfigError(f"{folder} is not the folder of an evaluation: there is no {RECIPE}; `sbr eval` writes it")
    recipe = read_resolved(EvalRecipe, folder / RECIPE)
    return EvaluatedRun(name, folder, recipe, tuple(read_records(records_file(folder))))

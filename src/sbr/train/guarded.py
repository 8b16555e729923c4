"""The guard of a run: keeps its looks and the model of the best one, and says when the run has become worse.

What it knows is a function of validation.jsonl, which a resumed run cuts to its newest checkpoint like every journal:
it warns and stops where the uninterrupted one does.  A look counts while the same questions are asked in the same way;
after a change of [validation] the guard begins anew, and says so.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbr.config.recipes import TrainRecipe
from sbr.config.training import GrpoValidationConfig
from sbr.errors import CheckpointError, ConfigError
from sbr.train import journal, run_folder
from sbr.train.best import best_folders, remove_worse
from sbr.train.checkpoint import save_best
from sbr.train.guard import Look, Verdict, discordant, fewest_questions, judge
from sbr.train.trainer import Trainer
from sbr.train.validation import Answered, Seen, Validation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the guard of a run watches.  `validation.sets` holds a question at least."""

    recipe: TrainRecipe
    config: GrpoValidationConfig
    validation: Validation


def guard_of(recipe: TrainRecipe, config: GrpoValidationConfig, validation: Validation, total: int) -> Guarded | None:
    """None where it is off or there is nothing to watch.

    Raises ConfigError where it is to stop the run and never could: without questions, or with too few.
    """
    stops = config.guard == "stop"
    questions = sum(map(len, validation.sets.values()))
    if config.guard == "off" or not (questions or stops):
        return None
    if not questions:
        raise ConfigError(
            'validation.guard is "stop", and there are no questions to tell by; name levels in validation.levels or '
            "hold training questions out with validation.held_out"
        )
    fewest = fewest_questions(max(1, _looks_due(validation, 0, total)), config.guard_alpha)
    if questions < fewest and stops:
        raise ConfigError(
            f'validation.guard is "stop", and with {questions} questions no fall is significant ({fewest} are the '
            "least, and hundreds are needed for a fall that leaves something: docs/algorithms.md); raise "
            "validation.questions or validation.held_out"
        )
    return Guarded(recipe, config, validation) if questions >= fewest else None


class Guard:
    """Of one run, the same on all processes.  `done` steps are taken of `total`.

    Reads validation.jsonl, after `run_folder.open_folder` has cut it.
    """

    def __init__(self, guarded: Guarded, done: int, total: int) -> None:
        self._recipe, self._config = guarded.recipe, guarded.config
        self._stops = guarded.config.guard == "stop"
        folder = guarded.recipe.output_dir
        every = _read(folder / run_folder.LOOKS)
        self._looks = [look for step, sets in every.items() if (look := _same(step, sets, guarded.validation))]
        kept = {run_folder.step_of(path) for path in best_folders(folder)}
        self._kept = _best([look for look in self._looks if look.step in kept])
        self._planned = max(0, len(self._looks) - 1) + _looks_due(guarded.validation, done, total)
        self._anew = bool(every) or done > 0
        self._known = len(self._looks) > 1 and self._alarms(judge(self._looks, self._planned))
        self.stopped = False
        """The run is to end after this step."""

    @property
    def needs_look(self) -> bool:
        """Before the next step: there is nothing to compare with, or to go back to."""
        return not self._looks or (self._stops and self._kept is None)

    def begin(self, step: int, seen: Seen, trainer: Trainer) -> None:
        """Note a look before step `step` + 1, where `needs_look`.  Every process has to call it, with the same look."""
        if trainer.accelerator.is_main_process and self._anew:
            what = "no model of an earlier look is kept" if self._looks else "no earlier look asked these questions"
            logger.warning("the guard begins at step %d: %s", step, what)
        self._note(step, seen, trainer)

    def take(self, step: int, seen: Seen, trainer: Trainer) -> dict[str, float]:
        """Note a look and judge it; return the figures of metrics.jsonl.  Every process has to call it, with the same
        look."""
        self._note(step, seen, trainer)
        main = trainer.accelerator.is_main_process
        verdict = judge(self._looks, self._planned)
        alarm = self._alarms(verdict)
        if alarm and not self._known and main:
            logger.warning(self._text(verdict))
        self._known = alarm
        self.stopped = alarm and self._stops
        best = self._kept or max(self._looks, key=lambda look: look.right)
        return {
            "p_start": verdict.p_start,
            "p_best": verdict.p_best,
            "best_step": best.step,
            "stopped": int(self.stopped),
        }

    def _note(self, step: int, seen: Seen, trainer: Trainer) -> None:
        """The model is kept before the look is written down: what a journal names is there."""
        look = Look(step, tuple(right for found in seen.answered for right in found.right))
        if not self._looks or self._looks[-1].step < step:
            self._looks.append(look)
        main = trainer.accelerator.is_main_process
        if self._stops and (self._kept is None or look.right > self._kept.right):
            save_best(self._recipe, step, trainer)
            self._kept = look
            if main:
                remove_worse(self._recipe.output_dir, self._needed())
        if main:
            journal.append(self._recipe.output_dir / run_folder.LOOKS, seen.answered)

    def _alarms(self, verdict: Verdict) -> bool:
        return verdict.p_value <= self._config.guard_alpha

    def _text(self, verdict: Verdict) -> str:
        now, then = verdict.now, verdict.better
        lost, won = discordant(then, now)
        return (
            f"step {now.step}: {now.right} of {len(now.right_Q)} validation questions are right, after step "
            f"{then.step} {then.right} were ({lost} lost, {won} won; p {verdict.p_value:.2g} after correction for all "
            "looks): the run has become worse"
        ) + ("" if self._stops else "; end it, or let --validation.guard stop do so")

    def _needed(self) -> set[int]:
        """Steps whose models may be asked for: the best one now, and as of every checkpoint, or of the start without
        one."""
        folder = self._recipe.output_dir
        borders = [run_folder.step_of(path) for path in run_folder.checkpoints(folder)] or [0]
        bests = [_best([look for look in self._looks if look.step <= border]) for border in borders]
        return {best.step for best in [*bests, self._kept] if best is not None}


def _best(looks: Sequence[Look]) -> Look | None:
    return max(looks, key=lambda look: look.right, default=None)


def _looks_due(validation: Validation, done: int, total: int) -> int:
    return sum(validation.due(step, total) for step in range(done + 1, total + 1))


def _same(step: int, sets: Mapping[str, Answered], validation: Validation) -> Look | None:
    """The look after `step`, if its questions were those of `validation`, asked in the same way."""
    right: list[bool] = []
    for name in validation.sets:
        then = sets.get(name)
        if then is None or then != validation.answered(step, name, then.letters):
            return None
        right += then.right
    return Look(step, tuple(right))


def _read(file: Path) -> dict[int, dict[str, Answered]]:
    """Step -> set -> the last record.  All lines are whole; CheckpointError, with file:line, for one that is no
    record."""
    found: dict[int, dict[str, Answered]] = {}
    for number, values in enumerate(_lines(file), start=1):
        try:
            record = Answered(
                step=values["step"],
                set=values["set"],
                rule=values["rule"],
                max_new_tokens=values["max_new_tokens"],
                sample_ids=tuple(values["sample_ids"]),
                golds=tuple(values["golds"]),
                letters=tuple(values["letters"]),
            )
            if not len(record.sample_ids) == len(record.golds) == len(record.letters):
                raise ValueError("its lists differ in length")
            found.setdefault(record.step, {})[record.set] = record
        except (TypeError, ValueError, LookupError) as error:
            raise CheckpointError(
                f"{file}:{number}: not a record of a look ({error}); restore the file, or remove it: the guard then "
                "compares with where the run stands"
            ) from None
    return found


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        with file.open(encoding="utf-8") as stream:
            yield from map(json.loads, stream)

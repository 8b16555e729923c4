"""What a guard leaves in the folder of a run: models of best looks, and that it has ended the run.

Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from sbr.train import journal
from sbr.train.run_folder import METRICS, newest_checkpoint, numbered, remove, step_of


def best_folder(folder: Path, step: int) -> Path:
    """The model of a look that was the best so far; an ordinary Hugging Face folder."""
    return folder / f"best-{step}"


def best_folders(folder: Path) -> list[Path]:
    return numbered(folder, "best")


def remove_worse(folder: Path, needed: Set[int]) -> None:
    """Remove the models of best looks but those after the steps `needed`."""
    for path in best_folders(folder):
        if step_of(path) not in needed:
            remove(path)


@dataclass(frozen=True, slots=True)
class Stopped:
    """Where its guard has ended a run.  Example: Stopped(70, 20)."""

    step: int
    best: int
    """The step whose model final/ holds."""


def stopped_by_guard(folder: Path) -> Stopped | None:
    """None unless its guard has ended the run at its newest checkpoint."""
    newest = newest_checkpoint(folder)
    values = journal.record(folder / METRICS, step_of(newest)) if newest else None
    found = values.get("guard") if values else None
    if newest is None or not isinstance(found, dict) or not found.get("stopped"):
        return None
    return Stopped(step_of(newest), int(found["best_step"]))

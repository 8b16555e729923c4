"""What a study hands to its statistics: which arm, base and seed each finished run belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STUDY_JSON = "study.json"
"""In the folder of a study: what its statistics found (`sbr.report.study_tables`)."""


@dataclass(frozen=True, slots=True)
class StudyRun:
    """Example: arm "SFT, then GRPO", base "mini", seed 2, its answers in runs/study/mini/sft_grpo/seed_2/eval."""

    arm: str
    base: str
    """Name of the checkpoint that post-training began with."""
    seed: int
    """Of post-training."""
    evaluation: Path
    """Folder of the finished evaluation (`sbr eval`)."""
    stages: tuple[Path, ...]
    """Folders of what led to the model, in the order in which it ran: distillations and trainings; none for a base."""

"""What `sbr eval` and `sbr distill` show while they ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from sbr.cli.progress import Bars, steps_progress
from sbr.config.asking import DistillConfig
from sbr.types import EvalRecord

if TYPE_CHECKING:
    from rich.progress import TaskID

    from sbr.distill.samples import TeacherSample

RecordT = TypeVar("RecordT")


class AskingBar(Generic[RecordT]):
    """A progress bar over answers; a `sbr.rollout.ask.Watcher`.

    `figures` is told of all answers that are there, then of every new list, and gives a few words to show.
    """

    def __init__(self, figures: Callable[[Sequence[RecordT]], str], bars: Callable[[], Bars] = steps_progress) -> None:
        self._progress = bars()
        self._figures = figures
        self._task: TaskID | None = None
        self._own = 0

    def __enter__(self) -> AskingBar[RecordT]:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def began(self, done: Sequence[RecordT], total: int) -> None:
        self._own = len(done)
        self._progress.start()
        self._task = self._progress.add_task("answers", total=total, completed=self._own, figures=self._figures(done))

    def answered(self, new: Sequence[RecordT], others: int) -> None:
        self._own += len(new)
        if self._task is not None:
            self._progress.update(self._task, completed=self._own + others, figures=self._figures(new))

    def waits(self, others: int) -> None:
        if self._task is not None:
            text = "waiting for the other processes"
            self._progress.update(self._task, completed=self._own + others, description=text)


class RightSoFar:
    """ "L1 45.2 % right": the level at hand and how it goes."""

    def __init__(self) -> None:
        self._answers: Counter[str] = Counter()
        self._right: Counter[str] = Counter()

    def __call__(self, new: Sequence[EvalRecord]) -> str:
        if not new:
            return ""
        self._answers.update(record.level for record in new)
        self._right.update(record.level for record in new if record.correct)
        level = new[-1].level
        return f"{level} {100 * self._right[level] / self._answers[level]:.1f} % right"


class KeptSoFar:
    """ "kept 31.0 %" of the answers to questions whose answers are all there."""

    def __init__(self, config: DistillConfig) -> None:
        self._config = config
        self._open: dict[str, list[TeacherSample]] = {}
        self._judged = self._kept = 0

    def __call__(self, new: Sequence[TeacherSample]) -> str:
        from sbr.distill.select import judge

        for sample in new:
            answers = self._open.setdefault(sample.sample_id, [])
            answers.append(sample)
            if len(answers) == self._config.samples:
                self._judged += len(answers)
                self._kept += sum(answer.verdict == "kept" for answer in judge(answers, self._config))
                del self._open[sample.sample_id]
        return f"kept {100 * self._kept / self._judged:.1f} %" if self._judged else ""

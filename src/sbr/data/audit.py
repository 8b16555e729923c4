"""`sbr data check`: what a data root holds, and everything that is wrong with it, without opening the media."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sbr.data.annotations import CotRow, EgoPlanRow, Row, TrainingRow, ValidationRow, scan_rows
from sbr.data.benchmark import DAILY_LIFE, LEVELS, Level, domain_problem
from sbr.data.layout import DataRoot
from sbr.data.options import draw_options, reads_as
from sbr.errors import RowProblem

Progress = Callable[[int, int], None]
"""Called with (bytes of annotations checked, bytes in all)."""


@dataclass(frozen=True, slots=True)
class SplitFile:
    """An annotation file the benchmark knows by name."""

    split: str
    name: str
    kind: type[Row]
    required: bool
    official_rows: int
    level: Level | None = None


FILES = (
    SplitFile("train", "training_6k.jsonl", TrainingRow, True, 6000),
    SplitFile("train (CoT)", "training_with_cot_6k.jsonl", CotRow, False, 6000),
    *(SplitFile(level.name, level.file, ValidationRow, True, level.official_rows, level) for level in LEVELS.values()),
)


@dataclass(frozen=True, slots=True)
class MissingMedium:
    """A medium that a row names and that is not usable; `reason` is "missing", "empty", "not a file" or what the
    system says.
    """

    file: Path
    line: int
    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path} ({self.reason}; {self.file.name}:{self.line})"


@dataclass(frozen=True, slots=True)
class DomainCount:
    domain: str
    rows: int
    official: int | None


@dataclass(frozen=True, slots=True)
class SplitAudit:
    """What one annotation file holds.  `rows` counts the good ones; every bad line is in `problems`."""

    split: str
    file: Path
    rows: int
    bad_rows: int
    official_rows: int | None
    domains: tuple[DomainCount, ...]
    without_video: int
    gold_letters: tuple[tuple[str, int], ...]
    """How often each letter is right; for training rows under the default seed 0.  Empty for CoT rows."""
    duplicate_ids: int
    problems: tuple[RowProblem, ...]
    missing: tuple[MissingMedium, ...]
    notes: tuple[RowProblem, ...]
    """Worth knowing but no reason to refuse the row: options that read the same."""


@dataclass(frozen=True, slots=True)
class Audit:
    root: Path
    splits: tuple[SplitAudit, ...]
    absent: tuple[str, ...]
    """Annotation files without which a split cannot be used."""
    not_checked: tuple[str, ...]
    """Files in annotations/ under names that no split has."""

    @property
    def ok(self) -> bool:
        return not self.absent and not any(split.problems or split.missing for split in self.splits)

    @property
    def problems(self) -> tuple[RowProblem, ...]:
        return tuple(problem for split in self.splits for problem in split.problems)

    @property
    def missing(self) -> tuple[MissingMedium, ...]:
        return tuple(medium for split in self.splits for medium in split.missing)


def audit_root(root: Path, progress: Progress = lambda done, total: None) -> Audit:
    """Check every row of every known annotation file and look for the media they name.

    Other files called training*.jsonl are checked as training rows.  Raises DataError if `root` is not a data root.
    """
    data = DataRoot(root)
    there = data.annotation_names()
    known = {known.name for known in FILES}
    others = [SplitFile(name, name, TrainingRow, False, 0) for name in there if _is_other_training(name, known)]
    files = [known for known in (*FILES, *others) if known.name in there]
    total = sum(data.annotation_file(known.name).stat().st_size for known in files)
    done = 0
    splits = []
    for known_file in files:
        tally = _Tally(data, known_file)
        for size in tally.lines():
            done += size
            progress(done, total)
        splits.append(tally.result())
    return Audit(
        root=data.path,
        splits=tuple(splits),
        absent=tuple(known.name for known in FILES if known.required and known.name not in there),
        not_checked=tuple(name for name in there if name not in {file.name for file in files}),
    )


def _is_other_training(name: str, known: set[str]) -> bool:
    return name not in known and name.startswith("training") and "cot" not in name


@dataclass(slots=True)
class _Tally:
    """Counts one file while it is read."""

    data: DataRoot
    known: SplitFile
    rows: int = 0
    bad_rows: int = 0
    without_video: int = 0
    duplicate_ids: int = 0
    domains: Counter[str] = field(default_factory=Counter)
    gold: Counter[str] = field(default_factory=Counter)
    problems: list[RowProblem] = field(default_factory=list)
    missing: list[MissingMedium] = field(default_factory=list)
    notes: list[RowProblem] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.data.path / "annotations" / self.known.name

    def lines(self) -> Iterator[int]:
        """Yields the bytes of every line after counting it."""
        for line in scan_rows(self.file, self.known.kind):
            problems = list(line.problems)
            if isinstance(line.row, ValidationRow) and self.known.level:
                problem = domain_problem(self.known.level, line.row, self.file, line.number)
                problems += [problem] if problem else []
            if line.row is not None:
                problems += self._media(line.row, line.number)
            if problems or line.row is None:
                self.bad_rows += 1
                self.duplicate_ids += any(
                    problem.field == "sample_id" and "as on" in problem.found for problem in problems
                )
                self.problems += problems
            else:
                self._count(line.row, line.number)
            yield line.size

    def result(self) -> SplitAudit:
        level = self.known.level
        official = {reads_as(name): (name, count) for name, count in level.official_domains.items()} if level else {}
        names = {reads_as(name) for name in self.domains}
        domains = [
            DomainCount(name, count, official.get(reads_as(name), (name, None))[1])
            for name, count in sorted(self.domains.items())
        ]
        domains += [DomainCount(name, 0, count) for key, (name, count) in official.items() if key not in names]
        return SplitAudit(
            split=self.known.split,
            file=self.file,
            rows=self.rows,
            bad_rows=self.bad_rows,
            official_rows=self.known.official_rows or None,
            domains=tuple(domains),
            without_video=self.without_video,
            gold_letters=tuple(sorted(self.gold.items())),
            duplicate_ids=self.duplicate_ids,
            problems=tuple(self.problems),
            missing=tuple(self.missing),
            notes=tuple(self.notes),
        )

    def _count(self, row: Row, line: int) -> None:
        self.rows += 1
        if isinstance(row, TrainingRow):
            self.domains[DAILY_LIFE] += 1
            self.gold[draw_options(0, row.sample_id, row.answer, row.negative_answers)[1]] += 1
        elif isinstance(row, ValidationRow):
            self.domains[row.domain or DAILY_LIFE] += 1
            self.gold[row.golden_choice_idx] += 1
            if len({reads_as(choice) for choice in row.choices}) < len(row.choices):
                self.notes.append(RowProblem(self.file, line, "choices", "four different ones", repr(row.choices)))

    def _media(self, row: Row, line: int) -> list[RowProblem]:
        """Note missing media and videoless rows; return media that lead out of the root."""
        media = list(_media_of(self.data, row))
        self.without_video += not any(is_video for _, _, is_video in media)
        problems = []
        for name, path, _ in media:
            if problem := self.data.escape(path, self.file, line, name):
                problems.append(problem)
            elif reason := _unusable(path):
                self.missing.append(MissingMedium(self.file, line, path, reason))
        return problems


def _media_of(data: DataRoot, row: Row) -> Iterator[tuple[str, Path, bool]]:
    """(field, path, is a video) of every medium of a row."""
    if isinstance(row, EgoPlanRow):
        yield "current_observation_basename", data.image(row.video_source, row.current_observation_basename), False
        if row.task_progress_metadata and row.video_basename is not None:
            yield "video_basename", data.video(row.video_source, row.video_basename), True
        return
    for i, message in enumerate(row.prompt):
        for j, part in enumerate(message.content):
            if part.type != "text":
                yield f"prompt[{i}].content[{j}].{part.type}", data.path / part.value, part.type == "video"


def _unusable(path: Path) -> str | None:
    try:
        if not path.exists():
            return "missing"
        if not path.is_file():
            return "not a file"
        return "empty" if path.stat().st_size == 0 else None
    except OSError as error:  # no permission, or a path longer than the system allows
        return str(error.strerror)

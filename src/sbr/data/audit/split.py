"""What one annotation file holds and everything that is wrong with it, counted while it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scipy.special import chdtrc

from sbr.data.audit.leakage import Content, question_key
from sbr.data.rows.annotations import CHOICE_LETTERS, CotRow, EgoPlanRow, Row, TrainingRow, ValidationRow, scan_rows
from sbr.data.rows.jsonl import shown
from sbr.data.rows.layout import DataRoot
from sbr.data.rows.options import draw_options, reads_as
from sbr.data.sources.cot import chat_problems
from sbr.data.sources.named_media import MediaIndex, RowPlace, media_of
from sbr.data.sources.seed_bench_r1 import DAILY_LIFE, Level, domain_problem, media_problems
from sbr.errors import RowProblem

FEWEST_FOR_BALANCE = 20
"""Rows from which on the chi-square distribution holds: five expected for each letter (W. G. Cochran 1954)."""


@dataclass(frozen=True, slots=True)
class SplitFile:
    """An annotation file the benchmark knows by name."""

    split: str
    name: str
    kind: type[Row]
    required: bool
    official_rows: int
    """Rows in the paper (arXiv 2503.24376, Table 1 and section 4); 0 where it gives none."""
    level: Level | None = None


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
    """Rows with an empty task_progress_metadata; CoT rows whose chat has no video."""
    gold_letters: tuple[tuple[str, int], ...]
    """How often each letter is right; for training rows under the default seed 0.  Empty for CoT rows."""
    gold_p: float | None
    """Probability of letters at least as uneven if all four were equally likely (`balance_p`)."""
    duplicate_ids: int
    repeated_options: int
    """Rows that offer two options which read the same; training rows: negatives that are never drawn because of it."""
    repeated_gold: int
    """Those among them in which a wrong option reads as the right one."""
    repeated_questions: int
    problems: tuple[RowProblem, ...]
    missing: tuple[MissingMedium, ...]
    notes: tuple[RowProblem, ...]
    """Worth knowing but no reason to refuse the row: repeated options and repeated questions."""


def balance_p(counts: Sequence[int]) -> float | None:
    """p-value of Pearson's chi-square test that all letters are equally likely; None for fewer than 20 rows.

    >>> round(balance_p([40, 20, 20, 20]), 4)
    0.0074
    """
    total = sum(counts)
    if total < FEWEST_FOR_BALANCE:
        return None
    expected = total / len(counts)
    statistic = sum((count - expected) ** 2 for count in counts) / expected
    return float(chdtrc(len(counts) - 1, statistic))


@dataclass(slots=True)
class Tally:
    """Counts one file while it is read: exhaust `lines`, then take `result` and `content`."""

    data: DataRoot
    known: SplitFile
    media: MediaIndex | None
    """None: nobody looks for the media."""
    content: Content
    rows: int = 0
    bad_rows: int = 0
    without_video: int = 0
    duplicate_ids: int = 0
    repeated_options: int = 0
    repeated_gold: int = 0
    repeated_questions: int = 0
    domains: Counter[str] = field(default_factory=Counter)
    gold: Counter[str] = field(default_factory=Counter)
    problems: list[RowProblem] = field(default_factory=list)
    missing: list[MissingMedium] = field(default_factory=list)
    notes: list[RowProblem] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.content.file

    def lines(self) -> Iterator[int]:
        """Yields the bytes of every line after counting it."""
        for line in scan_rows(self.file, self.known.kind):
            problems = list(line.problems)
            if isinstance(line.row, ValidationRow) and self.known.level:
                problem = domain_problem(self.known.level, line.row, self.file, line.number)
                problems += [problem] if problem else []
            if isinstance(line.row, CotRow):
                problems += chat_problems(self.data, line.row, self.file, line.number)
            elif line.row is not None:
                problems += media_problems(self.data, line.row, self.file, line.number)
            if line.row is not None:
                self._look(line.row, line.number)
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
            gold_p=None if self.known.kind is CotRow else balance_p([self.gold[letter] for letter in CHOICE_LETTERS]),
            duplicate_ids=self.duplicate_ids,
            repeated_options=self.repeated_options,
            repeated_gold=self.repeated_gold,
            repeated_questions=self.repeated_questions,
            problems=tuple(self.problems),
            missing=tuple(self.missing),
            notes=tuple(self.notes),
        )

    def _count(self, row: Row, line: int) -> None:
        self.rows += 1
        if isinstance(row, TrainingRow):
            self.domains[DAILY_LIFE] += 1
            self.gold[draw_options(0, row.sample_id, row.answer, row.negative_answers)[1]] += 1
            wanted = "texts that differ from each other and from the answer (a repeated one is never drawn)"
            self._options("negative_answers", [row.answer, *row.negative_answers], row.answer, wanted, line)
        elif isinstance(row, ValidationRow):
            self.domains[row.domain or DAILY_LIFE] += 1
            self.gold[row.golden_choice_idx] += 1
            self._options("choices", row.choices, row.answer, "four different ones", line)
        if isinstance(row, EgoPlanRow):
            self.content.videos[row.video_source, row.video_id] += 1
            first = self.content.questions.setdefault(question_key(row), line)
            if first != line:
                self.repeated_questions += 1
                found = f"that of line {first} (video, frame, goal and answer are the same)"
                self.notes.append(RowProblem(self.file, line, "question", "a new one", found))

    def _options(self, name: str, options: Sequence[str], gold: str, wanted: str, line: int) -> None:
        texts = [reads_as(option) for option in options]
        if len(set(texts)) == len(texts):
            return
        self.repeated_options += 1
        self.repeated_gold += texts.count(reads_as(gold)) > 1
        self.notes.append(RowProblem(self.file, line, name, wanted, shown(list(options))))

    def _look(self, row: Row, line: int) -> None:
        """Count videoless rows, and note media inside the root and which of them are missing."""
        media = list(media_of(self.data, row))
        self.without_video += not any(is_video for _, _, is_video in media)
        for name, path, is_video in media:
            if self.data.escape(path, self.file, line, name):
                continue
            self.content.media.add(path)
            if self.media and (reason := self.media.add(path, is_video, RowPlace(self.file, line))):
                self.missing.append(MissingMedium(self.file, line, path, reason))

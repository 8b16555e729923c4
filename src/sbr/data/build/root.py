"""`sbr data build`: annotations with goals -> a data root without its media, and a report of everything left out.

    <root>/annotations/training_6k.jsonl, validation_L1.jsonl, validation_L2.jsonl
    <root>/media.jsonl          the clips and pictures that rows name, and where to cut them (build_splits.Medium)
    <root>/build_report.json    counts

The three kinds of files are the same bytes for the same annotations, goals and options.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sbr.data.build.actions import Annotations
from sbr.data.build.questions import Built, NotOffered, Reason, build_questions
from sbr.data.build.splits import L1, L2, SPLITS, TRAIN, Medium, media_of_question, rows_of, split_videos
from sbr.data.rows.annotations import write_rows
from sbr.data.rows.fields import RowFields
from sbr.data.rows.jsonl import parse_lines
from sbr.data.rows.layout import ANNOTATIONS
from sbr.data.rows.lines import file_lines
from sbr.data.rows.options import NEGATIVES
from sbr.data.sources.seed_bench_r1 import LEVELS
from sbr.errors import AnnotationError, ConfigError, DataError, RowProblem
from sbr.files import replace_file

FILES = {TRAIN: "training_6k.jsonl", L1: LEVELS["L1"].file, L2: LEVELS["L2"].file}
REPORT = "build_report.json"
MEDIA = "media.jsonl"
_UNFINISHED = b"{}\n"


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What a build depends on beside its annotations and goals."""

    l1: float
    """Share of the videos of the participants that training has."""
    l2: float
    """Share of the participants."""
    negatives: int = 8
    """Wrong actions of a training row at most; three are drawn of them in training."""
    empty_progress: bool = False
    """Keep questions with nothing before: an image and no video."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.l1 < 1 and 0 <= self.l2 < 1):
            raise ConfigError(f"--l1 is {self.l1} and --l2 is {self.l2}, expected shares from 0 to below 1")
        if self.negatives < NEGATIVES:
            raise ConfigError(f"--negatives is {self.negatives}, expected {NEGATIVES} or more")


@dataclass(frozen=True, slots=True)
class SplitCount:
    questions: int
    videos: int
    participants: int
    letters: Mapping[str, int]
    """How often each letter is right; empty for training."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """`tried` actions of tasks = `kept` questions + everything in `dropped`."""

    source: str
    files: tuple[str, ...]
    read: Mapping[str, int]
    goals: Mapping[str, int]
    """Empty where the annotations have their own."""
    tasks: int
    tried: int
    kept: int
    dropped: Mapping[str, int]
    not_offered: Mapping[str, int]
    """Candidates for wrong actions that were passed over, by reason."""
    cut_steps: int
    """Steps of the progress that overlap the right action a little and were cut at the current observation."""
    splits: Mapping[str, SplitCount]
    media: int
    options: BuildOptions


def build(
    root: Path, files: Sequence[Path], annotations: Annotations, goals: Mapping[str, int], options: BuildOptions
) -> BuildReport:
    """Write the data root and return what it holds.

    Raises ConfigError where the options do not fit the source, DataError if `root` holds annotations of something
    else, if no question is left for training, or if a file cannot be written.
    """
    if options.l1 and not annotations.names_people:
        raise ConfigError(
            f"--l1 is {options.l1}, and these {annotations.source} annotations do not say who wears the camera: L1 "
            "asks about other videos of the same people. Set --l1 0; --l2 holds videos out"
        )
    claim(root)
    made = build_questions(annotations, options.empty_progress, options.negatives)
    splits = split_videos(annotations.participants, options.l1, options.l2, options.seed)
    rows = rows_of(made.questions, splits, annotations.source, options.seed)
    if not rows[TRAIN]:
        reasons = "; ".join(f"{count} {reason}" for reason, count in made.dropped.items())
        raise DataError(f"no question is left for training: {made.tried} actions of tasks were tried ({reasons})")
    media = {medium.file: medium for q in made.questions for medium in media_of_question(q, annotations.source)}
    report = _report(files, annotations, goals, made, rows, len(media), options)
    try:
        # A level of an earlier build beside new training rows could share videos with them, so all go first: a build
        # that is killed leaves too little, and no report.
        replace_file(root / REPORT, _UNFINISHED)
        for name in (*(f"{ANNOTATIONS}/{name}" for name in FILES.values()), MEDIA):
            (root / name).unlink(missing_ok=True)
        for split in SPLITS:
            if rows[split]:
                write_rows(root / ANNOTATIONS / FILES[split], rows[split])
        replace_file(root / MEDIA, "".join(json.dumps(asdict(m)) + "\n" for _, m in sorted(media.items())).encode())
        replace_file(root / REPORT, (json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise DataError(f"the questions cannot be written to {root}: {error}") from None
    return report


def claim(root: Path) -> None:
    """Make `root` a folder of this verb; DataError if it holds annotations that this verb did not write."""
    try:
        if (root / ANNOTATIONS).is_dir() and any((root / ANNOTATIONS).iterdir()) and not (root / REPORT).is_file():
            raise DataError(
                f"{root} holds annotations that `sbr data build` did not write (there is no {REPORT}); choose another "
                "folder for --out"
            )
        (root / ANNOTATIONS).mkdir(parents=True, exist_ok=True)
        if not (root / REPORT).exists():
            replace_file(root / REPORT, _UNFINISHED)  # a build that is killed half-way can be run again
    except OSError as error:
        raise DataError(f"{root} cannot be written: {error.strerror}") from None


def read_media(root: Path) -> list[Medium]:
    """The media of a build in the order of their names.

    Raises DataError if the list cannot be read, AnnotationError with every line that is no medium below `root`.
    """
    file = root / MEDIA
    media: list[Medium] = []
    problems: list[RowProblem] = []
    for line in parse_lines(file, file_lines(file)):
        if line.values is None:
            problems += [line.problem] if line.problem else []
            continue
        fields = RowFields(file, line.number, line.values)
        media.append(_medium(fields))
        problems += fields.problems
    if problems:
        raise AnnotationError(file, problems, "Build again: the list is written anew.")
    return media


def _medium(fields: RowFields) -> Medium:
    first, last = fields.frame("first_frame"), fields.frame("last_frame")
    if last < first and not fields.problems:
        fields.problem("last_frame", f"{first} (first_frame) or later", str(last))
    timed = not fields.absent("first_seconds") or not fields.absent("last_seconds")
    return Medium(
        file=fields.path("file"),
        video_id=fields.folder("video_id"),
        first_frame=first,
        last_frame=last,
        first_seconds=fields.seconds("first_seconds") if timed else None,
        last_seconds=fields.seconds("last_seconds") if timed else None,
    )


def _report(
    files: Sequence[Path],
    annotations: Annotations,
    goals: Mapping[str, int],
    made: Built,
    rows: Mapping[str, list[Any]],
    media: int,
    options: BuildOptions,
) -> BuildReport:
    counts = {}
    for split in SPLITS:
        videos = {row.video_id for row in rows[split]}
        gold = [row.golden_choice_idx for row in rows[split]] if split != TRAIN else []
        counts[split] = SplitCount(
            questions=len(rows[split]),
            videos=len(videos),
            participants=len({annotations.participants[video] for video in videos}),
            letters={letter: gold.count(letter) for letter in "ABCD"} if gold else {},
        )
    return BuildReport(
        source=annotations.source,
        files=tuple(file.name for file in files),
        read=annotations.counts,
        goals=goals,
        tasks=len(annotations.tasks),
        tried=made.tried,
        kept=len(made.questions),
        dropped={reason.value: made.dropped.get(reason, 0) for reason in Reason},
        not_offered={reason.value: made.not_offered.get(reason, 0) for reason in NotOffered},
        cut_steps=made.cut_steps,
        splits=counts,
        media=media,
        options=options,
    )

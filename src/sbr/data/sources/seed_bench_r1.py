"""The splits of SEED-Bench-R1: annotation files of a data root -> Samples ready to be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sbr.data.rows.annotations import EgoPlanRow, TrainingRow, ValidationRow, read_training_rows, read_validation_rows
from sbr.data.rows.layout import ANNOTATIONS, DataRoot
from sbr.data.rows.options import draw_options
from sbr.data.sources.source import EGO4D_LICENCE, EPIC_LICENCE, HubSource, QuestionSource
from sbr.errors import AnnotationError, DataError, RowProblem
from sbr.types import Sample

DAILY_LIFE = "Daily life"
"""Domain of the training set, L1 and L2, whose rows name none (arXiv 2503.24376, Table 2)."""


@dataclass(frozen=True, slots=True)
class Level:
    """One evaluation level.  The official counts are information: other data in the same layout has its own."""

    name: str
    file: str
    default_domain: str | None
    """Domain of a row that names none; None: every row must name one."""
    official_domains: Mapping[str, int]
    """Questions per domain (arXiv 2503.24376, Tables 1 and 2)."""

    @property
    def official_rows(self) -> int:
        return sum(self.official_domains.values())


LEVELS: Mapping[str, Level] = MappingProxyType(
    {
        "L1": Level("L1", "validation_L1.jsonl", DAILY_LIFE, MappingProxyType({DAILY_LIFE: 2432})),
        "L2": Level("L2", "validation_L2.jsonl", DAILY_LIFE, MappingProxyType({DAILY_LIFE: 923})),
        "L3": Level(
            "L3",
            "validation_L3.jsonl",
            None,
            MappingProxyType({DAILY_LIFE: 439, "Hobbies": 295, "Recreation": 183, "Work": 404}),
        ),
    }
)


def load_training_samples(root: Path, train_file: str, seed: int, limit: int | None) -> list[Sample]:
    """The questions of annotations/<train_file>, in the order of its rows; `limit` keeps the first ones.

    Three negatives are drawn, joined with the answer and shuffled, each row by itself from (seed, sample_id).
    Raises DataError if `root` is not a data root, AnnotationError with all problems of the file (the whole file is
    checked, also with a limit).
    """
    data = DataRoot(root)
    file = data.annotation_file(train_file)
    rows = read_training_rows(file)[:limit]
    _refuse_escapes(data, file, rows)
    samples = [training_sample(data, row, seed) for row in rows]
    data.require_media_folders(videos=any(sample.video for sample in samples))
    return samples


def load_level(root: Path, level: str, limit: int | None) -> list[Sample]:
    """The questions of one level ("L1", "L2", "L3"), options in the order of the file; `limit` keeps the first ones.

    Raises as `load_training_samples`, and AnnotationError for rows of L3 without a domain.
    """
    if level not in LEVELS:
        raise DataError(f"there is no level {level!r}; the levels are {', '.join(LEVELS)}")
    split = LEVELS[level]
    data = DataRoot(root)
    file = data.annotation_file(split.file)
    rows = read_validation_rows(file)
    missing = [problem for i, row in enumerate(rows, 1) if (problem := domain_problem(split, row, file, i))]
    if missing:
        raise AnnotationError(file, missing)
    _refuse_escapes(data, file, rows[:limit])
    samples = [level_sample(data, row, split) for row in rows[:limit]]
    data.require_media_folders(videos=any(sample.video for sample in samples))
    return samples


def domain_problem(level: Level, row: ValidationRow, file: Path, line: int) -> RowProblem | None:
    """What is wrong with the domain of a row: it names none where the level asks for one."""
    if row.domain is not None or level.default_domain is not None:
        return None
    return RowProblem(file, line, "domain", f"one such as {', '.join(level.official_domains)}", "missing")


def media_problems(data: DataRoot, row: EgoPlanRow, file: Path, line: int) -> list[RowProblem]:
    """Media of one row that lead out of the data root."""
    video = _video(data, row)
    image = data.image(row.video_source, row.current_observation_basename)
    problems = [data.escape(image, file, line, "current_observation_basename")]
    if video is not None:
        problems.append(data.escape(video, file, line, "video_basename"))
    return [problem for problem in problems if problem is not None]


def training_sample(data: DataRoot, row: TrainingRow, seed: int) -> Sample:
    options, gold = draw_options(seed, row.sample_id, row.answer, row.negative_answers)
    return _sample(data, row, "train", DAILY_LIFE, None, options, gold)


def level_sample(data: DataRoot, row: ValidationRow, level: Level) -> Sample:
    """`row` must have a domain where the level has no default one."""
    domain = row.domain or level.default_domain
    if domain is None:
        raise ValueError(f"sample {row.sample_id} of {level.name} has no domain")
    return _sample(data, row, level.name, domain, row.scenario, row.choices, row.golden_choice_idx)


def _refuse_escapes(data: DataRoot, file: Path, rows: Sequence[EgoPlanRow]) -> None:
    problems = [problem for i, row in enumerate(rows, 1) for problem in media_problems(data, row, file, i)]
    if problems:
        raise AnnotationError(file, problems)


def _video(data: DataRoot, row: EgoPlanRow) -> Path | None:
    """None for a row without progress, whether or not it names a video: so does the official code."""
    if not row.task_progress_metadata or row.video_basename is None:
        return None
    return data.video(row.video_source, row.video_basename)


def _sample(
    data: DataRoot,
    row: EgoPlanRow,
    split: str,
    domain: str,
    scenario: str | None,
    options: tuple[str, ...],
    gold: str,
) -> Sample:
    return Sample(
        sample_id=row.sample_id,
        split=split,
        domain=domain,
        scenario=scenario,
        video_source=row.video_source,
        video_id=row.video_id,
        video=_video(data, row),
        image=data.image(row.video_source, row.current_observation_basename),
        task_goal=row.task_goal,
        question=row.question,
        options=options,
        gold=gold,
        progress=row.task_progress_metadata,
    )


SOURCE = QuestionSource(
    levels={name: (f"{ANNOTATIONS}/{level.file}",) for name, level in LEVELS.items()},
    load_level=load_level,
    load_training=load_training_samples,
    training_files="training*.jsonl",
    folder=ANNOTATIONS,
    hub=HubSource(
        "TencentARC/SEED-Bench-R1",
        MappingProxyType(
            {"train": f"{ANNOTATIONS}/training_6k.jsonl", "cot": f"{ANNOTATIONS}/training_with_cot_6k.jsonl"}
            | {name: f"{ANNOTATIONS}/{level.file}" for name, level in LEVELS.items()}
        ),
        (EPIC_LICENCE, EGO4D_LICENCE),
    ),
)

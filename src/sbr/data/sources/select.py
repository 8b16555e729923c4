"""The benchmarks that can be read: data.source names one, its readers give Samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sbr.config.inputs import DataConfig
from sbr.config.section import Source
from sbr.data.rows.layout import ANNOTATIONS
from sbr.data.sources import egoplan, longvideobench
from sbr.data.sources import seed_bench_r1 as benchmark
from sbr.errors import ConfigError
from sbr.types import Sample


@dataclass(frozen=True, slots=True)
class SourceReaders:
    """How one source is read."""

    levels: Mapping[str, tuple[str, ...]]
    """Level -> the files below the data root, other than media, that decide its questions."""
    load_level: Callable[[Path, str, int | None], list[Sample]]
    """(root, level, limit) -> questions."""
    load_training: Callable[[Path, str, int, int | None], list[Sample]] | None
    """(root, train_file, seed, limit) -> questions; None for a source that is for evaluation only."""


SOURCES: Mapping[Source, SourceReaders] = MappingProxyType(
    {
        "seed_bench_r1": SourceReaders(
            {name: (f"annotations/{level.file}",) for name, level in benchmark.LEVELS.items()},
            benchmark.load_level,
            benchmark.load_training_samples,
        ),
        "egoplan": SourceReaders(
            {"L1": (egoplan.VALIDATION, egoplan.VIDEO_INFO), "L2": (egoplan.VALIDATION,)},
            egoplan.load_validation,
            egoplan.load_training,
        ),
        "egoplan2": SourceReaders({"L3": (egoplan.BENCH2,)}, egoplan.load_bench2, None),
        "longvideobench": SourceReaders(
            {longvideobench.LEVEL: (longvideobench.VALIDATION,)}, longvideobench.load_level, None
        ),
    }
)


def choose_levels(config: DataConfig, named: Sequence[str]) -> tuple[str, ...]:
    """The levels to ask: those `named`, or all of the source if none is.

    Raises ConfigError for a level that the source does not have, or that is named twice.
    """
    known = SOURCES[config.source].levels
    if strange := [level for level in named if level not in known]:
        raise ConfigError(f"eval.levels names {', '.join(strange)}, and {config.source} has {', '.join(known)}")
    if len(set(named)) != len(named):
        raise ConfigError(f"eval.levels is {list(named)}; name every level once")
    return tuple(named) or tuple(known)


def load_questions(config: DataConfig, level: str, limit: int | None) -> list[Sample]:
    """The questions of one level in the order of its file; `limit` keeps the first ones.

    Raises ConfigError for subtitles of a source without any, DataError and AnnotationError as its reader does.
    """
    if config.subtitles and config.source != "longvideobench":
        raise ConfigError(f"data.subtitles is set, and {config.source} has none; only longvideobench has subtitles")
    if config.subtitles:
        return longvideobench.load_level(config.root, level, limit, subtitles=True)
    return SOURCES[config.source].load_level(config.root, level, limit)


def training_path(config: DataConfig) -> Path:
    """Where `data.train_file` lies, or would lie."""
    folder = config.root / ANNOTATIONS if config.source == "seed_bench_r1" else config.root
    return folder / config.train_file


def load_training(config: DataConfig) -> list[Sample]:
    """The training questions.  Raises ConfigError for a source without any, and as its reader does."""
    reader = SOURCES[config.source].load_training
    if reader is None:
        trainable = [name for name, source in SOURCES.items() if source.load_training is not None]
        raise ConfigError(
            f"data.source is {config.source}, which is for evaluation only; train on {' or '.join(trainable)}"
        )
    return reader(config.root, config.train_file, config.seed, config.limit)

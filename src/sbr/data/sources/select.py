"""The benchmarks that can be read: data.source names one, its readers give Samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from sbr.config.inputs import DataConfig
from sbr.config.section import Source
from sbr.data.sources import egoplan, longvideobench, seed_bench_r1
from sbr.data.sources.source import QuestionSource
from sbr.errors import ConfigError
from sbr.types import Sample

SOURCES: Mapping[Source, QuestionSource] = MappingProxyType(
    {
        "seed_bench_r1": seed_bench_r1.SOURCE,
        "egoplan": egoplan.SOURCE,
        "egoplan2": egoplan.SOURCE_2,
        "longvideobench": longvideobench.SOURCE,
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
    source = SOURCES[config.source]
    load = source.load_subtitled if config.subtitles else source.load_level
    if load is None:
        having = [name for name, other in SOURCES.items() if other.load_subtitled is not None]
        raise ConfigError(
            f"data.subtitles is set, and {config.source} has none; only {', '.join(having)} has subtitles"
        )
    return load(config.root, level, limit)


def training_path(config: DataConfig) -> Path:
    """Where `data.train_file` lies, or would lie."""
    return config.root / SOURCES[config.source].folder / config.train_file


def load_training(config: DataConfig) -> list[Sample]:
    """The training questions.  Raises ConfigError for a source without any, and as its reader does."""
    reader = SOURCES[config.source].load_training
    if reader is None:
        trainable = [name for name, source in SOURCES.items() if source.load_training is not None]
        raise ConfigError(
            f"data.source is {config.source}, which is for evaluation only; train on {' or '.join(trainable)}"
        )
    return reader(config.root, config.train_file, config.seed, config.limit)

"""data.source picks the reader; levels that it does not have are refused before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from sbr.config.inputs import DataConfig
from sbr.config.section import Level, Source
from sbr.data.sources.select import SOURCES, choose_levels, load_questions, load_training
from sbr.errors import ConfigError, DataError


def config(source: Source, root: Path = Path("nowhere")) -> DataConfig:
    return DataConfig(root=root, source=source)


def test_every_name_of_the_recipes_is_known():
    assert set(SOURCES) == set(get_args(Source))
    assert {level for source in SOURCES.values() for level in source.levels} == set(get_args(Level))


def test_without_names_all_levels_of_the_source_are_asked():
    levels = {source: choose_levels(config(source), ()) for source in SOURCES}
    assert levels == {
        "seed_bench_r1": ("L1", "L2", "L3"),
        "egoplan": ("L1", "L2"),
        "egoplan2": ("L3",),
        "longvideobench": ("val",),
    }
    assert choose_levels(config("seed_bench_r1"), ("L3", "L1")) == ("L3", "L1")


def test_levels_of_another_source_are_refused():
    with pytest.raises(ConfigError, match=r"eval\.levels names val, and egoplan has L1, L2"):
        choose_levels(config("egoplan"), ("L1", "val"))
    with pytest.raises(ConfigError, match="every level once"):
        choose_levels(config("egoplan"), ("L1", "L1"))


@pytest.mark.parametrize("source", list(SOURCES))
def test_a_folder_of_something_else_is_refused_by_name(source, tmp_path):
    for level in SOURCES[source].levels:
        with pytest.raises(DataError, match=str(tmp_path)):
            load_questions(config(source, tmp_path), level, None)


@pytest.mark.parametrize("source", ["egoplan2", "longvideobench"])
def test_sources_without_training_questions_are_refused(source):
    with pytest.raises(ConfigError, match="for evaluation only; train on seed_bench_r1 or egoplan"):
        load_training(config(source))


def test_the_default_training_file_is_not_that_of_egoplan(tmp_path):
    (tmp_path / "EgoPlan_IT.json").write_text("[]")
    with pytest.raises(DataError, match=r"training_6k\.jsonl does not exist; .* holds EgoPlan_IT\.json"):
        load_training(config("egoplan", tmp_path))


def test_subtitles_of_a_source_without_any_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="egoplan has none; only longvideobench has subtitles"):
        load_questions(DataConfig(root=tmp_path, source="egoplan", subtitles=True), "L1", None)

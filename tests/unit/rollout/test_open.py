"""Which engine a recipe names: one of the table, one of the user's own, or none."""

from pathlib import Path

import pytest

from sbr.config.asking import EngineConfig
from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.errors import ConfigError
from sbr.rollout.open import ENGINES, engine_kind, open_engine

OWN = """
class Parrot:
    size_factor = 28
    one_by_one = False

    def answer(self, batches, samples, sampling):
        yield from ()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def parrot(model, prompt, engine, compiled):
    assert (model.path, compiled) == ("m", False)
    return Parrot()


def stone(model, prompt, engine, compiled):
    return 3


def broken(model, prompt, engine, compiled):
    return {}["x"]
"""


def opened(kind: str) -> object:
    return open_engine(ModelConfig(path="m"), PromptConfig(), EngineConfig(kind=kind))


def test_an_engine_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_engines.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert type(opened("own_engines:parrot")).__name__ == "Parrot"
    assert engine_kind(EngineConfig(kind="own_engines:parrot")).local, "its model is a folder, whose files are checked"
    with pytest.raises(ConfigError, match=r"returned a int, which is no sbr\.rollout\.engine\.Engine"):
        opened("own_engines:stone")
    with pytest.raises(ConfigError, match=r"engine\.kind is 'own_engines:broken': it failed with KeyError: 'x'"):
        opened("own_engines:broken")
    with pytest.raises(ConfigError, match=r"there is no module 'no_engines'"):
        opened("no_engines:parrot")


def test_a_kind_that_is_not_in_the_table() -> None:
    with pytest.raises(ConfigError, match=rf"engine\.kind is 'cloud'; there is {', '.join(ENGINES)}, or"):
        opened("cloud")
    assert [kind for kind, engine in ENGINES.items() if not engine.local] == ["endpoint"]

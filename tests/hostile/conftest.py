"""One house for all cases of a process."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import House, Place


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> House:
    return House(tmp_path_factory.mktemp("house"), tiny_model_dir)


@pytest.fixture
def place(tmp_path: Path, house: House, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return Place(tmp_path, house)

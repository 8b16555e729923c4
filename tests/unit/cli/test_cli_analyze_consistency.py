"""Words of `sbr analyze consistency`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sbr.cli.analyze_consistency import Args, recipe_of
from sbr.config.consistency import ConsistencyRecipe
from sbr.config.load import read_resolved, write_resolved
from sbr.errors import ConfigError

URL = "http://localhost:8000/v1"


@pytest.mark.parametrize(
    ("words", "status"), [(["--help"], 0), (["a", "--judge-model", "m"], 2), (["nowhere"], 2), ([], 2)]
)
def test_refusals_import_no_torch(words: list[str], status: int) -> None:
    code = (
        "import sys\nfrom sbr.cli.main import run\n"
        f"try: status = run({['analyze', 'consistency', *words]!r})\nexcept SystemExit as stop: status = stop.code\n"
        f"assert (status or 0) == {status}, status\n"
        "print([name for name in ('torch', 'transformers', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_settings_without_a_judge() -> None:
    assert recipe_of(Args(())) == ConsistencyRecipe()
    assert recipe_of(Args((), per_level=7)).per_level == 7


def test_settings_of_a_judge_are_saved_and_read(tmp_path: Path) -> None:
    args = Args((), judge_url=(URL, f"{URL}2"), judge_model="m", judge_tokens=9, judge_key_env="K", concurrency=3)
    recipe = recipe_of(args)
    assert recipe.judge is not None
    assert (recipe.judge.model, recipe.judge.max_new_tokens) == ("m", 9)
    engine = recipe.judge.engine
    assert (engine.kind, engine.urls, engine.api_key_env) == ("endpoint", (URL, f"{URL}2"), "K")
    assert engine.concurrency == 3
    write_resolved(recipe, tmp_path / "recipe.json")
    assert read_resolved(ConsistencyRecipe, tmp_path / "recipe.json") == recipe


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"judge_url": (URL,)}, "--judge-url needs --judge-model"),
        ({"judge_model": "m"}, "--judge-model needs --judge-url"),
        ({"judge_tokens": 3, "concurrency": 2}, "--judge-tokens, --concurrency: of a judge"),
        ({"per_level": 0}, "per_level is 0"),
        ({"judge_url": (), "judge_model": "m"}, "url is an empty list"),
    ],
)
def test_settings_that_make_no_sense(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe_of(Args((), **values))

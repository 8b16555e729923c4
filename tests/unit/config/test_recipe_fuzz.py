"""Arbitrary recipes and command lines end in a valid recipe, a ConfigError or tyro's message with status 2."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sbr.config.explain import known_keys
from sbr.config.load import load_recipe, read_resolved, validate, write_resolved
from sbr.config.recipes import DistillRecipe, EvalRecipe, GrpoRecipe, SftRecipe
from sbr.config.section import Section
from sbr.errors import ConfigError

KINDS = (GrpoRecipe, SftRecipe, EvalRecipe, DistillRecipe)
KEYS = sorted({key for kind in KINDS for key in known_keys(kind)})
QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MINIMAL: dict[str, Any] = {"output_dir": "runs/x", "model": {"path": "m"}, "data": {"root": "d"}}

values = st.recursive(
    st.one_of(
        st.text(max_size=12),
        st.integers(),
        st.floats(),
        st.booleans(),
        st.none(),
        st.dates(),
        st.sampled_from(
            ["", "grpo", "dapo", "own:one", "native", "\x00", "\x1b[2J", 10**400, -1, 2**63, 1e308, "L1", "nan"]
        ),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
trees = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), values, max_size=4)


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys as tables; a value in the way of a table gives way."""
    tree: dict[str, Any] = json.loads(json.dumps(MINIMAL))
    for key, value in flat.items():
        *parents, last = key.split(".")
        at = tree
        for part in parents:
            at[part] = at[part] if isinstance(at.get(part), dict) else {}
            at = at[part]
        at[last] = value
    return tree


@QUICK
@given(kind=st.sampled_from(KINDS), flat=trees)
def test_any_tree_is_a_recipe_that_survives_the_disk_or_one_message(kind: type[Section], flat: dict[str, Any]) -> None:
    try:
        recipe = validate(kind, nested(flat), "recipe")
    except ConfigError as error:
        assert str(error).startswith("recipe: ")
        return
    with tempfile.TemporaryDirectory() as folder:
        write_resolved(recipe, Path(folder) / "recipe.json")
        assert read_resolved(kind, Path(folder) / "recipe.json") == recipe


@QUICK
@given(data=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_a_recipe_or_one_message(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_bytes(data)
    for read in (load_recipe, read_resolved):
        with pytest.raises(ConfigError, match=r"recipe\.toml"):
            read(GrpoRecipe, file)


words = st.lists(
    st.one_of(
        st.sampled_from(KEYS).map(lambda key: f"--{key}"),
        st.tuples(st.sampled_from(KEYS), st.text(max_size=8)).map(lambda pair: f"--{pair[0]}={pair[1]}"),
        st.sampled_from(
            ["1", "-1", "0.5", "nan", "inf", "1e400", "9" * 5000, "", "None", "dapo", "own:one", "own:", "--"]
        ),
        st.sampled_from(
            ["--algo.name", "--algo.options.x", "--help", "-h", "--reward.custom", "a:b", "L1,L2", "[", "="]
        ),
        st.text(max_size=8),
    ),
    max_size=5,
)


@settings(QUICK, max_examples=40)
@given(kind=st.sampled_from(KINDS), given_words=words)
def test_any_words_are_a_recipe_or_one_message(
    kind: type[Section], given_words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('output_dir = "runs/x"\n[model]\npath = "m"\n[data]\nroot = "d"\n')
    try:
        recipe = load_recipe(kind, file, given_words)
    except ConfigError as error:
        assert str(error)
    except SystemExit as stop:
        assert stop.code in (0, 2)
        assert stop.code == 2 or any(word in ("-h", "--help") for word in given_words)
    else:
        assert isinstance(recipe, kind)
    capsys.readouterr()

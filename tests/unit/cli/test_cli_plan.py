"""`sbr plan`: its table, its file, its exit status and its advice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sbr.cli.main import run

SMALL = ["--frames.max_frames", "4", "--frames.height", "56", "--frames.width", "56", "--rollout.max_new_tokens", "8"]


@pytest.fixture
def recipe(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """Of a model whose folder holds config.json only."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_bytes((tiny_model_dir / "config.json").read_bytes())
    file = tmp_path / "r.toml"
    file.write_text(
        f'output_dir = "{tmp_path / "out"}"\n[model]\npath = "{tmp_path / "model"}"\ndtype = "float32"\n'
        '[data]\nroot = "nowhere"\n[train]\nprompts_per_step = 2\n[rollout]\ngroup_size = 4\n'
    )
    return file


def test_what_fits_ends_with_status_0_and_its_figures_in_a_file(recipe, tmp_path, capsys) -> None:
    file = tmp_path / "plan.json"
    for _ in range(2):  # its own file is replaced
        assert run(["plan", str(recipe), "--memory", "1", "--json", str(file), *SMALL]) == 0
    shown = capsys.readouterr().out
    for words in ("GRPO of", "weights", "update", "fits:", "seconds a prompt"):
        assert words in shown
    found = json.loads(file.read_text())
    assert found["fits"] and found["change"] is None
    assert found["peak_bytes"] == sum(found["parts"].values()) < 0.9 * 2**30
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_ends_with_status_1_and_says_what_would(recipe, tmp_path, capsys) -> None:
    words = ["plan", str(recipe), *SMALL, "--json", str(tmp_path / "p.json")]
    assert run(words) == 0
    peak = json.loads((tmp_path / "p.json").read_text())["peak_bytes"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run([*words, "--memory", str(0.999 * peak / 0.9 / 2**30)])
    assert stop.value.code == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "DOES NOT FIT" in shown and "What fits: --model.gradient_checkpointing" in shown
    change = json.loads((tmp_path / "p.json").read_text())["change"]
    assert change[0] == "--model.gradient_checkpointing"


def test_the_recipe_of_a_run_is_read_too(recipe, tmp_path, capsys) -> None:
    from sbr.config.load import load_recipe, write_resolved
    from sbr.config.recipes import GrpoRecipe

    write_resolved(load_recipe(GrpoRecipe, recipe), tmp_path / "recipe.json")
    shown = []
    for file in (recipe, tmp_path / "recipe.json"):
        assert run(["plan", str(file), *SMALL]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]


def test_sft_is_known_by_its_keys(recipe, capsys) -> None:
    text = recipe.read_text().partition("[rollout]")[0] + "[validation]\nshare = 0.1\nmax_new_tokens = 7\n"
    recipe.write_text(text)
    assert run(["plan", str(recipe), *SMALL[:6]]) == 0
    assert "SFT of" in capsys.readouterr().out

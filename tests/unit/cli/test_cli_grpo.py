"""`sbr grpo`: what the words on the command line mean, and that help is quick and complete."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sbr.cli.grpo import GRPO, run
from sbr.errors import ConfigError

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    file = tmp_path / "small.toml"
    file.write_text('output_dir = "runs/a"\n[model]\npath = "m"\n[data]\nroot = "d"\n')
    return file


def test_recipe_overrides_and_resume(recipe_file):
    recipe, resume = GRPO.parse([str(recipe_file)])
    assert (recipe.output_dir, recipe.train.seed, resume) == (Path("runs/a"), 0, False)
    words = [str(recipe_file), "--train.seed", "3", "--resume", "--output_dir", "runs/b"]
    recipe, resume = GRPO.parse(words)
    assert (recipe.output_dir, recipe.train.seed, resume) == (Path("runs/b"), 3, True)


def test_help_shows_examples_and_recipe_help_shows_keys(recipe_file, capsys):
    with pytest.raises(SystemExit) as stop:
        GRPO.parse(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "sbr grpo recipes/mini/grpo.toml --train.seed 3" in text
    assert "accelerate launch" in text
    with pytest.raises(SystemExit):
        GRPO.parse([str(recipe_file), "--help"])
    assert "--algo.beta" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        GRPO.parse([])
    assert stop.value.code == 2


def test_a_folder_with_a_run_is_refused_before_torch_is_imported(recipe_file, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    code = (
        "import sys\nfrom sbr.cli.grpo import run\nfrom sbr.errors import ConfigError\n"
        "try:\n    run(sys.argv[1:])\nexcept ConfigError as error:\n    print(error)\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    words = [str(recipe_file), "--output_dir", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=600)
    assert "already holds a run; continue it with --resume" in done.stdout


def test_missing_recipe_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.toml does not exist"):
        run([str(tmp_path / "no.toml")])


def test_closing_text_names_the_next_command(recipe_file):
    recipe, _ = GRPO.parse([str(recipe_file)])
    assert "sbr eval --run runs/a" in GRPO.closing_text(recipe)


def test_the_papers_recipe_is_the_official_setting():
    recipe, _ = GRPO.parse([str(RECIPES / "qwen2vl_7b" / "grpo.toml")])
    assert (recipe.rollout.group_size, recipe.rollout.temperature, recipe.rollout.max_new_tokens) == (8, 1.0, 256)
    assert (recipe.algo.beta, recipe.algo.updates_per_rollout, recipe.algo.advantage_eps) == (0.1, 1, 1e-4)
    assert (recipe.train.prompts_per_step, recipe.train.epochs, recipe.train.max_steps) == (8, 1, None)
    assert (recipe.train.learning_rate, recipe.train.schedule, recipe.train.warmup_ratio) == (1e-6, "linear", 0.0)
    assert (recipe.reward.rule, recipe.reward.accuracy_weight, recipe.reward.format_weight) == ("official", 1.0, 0.0)
    assert (recipe.frames.fps, recipe.frames.min_frames, recipe.frames.max_frames) == (2.0, 4, 16)
    assert recipe.model.dtype == "bfloat16"


@pytest.mark.parametrize("name", ["TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT", "SBR_RESTART_COUNT"])
def test_a_launcher_that_counts_a_repetition_needs_no_resume(name, recipe_file, tmp_path, monkeypatch, capsys):
    seen = []
    training = replace(GRPO, load=lambda: lambda recipe, resume, watcher: seen.append(resume))
    monkeypatch.setattr("sbr.cli.training.refuse_early", lambda recipe: None)
    words = [str(recipe_file), "--output_dir", str(tmp_path / "run")]
    monkeypatch.setenv(name, "1")
    training.run(words)  # ended before it had written anything
    (tmp_path / "run" / "cold_start").mkdir(parents=True)
    training.run(words)
    monkeypatch.setenv(name, "0")  # the first time
    with pytest.raises(ConfigError, match="already holds a run"):
        training.run(words)
    assert seen == [False, True]


@pytest.mark.parametrize(
    ("restarts", "shared", "warned"),
    [("3", "True", True), ("3", "False", False), ("0", "True", False), (None, None, False)],
)
def test_a_store_that_outlives_an_attempt_is_warned_of(
    restarts, shared, warned, recipe_file, tmp_path, monkeypatch, capsys
):
    training = replace(GRPO, load=lambda: lambda recipe, resume, watcher: None)
    monkeypatch.setattr("sbr.cli.training.refuse_early", lambda recipe: None)
    for name, value in (("TORCHELASTIC_MAX_RESTARTS", restarts), ("TORCHELASTIC_USE_AGENT_STORE", shared)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    training.run([str(recipe_file), "--output_dir", str(tmp_path / "run")])
    assert ("TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in capsys.readouterr().out) == warned

"""`sbr sft`: what the words on the command line mean, what is said at the end, and the figures on the bar."""

import subprocess
import sys
from pathlib import Path

import pytest

from sbr.cli.sft import SFT
from sbr.train.learner import Done
from sbr.train.sft.metrics import SftPart, combine
from sbr.train.stopwatch import slowest
from sbr.train.validation import Seen

RECIPES = Path(__file__).parents[3] / "recipes"


def test_recipe_overrides_and_resume():
    recipe, resume = SFT.parse([str(RECIPES / "mini" / "sft.toml")])
    assert (recipe.output_dir, recipe.train.seed, resume) == (Path("runs/mini/sft"), 0, False)
    words = [str(RECIPES / "mini" / "sft.toml"), "--train.seed", "3", "--resume", "--data.cot_file", "a/b.jsonl"]
    recipe, resume = SFT.parse(words)
    assert (recipe.data.cot_file, recipe.train.seed, resume) == ("a/b.jsonl", 3, True)


def test_help_shows_examples_and_recipe_help_shows_keys(capsys):
    with pytest.raises(SystemExit) as stop:
        SFT.parse(["--help"])
    assert stop.value.code == 0
    assert "sbr sft recipes/mini/sft.toml --validation.share 0.1" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        SFT.parse([str(RECIPES / "mini" / "sft.toml"), "--help"])
    text = capsys.readouterr().out
    assert "--validation.share" in text
    assert "--lora.rank" in text


def test_a_folder_with_a_run_is_refused_before_torch_is_imported(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    code = (
        "import sys\nfrom sbr.cli.sft import run\nfrom sbr.errors import ConfigError\n"
        "try:\n    run(sys.argv[1:])\nexcept ConfigError as error:\n    print(error)\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    words = [str(RECIPES / "mini" / "sft.toml"), "--output_dir", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=600)
    assert "already holds a run; continue it with --resume" in done.stdout


def test_closing_text_names_the_next_command():
    recipe, _ = SFT.parse([str(RECIPES / "mini" / "sft.toml")])
    assert SFT.closing_text(recipe).endswith("Next: sbr eval --run runs/mini/sft, then sbr report runs/mini/sft/eval")


def test_processes_are_joined_and_shown():
    one, two = SftPart(0.3, 4, 100, grad_norm=2.5), SftPart(0.2, 3, 60, grad_norm=2.5)
    seconds = slowest(
        [
            {"step": 2.0, "frames": 0.5, "update": 1.0, "validation": 0.0},
            {"step": 1.5, "frames": 0.7, "update": 0.4, "validation": 0.1},
        ]
    )
    metrics = combine(Done(7, 0.5, 1e-5, seconds, Seen()), [one, two])
    assert (metrics.loss, metrics.rows, metrics.tokens, metrics.tokens_per_second) == (0.5, 7, 160, 80.0)
    assert (metrics.seconds_frames, metrics.seconds_update, metrics.seconds_validation) == (0.7, 1.0, 0.1)
    assert metrics.words() == "loss 0.500"
    seen = Seen(0.25, {"L1": 0.5, "L3": 0.333})
    assert (
        combine(Done(8, 1.0, 1e-5, seconds, seen), [one]).words() == "loss 0.300  held out 0.250  L1 50.0 %  L3 33.3 %"
    )

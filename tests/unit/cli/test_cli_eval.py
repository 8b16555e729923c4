"""`sbr eval`: flags, recipes, and which of them wins."""

from pathlib import Path

import pytest

from sbr.cli import eval as cli_eval
from sbr.config.asking import EngineConfig, EvalConfig
from sbr.config.inputs import FramesConfig
from sbr.errors import ConfigError

RECIPE = """
output_dir = "from_recipe"
[model]
path = "recipe_model"
dtype = "float16"
[data]
root = "recipe_data"
[frames]
height = 56
[eval]
levels = ["L2"]
batch_size = 3
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    file = tmp_path / "eval.toml"
    file.write_text(RECIPE)
    return file


@pytest.fixture
def files_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_eval, "refuse_early", lambda _: None)


@pytest.mark.usefixtures("files_are_there")
def test_flags_alone_give_the_official_setting():
    recipe = cli_eval.parse(["--model", "m", "--data", "d", "--out", "o"])
    assert (recipe.model.path, recipe.data.root, recipe.output_dir) == ("m", Path("d"), Path("o"))
    assert recipe.frames == FramesConfig()
    assert recipe.eval == EvalConfig()


def test_every_flag_reaches_its_key():
    words = "--model m --data d --out o --levels L3,L1 --limit 5 --protocol paper --samples 4 --rule strict"
    words += " --batch-size 2 --seed 7 --dtype float32 --max-new-tokens 64"
    words += " --engine endpoint --url http://there/v1 --concurrency 3"
    recipe = cli_eval.parse(words.split())
    assert recipe.model.dtype == "float32"
    assert recipe.eval == EvalConfig(
        levels=("L3", "L1"),
        limit=5,
        protocol="paper",
        samples=4,
        rule="strict",
        batch_size=2,
        seed=7,
        max_new_tokens=64,
    )
    assert recipe.engine == EngineConfig(kind="endpoint", url="http://there/v1", concurrency=3)


@pytest.mark.usefixtures("files_are_there")
@pytest.mark.parametrize(("cuda", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_default_dtype_follows_the_device(monkeypatch, cuda, dtype):
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    assert cli_eval.parse(["--model", "m", "--data", "d", "--out", "o"]).model.dtype == dtype


def test_flags_win_over_the_recipe_and_leave_the_rest(recipe_file):
    recipe = cli_eval.parse(["--recipe", str(recipe_file), "--model", "m", "--batch-size", "9"])
    assert (recipe.model.path, recipe.model.dtype) == ("m", "float16")
    assert (recipe.data.root, recipe.output_dir) == (Path("recipe_data"), Path("from_recipe"))
    assert (recipe.eval.levels, recipe.eval.batch_size, recipe.frames.height) == (("L2",), 9, 56)


def test_a_recipe_and_its_keys_as_in_sbr_grpo(recipe_file):
    recipe = cli_eval.parse([str(recipe_file), "--frames.height", "84", "--eval.limit", "2"])
    assert (recipe.frames.height, recipe.eval.limit, recipe.model.path) == (84, 2, "recipe_model")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "needs --model, --data, --out"),
        (["--model", "m", "--out", "o"], "needs --data"),
        (["--recipe", "/nowhere/eval.toml"], "does not exist"),
        (["--model", "m", "--data", "d", "--out", "o", "--levels", "L1,L9"], "'L9'"),
        (["--model", "m", "--data", "d", "--out", "o", "--limit", "0"], "eval.limit is 0"),
        (["--model", "m", "--data", "d", "--out", "o", "--batch-size", "0"], "eval.batch_size is 0"),
    ],
)
def test_wrong_use_is_one_clear_error(words, message):
    with pytest.raises(ConfigError, match=message):
        cli_eval.parse(words)


def test_run_takes_over_the_settings_it_was_trained_with(tmp_path):
    from sbr.cli.eval import parse
    from sbr.config.load import write_resolved
    from sbr.config.recipes import GrpoRecipe

    trained = GrpoRecipe.model_validate(
        {
            "model": {"path": "sbr:mini", "dtype": "float32"},
            "data": {"root": str(tmp_path / "data"), "limit": 3},
            "output_dir": str(tmp_path / "run"),
            "frames": {"height": 84, "width": 84},
            "prompt": {"max_tokens": 500},
            "rollout": {"max_new_tokens": 32},
            "reward": {"rule": "strict"},
        }
    )
    run = tmp_path / "run"
    write_resolved(trained, run / "recipe.json")
    with pytest.raises(ConfigError, match="not a finished training run"):
        parse(["--run", str(run)])
    (run / "final").mkdir()
    recipe = parse(["--run", str(run), "--limit", "7"])
    assert recipe.model.path == str(run / "final")
    assert recipe.model.dtype == "float32"
    assert (recipe.frames, recipe.prompt) == (trained.frames, trained.prompt)
    assert (recipe.eval.max_new_tokens, recipe.eval.rule, recipe.eval.limit) == (32, "strict", 7)
    assert recipe.data.root == tmp_path / "data"
    assert recipe.data.limit is None
    assert recipe.output_dir == run / "eval"
    assert parse(["--run", str(run), "--out", "elsewhere"]).output_dir.name == "elsewhere"
    with pytest.raises(ConfigError, match="not both"):
        parse(["--run", str(run), "--recipe", "x.toml"])

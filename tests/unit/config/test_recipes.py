"""Recipes: what is read, what wins, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbr.config.algo import ALGORITHMS, DapoAlgo, DrGrpoAlgo, GrpoAlgo, GspoAlgo, OwnAlgo
from sbr.config.explain import known_keys, verb
from sbr.config.inputs import LoraConfig
from sbr.config.load import load_recipe, read_resolved, write_resolved
from sbr.config.recipes import EvalRecipe, GrpoRecipe, SftRecipe
from sbr.config.section import Section
from sbr.config.training import SftTrainConfig
from sbr.errors import ConfigError
from sbr.mini.pretrain_recipe import PretrainRecipe

RECIPES = Path(__file__).parents[3] / "recipes"
KINDS = (SftRecipe, GrpoRecipe)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "recipe.toml"
    file.write_text(text, encoding="utf-8")
    return file


MINIMAL = 'output_dir = "runs/x"\n[model]\npath = "sbr:mini"\n[data]\nroot = "data"\n'


def test_defaults_are_the_official_setting(tmp_path: Path) -> None:
    recipe = load_recipe(GrpoRecipe, written(tmp_path, MINIMAL))
    assert (recipe.frames.fps, recipe.frames.min_frames, recipe.frames.max_frames) == (2.0, 4, 16)
    assert (recipe.frames.height, recipe.frames.width) == (256, 256)
    assert (recipe.rollout.group_size, recipe.rollout.temperature, recipe.rollout.max_new_tokens) == (8, 1.0, 256)
    assert recipe.algo == GrpoAlgo(beta=0.1, clip_low=0.2, clip_high=0.2, advantage_eps=1e-4)
    assert (recipe.train.learning_rate, recipe.train.schedule, recipe.train.prompts_per_step) == (1e-6, "linear", 8)
    assert (recipe.reward.rule, recipe.reward.accuracy_weight, recipe.reward.format_weight) == ("official", 1.0, 0.0)


def test_the_papers_recipe_is_the_default_setting() -> None:
    recipe = load_recipe(GrpoRecipe, RECIPES / "qwen2vl_7b" / "grpo.toml")
    minimal = GrpoRecipe.model_validate({"model": {"path": "x"}, "data": {"root": "y"}, "output_dir": "z"})
    for section in ("frames", "rollout", "reward", "algo"):
        assert getattr(recipe, section) == getattr(minimal, section), section


def test_the_recipe_with_top_k_differs_from_the_papers_in_that_alone() -> None:
    whole = load_recipe(GrpoRecipe, RECIPES / "qwen2vl_7b" / "grpo.toml")
    narrow = load_recipe(GrpoRecipe, RECIPES / "qwen2vl_7b" / "grpo_topk50.toml")
    assert narrow.output_dir != whole.output_dir
    changed = {"output_dir": narrow.output_dir, "rollout": whole.rollout.model_copy(update={"top_k": 50})}
    assert narrow == whole.model_copy(update=changed)


def test_the_lora_recipe_differs_from_the_papers_where_it_says_so() -> None:
    whole = load_recipe(GrpoRecipe, RECIPES / "qwen2vl_7b" / "grpo.toml")
    adapters = load_recipe(GrpoRecipe, RECIPES / "qwen2vl_7b" / "grpo_lora.toml")
    assert adapters.lora == LoraConfig(rank=64, alpha=128)
    for section in ("data", "frames", "prompt", "rollout", "reward", "algo"):
        assert getattr(adapters, section) == getattr(whole, section), section
    assert adapters.train == whole.train.model_copy(update={"learning_rate": 1e-5})
    assert adapters.model == whole.model.model_copy(update={"train_vision": False})


def test_the_one_gpu_recipe_differs_from_the_papers_in_memory_and_speed_only() -> None:
    whole = load_recipe(GrpoRecipe, RECIPES / "qwen2vl_7b" / "grpo.toml")
    lean = load_recipe(GrpoRecipe, RECIPES / "qwen2vl_7b" / "grpo_1gpu.toml")
    for section in ("data", "frames", "prompt", "reward", "algo", "lora"):
        assert getattr(lean, section) == getattr(whole, section), section
    assert lean.train == whole.train.model_copy(update={"optimizer": "adamw_8bit", "weights": "bfloat16"})
    assert lean.rollout == whole.rollout.model_copy(update={"compile": True})
    assert lean.model == whole.model.model_copy(update={"gradient_checkpointing": False})


def test_the_sft_recipe_is_the_official_setting_and_the_default() -> None:
    recipe = load_recipe(SftRecipe, RECIPES / "qwen2vl_7b" / "sft.toml")
    minimal = SftRecipe.model_validate({"model": {"path": "x"}, "data": {"root": "y"}, "output_dir": "z"})
    train = recipe.train
    assert (train.learning_rate, train.schedule, train.warmup_ratio, train.epochs) == (2e-5, "cosine", 0.1, 1)
    assert (train.prompts_per_step, train.prompts_per_microbatch, recipe.validation.share) == (8 * 16, 1, 0.0)
    assert (recipe.model.dtype, recipe.model.gradient_checkpointing) == ("bfloat16", True)
    assert recipe.data.cot_file == minimal.data.cot_file == "training_with_cot_6k.jsonl"
    assert train == minimal.train.model_copy(update={"save_every": 10})
    for section in ("frames", "prompt", "validation", "lora", "log"):
        assert getattr(recipe, section) == getattr(minimal, section), section


def test_sft_then_grpo_is_the_two_recipes_of_the_miniature() -> None:
    sft, grpo = (load_recipe(kind, RECIPES / "mini" / f"{kind.__name__[:-6].lower()}.toml") for kind in KINDS)
    both = load_recipe(GrpoRecipe, RECIPES / "mini" / "sft_grpo.toml")
    assert both.cold_start is not None
    assert (both.cold_start.train, both.cold_start.validation) == (sft.train, sft.validation)
    assert both.data == sft.data
    for section in ("model", "frames", "prompt", "rollout", "reward", "algo", "train"):
        assert getattr(both, section) == getattr(grpo, section), section


def test_a_cold_start_can_be_switched_on_and_set_by_words(tmp_path: Path) -> None:
    file = written(tmp_path, MINIMAL)
    assert load_recipe(GrpoRecipe, file, ["--train.seed", "3"]).cold_start is None
    recipe = load_recipe(GrpoRecipe, file, ["--cold_start.train.epochs", "2"])
    assert recipe.cold_start is not None
    assert recipe.cold_start.train == SftTrainConfig(epochs=2)
    wrong = written(tmp_path, MINIMAL + "[cold_start.train]\nlerning_rate = 1e-4\n")
    with pytest.raises(ConfigError, match=r"did you mean 'cold_start.train.learning_rate'\?"):
        load_recipe(GrpoRecipe, wrong)


def test_an_optional_section_is_absent_until_it_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, MINIMAL)
    assert load_recipe(GrpoRecipe, file).lora is None
    assert load_recipe(GrpoRecipe, file, ["--train.seed", "3"]).lora is None
    assert load_recipe(GrpoRecipe, file, ["--lora.rank", "8"]).lora == LoraConfig(rank=8)
    assert load_recipe(GrpoRecipe, file, ["--lora.rank=8"]).lora == LoraConfig(rank=8)
    with_section = written(tmp_path, MINIMAL + '[lora]\nrank = 16\ntarget_modules = ["q_proj", "v_proj"]\n')
    assert load_recipe(GrpoRecipe, with_section).lora == LoraConfig(rank=16, target_modules=("q_proj", "v_proj"))
    changed = load_recipe(GrpoRecipe, with_section, ["--lora.alpha", "32", "--lora.target_modules", "o_proj"])
    assert changed.lora == LoraConfig(rank=16, alpha=32, target_modules=("o_proj",))
    assert load_recipe(GrpoRecipe, written(tmp_path, MINIMAL + "[lora]\n")).lora == LoraConfig()
    write_resolved(changed, tmp_path / "recipe.json")
    assert read_resolved(GrpoRecipe, tmp_path / "recipe.json") == changed
    for words in (["--lora.rnk", "8"], ["--help"]):
        with pytest.raises(SystemExit):
            load_recipe(GrpoRecipe, file, words)
        found = capsys.readouterr()
        assert "--lora.rank" in found.out + found.err
    with pytest.raises(ConfigError, match=r"unknown key 'lora.rnk'; did you mean 'lora.rank'\?"):
        load_recipe(GrpoRecipe, written(tmp_path, MINIMAL + "[lora]\nrnk = 8\n"))
    with pytest.raises(ConfigError, match=r"lora.rank is 0"):
        load_recipe(GrpoRecipe, written(tmp_path, MINIMAL + "[lora]\nrank = 0\n"))


def test_overrides_win(tmp_path: Path) -> None:
    words = ["--train.learning_rate", "3e-4", "--data.limit", "5", "--eval.levels", "L3"]
    recipe = load_recipe(EvalRecipe, written(tmp_path, MINIMAL), words[2:])
    assert recipe.data.limit == 5
    assert recipe.eval.levels == ("L3",)
    assert load_recipe(GrpoRecipe, written(tmp_path, MINIMAL), words[:2]).train.learning_rate == 3e-4


def test_algorithms_fill_in_their_own_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, MINIMAL)
    assert load_recipe(GrpoRecipe, file).algo == GrpoAlgo(beta=0.1, clip_low=0.2, clip_high=0.2, advantage_eps=1e-4)
    assert load_recipe(GrpoRecipe, file, ["--algo.name", "dapo"]).algo == DapoAlgo(clip_low=0.2, clip_high=0.28)
    tight = load_recipe(GrpoRecipe, file, ["--algo.name", "gspo", "--algo.clip_high", "0.001"]).algo
    assert tight == GspoAlgo(clip_low=3e-4, clip_high=1e-3)
    # What a recipe sets was chosen for its own algorithm.
    own = written(tmp_path, MINIMAL + "[algo]\nbeta = 0.02\nclip_high = 0.3\nupdates_per_rollout = 2\n")
    assert load_recipe(GrpoRecipe, own, ["--algo.name", "grpo"]).algo == load_recipe(GrpoRecipe, own).algo
    assert load_recipe(GrpoRecipe, own, ["--algo.name=gspo"]).algo == GspoAlgo(updates_per_rollout=2)
    dr_grpo = load_recipe(GrpoRecipe, own, ["--algo.beta", "0", "--algo.name", "dr_grpo"]).algo
    assert dr_grpo == DrGrpoAlgo(beta=0.0, clip_high=0.2, updates_per_rollout=2)
    for recipe in RECIPES.glob("*/grpo*.toml"):
        assert load_recipe(GrpoRecipe, recipe, ["--algo.name", "dapo"]).algo == DapoAlgo()


def test_a_key_that_the_algorithm_does_not_use_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, MINIMAL + '[algo]\nname = "dapo"\nbeta = 0.1\n')
    with pytest.raises(ConfigError, match=r"algo\.beta is not used by dapo but by grpo, dr_grpo, gspo, reg_grpo"):
        load_recipe(GrpoRecipe, file)
    for words in (["--algo.name", "dapo", "--algo.beta", "0.1"], ["--algo.advantage-eps=1", "--algo.name=dr_grpo"]):
        with pytest.raises(ConfigError, match=r"is not used by d\w+ but by grpo"):
            load_recipe(GrpoRecipe, written(tmp_path, MINIMAL), words)


def test_the_name_of_an_algorithm_decides_which_keys_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, MINIMAL)
    with pytest.raises(SystemExit):
        load_recipe(GrpoRecipe, file, ["--algo.name", "dapo", "--help"])
    shown = capsys.readouterr().out
    assert "--algo.extra-rounds" in shown.replace("_", "-")
    assert "--algo.beta" not in shown
    for text, words in (('[algo]\nname = "dappo"\n', []), ("", ["--algo.name", "dappo"])):
        with pytest.raises(ConfigError, match=r"algo\.name is 'dappo', expected grpo, .*did you mean 'dapo'\?"):
            load_recipe(GrpoRecipe, written(tmp_path, MINIMAL + text), words)
    with pytest.raises(ConfigError, match=r"algo is 3, expected a section with a name"):
        load_recipe(GrpoRecipe, written(tmp_path, "algo = 3\n" + MINIMAL))
    with pytest.raises(ConfigError, match=r"algo\.beta is -1.0"):
        load_recipe(GrpoRecipe, written(tmp_path, MINIMAL + "[algo]\nbeta = -1.0\n"))
    with pytest.raises(ConfigError, match=r"unknown key 'algo.bata'; did you mean 'algo.beta'\?"):
        load_recipe(GrpoRecipe, written(tmp_path, MINIMAL + "[algo]\nbata = 1.0\n"))


@pytest.mark.parametrize("name", [*ALGORITHMS, "mine:best"])
def test_every_algorithm_survives_the_disk(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(GrpoRecipe, written(tmp_path, f'{MINIMAL}[algo]\nname = "{name}"\n'), ["--train.seed", "1"])
    assert recipe.algo.name == name
    write_resolved(recipe, tmp_path / "recipe.json")
    assert read_resolved(GrpoRecipe, tmp_path / "recipe.json") == recipe


def test_an_algorithm_of_ones_own_has_free_options(tmp_path: Path) -> None:
    text = MINIMAL + '[algo]\nname = "mine:best"\nupdates_per_rollout = 2\n[algo.options]\ncut = 0.5\nmore.deep = [1]\n'
    recipe = load_recipe(GrpoRecipe, written(tmp_path, text), ["--train.seed", "1"])
    options = {"cut": 0.5, "more": {"deep": [1]}}
    assert recipe.algo == OwnAlgo(name="mine:best", updates_per_rollout=2, options=options)
    other = load_recipe(GrpoRecipe, written(tmp_path, MINIMAL), ["--algo.name", "mine:best"]).algo
    assert other == OwnAlgo(name="mine:best")
    with pytest.raises(ConfigError, match=r"algo\.beta is not used by an algorithm of your own .*\[algo\.options\]"):
        load_recipe(GrpoRecipe, written(tmp_path, text.replace("updates_per_rollout = 2", "beta = 1.0")))
    with pytest.raises(ConfigError, match=r"algo\.name is 'mine:': expected a function as \"module:function\""):
        load_recipe(GrpoRecipe, written(tmp_path, MINIMAL), ["--algo.name", "mine:"])


def test_functions_of_ones_own_are_named_as_module_and_function(tmp_path: Path) -> None:
    text = MINIMAL + '[rollout]\nsampler = "mine:draw"\n[reward.custom]\n"mine:short" = 0.5\n'
    recipe = load_recipe(GrpoRecipe, written(tmp_path, text), ["--reward.custom.mine:short", "2"])
    assert (recipe.rollout.sampler, recipe.reward.custom) == ("mine:draw", {"mine:short": 2.0})
    assert load_recipe(GrpoRecipe, written(tmp_path, text)).reward.custom == {"mine:short": 0.5}
    words = ["--reward.custom", "mine:short", "1", "mine:long", "-0.5"]
    two = load_recipe(GrpoRecipe, written(tmp_path, MINIMAL), words)
    assert two.reward.custom == {"mine:short": 1.0, "mine:long": -0.5}
    for wrong in ('[rollout]\nsampler = "sglang"\n', '[reward.custom]\n"short" = 0.5\n'):
        with pytest.raises(ConfigError, match=r'expected a function as "module:function"'):
            load_recipe(GrpoRecipe, written(tmp_path, MINIMAL + wrong))


def test_fields_for_an_endpoint_survive_overrides_and_the_disk(tmp_path: Path) -> None:
    text = (
        MINIMAL
        + "[engine]\nkind = 'endpoint'\nurl = 'http://there/v1'\n[engine.extra]\ntop_k = -1\nother.deep = true\n"
    )
    recipe = load_recipe(EvalRecipe, written(tmp_path, text), ["--engine.retries", "2"])
    assert (recipe.engine.kind, recipe.engine.retries) == ("endpoint", 2)
    assert recipe.engine.extra == {"top_k": -1, "other": {"deep": True}}
    write_resolved(recipe, tmp_path / "recipe.json")
    assert read_resolved(EvalRecipe, tmp_path / "recipe.json") == recipe


@pytest.mark.parametrize(
    ("section", "message"),
    [("kind = 'endpoint'", "kind endpoint needs url"), ("url = 'http://there/v1'", "url is for kind endpoint")],
)
def test_an_address_belongs_to_an_endpoint(section: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(EvalRecipe, written(tmp_path, f"{MINIMAL}[engine]\n{section}\n"))


def test_unknown_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    file = written(tmp_path, MINIMAL + "[train]\nlerning_rate = 1e-4\n")
    with pytest.raises(ConfigError, match=r"unknown key 'train.lerning_rate'; did you mean 'train.learning_rate'\?"):
        load_recipe(GrpoRecipe, file)


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        (GrpoRecipe, "sbr grpo"),
        (SftRecipe, "sbr sft"),
        (EvalRecipe, "sbr eval"),
        (PretrainRecipe, "sbr mini pretrain"),
    ],
)
def test_every_recipe_knows_its_command(kind: type[Section], command: str) -> None:
    assert verb(kind) == command


def test_unknown_override_is_refused_with_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        load_recipe(GrpoRecipe, written(tmp_path, MINIMAL), ["--train.lerning_rate", "3"])
    assert stop.value.code == 2
    assert "--train.learning-rate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('output_dir = "x"\n[data]\nroot = "y"\n', "model is missing"),
        (MINIMAL + "[rollout]\ntemperature = 0\n", "rollout.temperature is 0"),
        (MINIMAL + '[reward]\nrule = "loose"\n', "reward.rule is 'loose'"),
        ("output_dir = \n", "not valid TOML"),
    ],
)
def test_bad_recipes_say_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_recipe(GrpoRecipe, written(tmp_path, text))


def test_missing_recipe_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml does not exist"):
        load_recipe(GrpoRecipe, tmp_path / "nowhere.toml")


def test_resolved_recipe_reads_back_equal(tmp_path: Path) -> None:
    recipe = load_recipe(GrpoRecipe, written(tmp_path, MINIMAL), ["--train.seed", "7"])
    write_resolved(recipe, tmp_path / "recipe.json")
    assert read_resolved(GrpoRecipe, tmp_path / "recipe.json") == recipe


def test_known_keys_hold_sections_and_leaves() -> None:
    keys = known_keys(GrpoRecipe)
    assert {"model", "model.path", "train.learning_rate", "output_dir", "lora", "lora.rank"} <= set(keys)


def test_recipes_of_the_package_are_found_anywhere_and_files_of_that_name_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = Path("recipes/mini/grpo.toml")
    assert load_recipe(GrpoRecipe, name) == load_recipe(GrpoRecipe, RECIPES / "mini" / "grpo.toml")
    (tmp_path / "recipes" / "mini").mkdir(parents=True)
    (tmp_path / name).write_text(MINIMAL)
    assert str(load_recipe(GrpoRecipe, name).output_dir) == "runs/x"
    for missing in ("recipes/mini/nothing.toml", "recipes/../pyproject.toml", "mini/sft.toml"):
        with pytest.raises(ConfigError, match=r"recipe .* (is missing|does not exist|no such)"):
            load_recipe(GrpoRecipe, Path(missing))

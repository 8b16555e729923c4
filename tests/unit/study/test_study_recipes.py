"""What every run of a study is started with."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import ARMS, TEACHERS, stage, write

from sbr.config.load import load_recipe
from sbr.config.recipes import DistillRecipe, EvalRecipe, GrpoRecipe, SftRecipe
from sbr.errors import ConfigError
from sbr.study.recipes import Study, read_study

MINI = Path(__file__).parents[3] / "recipes" / "mini"


def recipe(study: Study, name: str):
    return study.recipe(study.graph.jobs[name])


def test_models_rows_seeds_and_folders_come_from_the_study(tmp_path: Path) -> None:
    study = read_study(write(tmp_path, TEACHERS, ARMS, seeds=[3, 7], set={"data.root": "somewhere"}))
    out = tmp_path / "out"
    sft = recipe(study, "mini/sft_strong/seed_7")
    assert isinstance(sft, SftRecipe)
    assert (sft.output_dir, sft.train.seed, sft.model.path) == (out / "mini/sft_strong/seed_7", 7, "sbr:mini")
    assert sft.data.cot_file == str(out / "mini/strong/training_with_cot.jsonl")
    both = recipe(study, "mini/sft_grpo/seed_3")
    assert isinstance(both, GrpoRecipe)
    assert (both.model.path, both.train.seed) == (str(out / "mini/sft/seed_3/final"), 3)
    teacher = recipe(study, "mini/teacher")
    assert (teacher.output_dir, teacher.train.seed) == (out / "mini/teacher", 0)
    strong = recipe(study, "mini/strong")
    assert isinstance(strong, DistillRecipe)
    assert strong.model.path == str(out / "mini/teacher/final")
    evaluated = recipe(study, "mini/sft_grpo/seed_3/eval")
    assert isinstance(evaluated, EvalRecipe)
    assert evaluated.model.path == str(out / "mini/sft_grpo/seed_3/final")
    assert evaluated.eval.levels == ("L1", "L2", "L3"), "as the folder of an evaluation keeps it"
    assert all(recipe(study, name).data.root == Path("somewhere") for name in study.graph.jobs)


def test_all_else_is_the_recipe_itself(tmp_path: Path) -> None:
    study = read_study(write(tmp_path, TEACHERS, ARMS))
    plain = load_recipe(GrpoRecipe, MINI / "grpo.toml")
    assert recipe(study, "mini/teacher").model_copy(update={"output_dir": plain.output_dir}) == plain


def test_keys_of_a_stage_win_and_may_be_tables_or_dotted(tmp_path: Path) -> None:
    stages = {
        "a": stage("grpo", set={"algo": {"beta": 0.5}, "train.learning_rate": 1e-3, "lora.rank": 4}),
        "b": stage("grpo", set={"algo.name": "dapo"}),
    }
    file = write(tmp_path, stages, {"A": "a", "B": "b"}, set={"frames.height": 56, "model.dtype": "bfloat16"})
    study = read_study(file)
    a, b = recipe(study, "mini/a/seed_0"), recipe(study, "mini/b/seed_0")
    assert (a.algo.beta, a.train.learning_rate, a.lora.rank, a.frames.height) == (0.5, 1e-3, 4, 56)
    assert b.algo == load_recipe(GrpoRecipe, MINI / "grpo.toml", ["--algo.name", "dapo"]).algo
    assert b.model.dtype == "bfloat16"


def test_a_cold_start_takes_rows_and_seed(tmp_path: Path) -> None:
    cold = {"run": "grpo", "recipe": str(MINI / "sft_grpo.toml"), "rows": "self"}
    study = read_study(write(tmp_path, {"self": TEACHERS["self"], "both": cold}, {"both": "both"}))
    found = recipe(study, "mini/both/seed_1")
    assert (found.train.seed, found.cold_start.train.seed) == (1, 1)
    assert found.data.cot_file == str(tmp_path / "out/mini/self/training_with_cot.jsonl")


def test_a_distillation_for_every_seed_has_that_seed(tmp_path: Path) -> None:
    stages = {"self": stage("distill"), "sft": stage("sft", rows="self")}
    study = read_study(write(tmp_path, stages, {"SFT": "sft"}))
    assert recipe(study, "mini/self/seed_1").distill.seed == 1
    assert recipe(study, "mini/sft/seed_1").data.cot_file.endswith("out/mini/self/seed_1/training_with_cot.jsonl")


def test_recipes_lie_beside_the_study_or_in_the_package(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text((MINI / "grpo.toml").read_text().replace("max_steps = 150", "max_steps = 7"))
    study = read_study(write(tmp_path, {"a": {"run": "grpo", "recipe": "mine.toml"}}, {"A": "a"}))
    assert recipe(study, "mini/a/seed_0").train.max_steps == 7


@pytest.mark.parametrize(
    ("stages", "keys", "expected"),
    [
        ({"a": {"run": "grpo", "recipe": "no.toml"}}, {}, "stages.a.recipe is 'no.toml', and there is no"),
        ({"a": {"run": "grpo", "recipe": "recipes/../../x.toml"}}, {}, "stages.a.recipe is"),
        ({"a": {"run": "grpo", "recipe": "recipes/mini/sft.toml"}}, {}, "sft.toml: unknown key"),
        ({"a": stage("grpo", set={"train.seeds": 1})}, {}, r"stages.a.set .*train.seeds'; did you mean 'train.seed'"),
        ({"a": stage("grpo", set={"train.seed": 1})}, {}, "stages.a: train.seed cannot be set"),
        ({"a": stage("grpo", set={"output_dir": "x"})}, {}, "stages.a: output_dir cannot be set"),
        ({"a": stage("grpo", set={"train": {"max_steps": 0}})}, {}, "train.max_steps is 0, expected at least 1"),
        ({"a": stage("grpo", set={"output_dir.x": 1})}, {}, "output_dir.x cannot be set: output_dir is no section"),
        ({"a": stage("grpo", set={"algo.name": "grop"})}, {}, "algo.name is 'grop'"),
        ({"a": stage("grpo")}, {"set": {"model.path": "x"}}, "model.path cannot be set"),
        ({"a": stage("grpo")}, {"set": {"train.max_steps": 2}}, r"set, for eval .*unknown key 'train'"),
        ({"s": stage("distill"), "a": stage("grpo", rows="s")}, {}, r"stages.a.rows is s, and .*no \[cold_start\]"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_named(tmp_path: Path, stages, keys, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"(?s){expected}"):
        read_study(write(tmp_path, stages, {"A": "a"}, **keys))


def test_a_shared_stage_may_have_a_seed_of_its_own(tmp_path: Path) -> None:
    study = read_study(write(tmp_path, {"a": stage("grpo", seeds="shared", set={"train.seed": 9})}, {"A": "a"}))
    assert recipe(study, "mini/a").train.seed == 9


def test_the_example_of_the_package_can_be_read() -> None:
    study = read_study(MINI / "study.toml")
    assert len(study.graph.evaluated) == 4 * 3
    assert not study.graph.unused

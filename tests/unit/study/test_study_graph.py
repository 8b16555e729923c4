"""From a study file to its runs: what depends on what, what runs once, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import ARMS, RECIPES, TEACHERS, stage, write

from sbr.config.load import load_recipe
from sbr.config.study import StudyConfig
from sbr.errors import ConfigError
from sbr.study.graph import Graph, graph_of
from sbr.study.recipes import read_study


def graph(folder: Path, stages=TEACHERS, arms=ARMS, **keys) -> Graph:
    return graph_of(load_recipe(StudyConfig, write(folder, stages, arms, **keys)), "study.toml")


def test_runs_of_two_bases_and_two_seeds(tmp_path: Path) -> None:
    found = graph(tmp_path, bases={"a": "sbr:mini", "b": "sbr:mini"})
    names = list(found.jobs)
    of_a = [name for name in names if name.startswith("a/")]
    assert {name.removeprefix("a/") for name in of_a} == {
        *("base/eval", "self", "teacher", "teacher/eval", "strong"),
        *(
            f"{stage}/seed_{seed}{end}"
            for stage in ("sft", "sft_strong", "sft_grpo")
            for seed in (0, 1)
            for end in ("", "/eval")
        ),
    }
    assert sorted(name.replace("b/", "a/", 1) for name in names if name.startswith("b/")) == sorted(of_a)
    for place, name in enumerate(names):
        assert all(names.index(need) < place for need in found.jobs[name].needs)
    needs = {name: job.needs for name, job in found.jobs.items()}
    assert needs["a/self"] == needs["a/base/eval"] == needs["a/teacher"] == ()
    assert needs["a/strong"] == ("a/teacher",)
    assert needs["a/sft/seed_1"] == ("a/self",)
    assert needs["a/sft_grpo/seed_1"] == ("a/sft/seed_1",)
    assert needs["b/sft_grpo/seed_0/eval"] == ("b/sft_grpo/seed_0",)
    tiers = found.tiers()
    assert [tiers[f"a/{name}"] for name in ("teacher", "strong", "sft_strong/seed_0", "sft_strong/seed_0/eval")] == [
        *(0, 1, 2, 3)
    ]
    assert found.stages_of("a/sft_grpo/seed_1/eval") == ["a/self", "a/sft/seed_1", "a/sft_grpo/seed_1"]
    assert found.stages_of("a/base/eval") == []


def test_every_arm_has_every_base_and_seed_and_a_shared_model_is_evaluated_once(tmp_path: Path) -> None:
    found = graph(tmp_path)
    models = {(run.arm, run.seed): run.job for run in found.evaluated}
    assert models.keys() == {(arm, seed) for arm in ARMS for seed in (0, 1)}
    assert models["base", 0] == models["base", 1] == "mini/base/eval"
    assert models["teacher", 0] == models["teacher", 1] == "mini/teacher/eval"
    assert models["SFT", 1] == "mini/sft/seed_1/eval"


def test_two_arms_may_name_one_stage_and_a_stage_without_an_arm_is_left_out(tmp_path: Path) -> None:
    found = graph(tmp_path, arms={"one": "sft", "two": "sft"})
    assert [name for name in found.jobs if name.endswith("eval")] == ["mini/sft/seed_0/eval", "mini/sft/seed_1/eval"]
    assert len(found.evaluated) == 4
    assert set(found.unused) == {"teacher", "strong", "sft_strong", "sft_grpo"}
    assert not any("strong" in name for name in found.jobs)


def test_before_gives_a_run_and_what_it_needs(tmp_path: Path) -> None:
    found = graph(tmp_path)
    assert found.before(["mini/sft_grpo/seed_1/eval"]) == [
        *("mini/self", "mini/sft/seed_1", "mini/sft_grpo/seed_1", "mini/sft_grpo/seed_1/eval")
    ]
    with pytest.raises(ConfigError, match=r"no run 'mini/sft/seed_7/eval'; did you mean 'mini/sft/seed_\d/eval'"):
        found.before(["mini/sft/seed_7/eval"])


def changed(name: str, **keys):
    return {**TEACHERS, name: {**TEACHERS[name], **keys}}


@pytest.mark.parametrize(
    ("stages", "arms", "expected"),
    [
        (TEACHERS, {"SFT": "stf"}, "arms.SFT is 'stf', expected a stage or base; did you mean 'sft'"),
        (TEACHERS, {"SFT": "self"}, "arms.SFT names self, a distillation, which has no model"),
        (changed("sft", rows="sefl"), ARMS, "stages.sft.rows is 'sefl', which is no stage; did you mean 'self'"),
        (changed("sft", rows="teacher"), ARMS, "stages.sft.rows names teacher, a run of `sbr grpo`"),
        (changed("sft_grpo", model="stf"), ARMS, "stages.sft_grpo.model is 'stf'.*did you mean 'sft'"),
        (changed("strong", model="self"), ARMS, "stages.strong.model names self, a distillation"),
        (changed("strong", rows="self"), ARMS, "stages.strong.rows: a distillation learns no rows"),
        (changed("strong", model="sft"), ARMS, "stages.strong.model names sft, which has a run for every seed"),
        (changed("sft", model="sft_grpo"), ARMS, "in a circle: .*sft.* <- "),
        (changed("sft", model="sft"), ARMS, "in a circle: sft <- sft"),
    ],
)
def test_stages_that_do_not_fit_are_named(tmp_path: Path, stages, arms, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"^study.toml: .*{expected}"):
        graph(tmp_path, stages, arms)


def test_a_study_has_an_end(tmp_path: Path) -> None:
    bases = {f"b{number}": "sbr:mini" for number in range(100)}
    with pytest.raises(ConfigError, match="1,300,000 runs, and a study has at most 100,000"):
        graph(tmp_path, bases=bases, seeds=list(range(1000)))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"seed": [0]}, "unknown key 'seed'; did you mean 'seeds'.*`sbr study STUDY --help`"),
        ({"seeds": []}, "seeds is .*at least 1 item"),
        ({"seeds": [0, -1]}, "seeds.1 is -1"),
        ({"bases": {}}, "bases is .*at least 1 item"),
        ({"bases": {"../up": "sbr:mini"}}, "bases.*'../up': expected the name of a folder"),
        ({"bases": {"base": "sbr:mini"}}, "'base': expected the name of a folder"),
        ({"arms": {}}, "arms is .*at least 1 item"),
        (
            {"stages": {"sft": stage("sft", rowz="self")}},
            "unknown key 'stages.sft.rowz'; did you mean 'stages.sft.rows'",
        ),
        ({"stages": {"sft": {"run": "sft"}}}, "stages.sft.recipe is missing; set it in the study"),
        ({"stages": {"sft": stage("sft", seeds="some")}}, "stages.sft.seeds is 'some'"),
        ({"stages": {"sft": {"run": "ppo", "recipe": "x"}}}, "stages.sft.run is 'ppo'"),
        ({"stages": {"a/b": stage("sft")}}, "'a/b': expected the name of a folder"),
        ({"eval": {"recipe": RECIPES["eval"], "set": {"x": float("inf")}}}, "eval.set"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, keys, expected: str) -> None:
    file = write(tmp_path, **{"stages": TEACHERS, "arms": ARMS, **keys})
    if "Infinity" in (text := file.read_text("utf-8")):
        file.write_text(text.replace("Infinity", "inf"), "utf-8")
    with pytest.raises(ConfigError, match=rf"(?s)^{file}: .*{expected}"):
        read_study(file)

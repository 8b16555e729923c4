"""What a plan says of a tiny model: exact where arithmetic knows it, in the right order where it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sbr.config.load import validate
from sbr.config.recipes import GrpoRecipe, SftRecipe
from sbr.errors import ConfigError
from sbr.plan.advice import advise
from sbr.plan.plan import Plan, Rates, assumed_of, make_plan, state_bytes
from sbr.plan.stand_in import Cluster, sharding_of, state_of_a_copy, trained_model

RATES = Rates(1e12, 1e9)
MADE: dict[tuple[Any, ...], Plan] = {}


@pytest.fixture(scope="module")
def folder(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """config.json of the tiny model, and nothing else."""
    folder = tmp_path_factory.mktemp("structure")
    (folder / "config.json").write_bytes((tiny_model_dir / "config.json").read_bytes())
    return folder


def plan(folder: Path, gpus: int = 1, memory: int = 80 << 30, nodes: int = 1, kind: Any = GrpoRecipe, **values) -> Plan:
    """The same plan is made once."""
    key = (str(folder), gpus, memory, nodes, kind, repr(sorted(values.items())))
    if key not in MADE:
        MADE[key] = make_plan(*recipe_and_rest(folder, gpus, memory, nodes, kind, **values))
    return MADE[key]


def recipe_and_rest(folder: Path, gpus: int, memory: int, nodes: int, kind: Any, **values) -> Any:
    recipe = validate(kind, tree(folder, kind, values), "test")
    return recipe, Cluster(gpus, nodes, memory), assumed_of(recipe, 20, 12), RATES


def tree(folder: Path, kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "model": {"path": str(folder), "dtype": "float32"},
        "data": {"root": "d"},
        "output_dir": "o",
        "frames": {"max_frames": 4, "height": 56, "width": 56},
        "train": {"prompts_per_step": 4},
    }
    if kind is GrpoRecipe:
        made["rollout"] = {"group_size": 4, "max_new_tokens": 12}
    for key, value in values.items():
        section, _, name = key.partition("__")
        made.setdefault(section, {})[name] = value
    return made


def test_what_is_there_all_the_time_is_exact(folder: Path) -> None:
    found = plan(folder)
    weights = 4 * found.cost.weights
    for phase in found.cost.phases.values():
        assert {part: phase.parts[part] for part in ("weights", "optimizer", "reference")} == {
            "weights": weights,
            "optimizer": 2 * weights,
            "reference": weights,
        }
    update = found.cost.phases["update"].parts
    assert weights <= update["gradients"] <= 1.5 * weights  # those of earlier microbatches, and of one layer
    assert list(found.cost.phases) == ["prefill", "decoding", "reference", "update"]
    assert found.cost.prompt_tokens == 20 + 2 * 4 + 4
    assert found.fits
    assert found.cost.phases["decoding"].parts["caches"] > 0


def test_adapters_need_no_reference_and_few_moments(folder: Path) -> None:
    found = plan(folder, lora__rank=2)
    parts = found.cost.phases["update"].parts
    assert "reference" not in parts
    assert parts["optimizer"] == 8 * found.cost.trained < parts["weights"] / 4


def test_weights_in_parts(folder: Path) -> None:
    whole, cut = plan(folder), plan(folder, gpus=4, train__sharding="full")
    nodes = plan(folder, gpus=4, nodes=2, train__sharding="hybrid")
    for part in ("weights", "optimizer", "reference"):
        full, quarter, half = (found.cost.phases["update"].parts[part] for found in (whole, cut, nodes))
        assert full / 4 <= quarter <= 1.1 * full / 4  # a part of each weight is rounded up
        assert full / 2 <= half <= 1.1 * full / 2
    assert cut.cost.phases["decoding"].parts["twin"] >= 4 * cut.cost.weights
    assert "twin" not in cut.cost.phases["update"].parts
    assert cut.cost.phases["update"].parts["gathered"] > 0


def test_copies_exchange_gradients_through_buckets(folder: Path) -> None:
    found = plan(folder, gpus=4)
    assert found.cost.mode == "none"
    assert found.cost.phases["update"].parts["buckets"] == 4 * found.cost.weights


def test_auto_cuts_where_a_copy_takes_more_than_half(folder: Path) -> None:
    recipe = recipe_and_rest(folder, 1, 1, 1, GrpoRecipe)[0]
    state = state_of_a_copy(recipe)
    assert state == 20 * sum(weight.numel() for weight in trained_model(recipe).parameters())
    assert sharding_of(recipe, Cluster(2, 1, 2 * state)) == "none"
    assert sharding_of(recipe, Cluster(2, 1, 2 * state - 10)) == "full"
    assert sharding_of(recipe, Cluster(4, 2, 2 * state - 10)) == "hybrid"
    assert sharding_of(recipe, Cluster(1, 1, 1)) == "none"


def test_sixteen_bits(folder: Path) -> None:
    rounded = plan(folder, model__dtype="bfloat16")
    lean = plan(
        folder, model__dtype="bfloat16", train__weights="bfloat16", train__optimizer="adamw_8bit", algo__beta=0.0
    )
    assert rounded.cost.phases["update"].parts["rounded"] > 0
    parts = lean.cost.phases["update"].parts
    assert parts["weights"] == 2 * lean.cost.weights
    assert "reference" not in parts
    assert parts["optimizer"] < 8 * lean.cost.weights
    assert "rounded" not in parts


def test_a_pass_that_is_computed_again_keeps_no_rounded_weights(folder: Path) -> None:
    kept, computed = (
        plan(folder, model__dtype="bfloat16", model__gradient_checkpointing=again)
        .cost.phases["update"]
        .parts["rounded"]
        for again in (False, True)
    )
    assert computed < kept / 2


def test_what_saves_activations(folder: Path) -> None:
    def taken(**values: Any) -> int:
        parts = plan(folder, **values).cost.phases["update"].parts
        return parts["activations"] + parts.get("logits", 0)

    plain = taken()
    assert taken(model__gradient_checkpointing=True) < plain
    assert taken(train__completions_per_microbatch=1) < plain
    assert taken(train__prompts_per_microbatch=2) > plain


def test_supervised_fine_tuning_has_one_phase(folder: Path) -> None:
    found = plan(folder, kind=SftRecipe)
    assert list(found.cost.phases) == ["update"]
    assert found.seconds["update"] == found.cost.phases["update"].operations / RATES.operations > 0


def test_operations_of_a_prompt_do_not_depend_on_the_step(folder: Path) -> None:
    one, four = plan(folder, train__prompts_per_step=1), plan(folder, train__prompts_per_step=4)
    for name, phase in one.cost.phases.items():
        assert four.cost.phases[name].operations == pytest.approx(phase.operations, rel=0.01)


def test_what_does_not_fit_is_told_what_does(folder: Path) -> None:
    recipe, cluster, assumed, rates = recipe_and_rest(folder, 1, 80 << 30, 1, GrpoRecipe)
    enough = make_plan(recipe, cluster, assumed, rates)
    memory = int(enough.peak / 0.9) - 1000
    small = Cluster(1, 1, memory)
    tight = make_plan(recipe, small, assumed, rates)
    assert not tight.fits
    advice = advise(recipe, tight, rates)
    assert advice is not None
    assert advice.fits
    assert advice.changes[0] == "--model.gradient_checkpointing"
    none = make_plan(recipe, Cluster(1, 1, 1000), assumed, rates)
    assert state_bytes(recipe, small) > 1000
    assert advise(recipe, none, rates) is None


def test_as_json(folder: Path) -> None:
    found = json.loads(json.dumps(plan(folder).as_json()))
    assert found["peak_bytes"] == sum(found["parts"].values()) == sum(found["phases"][found["peak_phase"]].values())
    assert found["fits"] is True
    assert found["operations_per_prompt"]["total"] == sum(
        found["operations_per_prompt"][name] for name in found["phases"]
    )


def test_what_the_run_would_refuse_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="3 processes cannot share evenly"):
        plan(folder, gpus=3)
    with pytest.raises(ConfigError, match="cannot be cut into parts"):
        plan(folder, gpus=2, train__optimizer="adamw_8bit", train__sharding="full")
    with pytest.raises(ConfigError, match="group_size is 1"):
        plan(folder, rollout__group_size=1)
    with pytest.raises(ConfigError, match="a group cannot be cut"):
        plan(folder, algo__name="reg_grpo", train__completions_per_microbatch=2)


def test_a_server_of_vllm_on_the_same_gpu_or_elsewhere(folder: Path) -> None:
    here = plan(folder, rollout__sampler="vllm", rollout__vllm={"gpu_memory": 0.25})
    assert here.cost.phases["rollout"].parts["sampler"] == 20 << 30
    assert {name for name, phase in here.cost.phases.items() if "sampler" in phase.parts} == {"rollout"}
    elsewhere = plan(folder, rollout__sampler="vllm", rollout__vllm={"urls": ["http://other:8000"]})
    assert "sampler" not in elsewhere.cost.phases["rollout"].parts
    assert elsewhere.cost.phases["update"] == here.cost.phases["update"] == plan(folder).cost.phases["update"]

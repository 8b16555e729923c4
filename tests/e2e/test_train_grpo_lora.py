"""GRPO with LoRA from files to adapter: only adapters move, exact resume, the adapter folder for sbr eval and peft."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import forked
import peft
import pytest
import test_train_grpo as whole
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from sbr.algo.select import select
from sbr.cli import eval as cli_eval
from sbr.config.inputs import LoraConfig, ModelConfig, PromptConfig
from sbr.config.load import validate
from sbr.config.recipes import GrpoRecipe
from sbr.data.sources.seed_bench_r1 import load_level
from sbr.errors import CheckpointError, ConfigError
from sbr.eval.records import read_records
from sbr.eval.runner import evaluate
from sbr.frames.load import load_frames
from sbr.model import lora
from sbr.model.load import load_model, load_processor
from sbr.model.logprobs import completion_logprobs
from sbr.model.paths import resolve_model_path
from sbr.model.tokens import banned_tokens
from sbr.prompt.encode import PromptEncoder
from sbr.train.grpo.loop import train_grpo
from sbr.train.grpo.update import make_microbatches
from sbr.train.setup import make_accelerator, make_trainer

model_dir, data_root, make_recipe = whole.model_dir, whole.data_root, whole.make_recipe  # fixtures
CPU = torch.device("cpu")
STEPS = 3


@pytest.fixture(scope="module")
def make_lora_recipe(make_recipe: Callable[..., GrpoRecipe]) -> Callable[..., GrpoRecipe]:
    """make_lora_recipe(output_dir, {"train.seed": 3}): adapters of rank 4, three steps, each saved."""

    def make(output_dir: Path, changes: dict[str, Any] | None = None) -> GrpoRecipe:
        few = {"train.max_steps": STEPS, "train.save_every": 1, "train.warmup_ratio": 0.0, "train.learning_rate": 1e-2}
        values = make_recipe(output_dir).model_dump(mode="json") | {"lora": {"rank": 4, "alpha": 8}}
        for key, value in {**few, "log.completions_every": 1, **(changes or {})}.items():
            section, name = key.split(".")
            values[section][name] = value
        return validate(GrpoRecipe, values, "test")

    return make


@pytest.fixture(scope="module")
def finished(make_lora_recipe: Callable[..., GrpoRecipe], tmp_path_factory: pytest.TempPathFactory) -> GrpoRecipe:
    """An uninterrupted run."""
    recipe = make_lora_recipe(tmp_path_factory.mktemp("finished") / "run")
    train_grpo(recipe, resume=False)
    return recipe


def adapter_weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def assert_same_run(folder: Path, other: Path) -> None:
    assert whole.repeatable(folder) == whole.repeatable(other)
    assert whole.read_lines(folder / "completions.jsonl") == whole.read_lines(other / "completions.jsonl")
    for name in ("checkpoint-3", "final"):
        weights, others = adapter_weights(folder / name), adapter_weights(other / name)
        assert weights.keys() == others.keys()
        assert all(torch.equal(weight, others[key]) for key, weight in weights.items())


def test_run_leaves_adapters_that_learned_from_a_kl_of_zero(finished, model_dir):
    folder = finished.output_dir
    lines = whole.read_lines(folder / "metrics.jsonl")
    assert lines[0]["kl"] == 0.0  # before the first update the policy is the reference, bit for bit
    assert min(line["kl"] for line in lines[1:]) > 0
    assert all(line["ratio_mean"] == 1.0 and line["rollout_mismatch"] < 1e-5 for line in lines)
    assert sorted(path.name for path in (folder / "final").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    saved = json.loads((folder / "final" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (saved["r"], saved["lora_alpha"], saved["base_model_name_or_path"]) == (4, 8, str(model_dir.resolve()))
    weights = adapter_weights(folder / "final")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert all(weight.abs().max() > 0 for weight in weights.values())  # B started at 0
    assert not any(".visual." in name for name in weights)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_changes_adapters_only(make_lora_recipe, tmp_path, monkeypatch, dtype):
    seen = {}

    def watch(*args, **kwargs):
        seen["trainer"] = trainer = make_trainer(*args, **kwargs)
        seen["start"] = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
        return trainer

    monkeypatch.setattr("sbr.train.run.make_trainer", watch)
    changes = {"train.max_steps": 1, "model.dtype": dtype, "model.gradient_checkpointing": True, "lora.vision": True}
    recipe = make_lora_recipe(tmp_path / "run", changes)
    AcceleratorState._reset_state(reset_partial_state=True)  # accelerate keeps one precision per process
    train_grpo(recipe, resume=False)
    AcceleratorState._reset_state(reset_partial_state=True)
    (line,) = whole.repeatable(recipe.output_dir)
    assert line["kl"] == 0.0
    assert line["rollout_mismatch"] < (1e-5 if dtype == "float32" else 0.1)
    trainer, start = seen["trainer"], seen["start"]
    moved = {name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, start[name])}
    assert moved == {name for name in start if ".lora_B." in name}  # A has no gradient while B is 0
    assert any(".visual." in name for name in moved)
    optimized = {id(weight) for group in trainer.optimizer.param_groups for weight in group["params"]}
    assert optimized == {id(weight) for name, weight in trainer.model.named_parameters() if ".lora_" in name}
    assert {weight.dtype for name, weight in start.items() if ".lora_" in name} == {torch.float32}
    assert {weight.dtype for name, weight in start.items() if ".lora_" not in name} == {getattr(torch, dtype)}


def test_new_adapters_depend_on_the_seed_alone(make_lora_recipe, tmp_path):
    def first_adapters(seed: int) -> dict[str, torch.Tensor]:
        recipe = make_lora_recipe(tmp_path, {"train.seed": seed})
        trainer = make_trainer(recipe, make_accelerator(recipe), STEPS, None, select(recipe.algo, 20))
        after = torch.get_rng_state()
        assert torch.equal(after, torch.manual_seed(seed).get_state())  # what follows is random by the seed alone, too
        return {name: weight for name, weight in trainer.model.named_parameters() if ".lora_A." in name}

    torch.manual_seed(1)
    one = first_adapters(0)
    torch.manual_seed(2)
    same, other = first_adapters(0), first_adapters(1)
    assert all(torch.equal(weight, same[name]) for name, weight in one.items())
    assert not any(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_kill_9_while_saving_then_resume_gives_the_same_run(finished, make_lora_recipe, tmp_path, dtype):
    recipe = make_lora_recipe(tmp_path / "run", {"model.dtype": dtype})
    AcceleratorState._reset_state(reset_partial_state=True)
    if dtype == "bfloat16":
        finished = make_lora_recipe(tmp_path / "uninterrupted", {"model.dtype": dtype})
        train_grpo(finished, resume=False)
    file = tmp_path / "recipe.json"
    file.write_text(recipe.model_dump_json(), encoding="utf-8")
    process = forked.run("-c", whole.KILL_IN_THE_SECOND_SAVE, file)
    assert process.returncode == -signal.SIGKILL, process.output
    assert (recipe.output_dir / "checkpoint-1").exists()
    assert not (recipe.output_dir / "checkpoint-2").exists()
    train_grpo(recipe, resume=True)
    AcceleratorState._reset_state(reset_partial_state=True)
    assert_same_run(recipe.output_dir, finished.output_dir)


def test_old_and_reference_log_probabilities_are_without_dropout(make_lora_recipe, sbr_sample, sbr_frames, tmp_path):
    """In whatever mode the step before has left the model."""
    recipe = make_lora_recipe(tmp_path, {"lora.dropout": 0.5})
    algorithm = select(recipe.algo, recipe.rollout.max_new_tokens)
    trainer = make_trainer(recipe, make_accelerator(recipe), 3, None, algorithm)
    groups = whole.three_groups(trainer, sbr_sample, sbr_frames)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:  # 0 at the start, which would hide the dropout
                weight.normal_(std=0.5)
    completions_PG = [[completion.token_ids for completion in group.completions] for group in groups]
    trainer.policy.train()
    (batch,) = make_microbatches(trainer, algorithm, groups, torch.ones(3, 3), 3, updates=2)
    assert all(module.training for module in trainer.policy.modules())

    def asked(reference: bool) -> torch.Tensor:
        with torch.no_grad(), lora.adapters_off(trainer.model) if reference else nullcontext():
            return completion_logprobs(trainer.model, [group.prompt for group in groups], completions_PG).logprobs_BL

    assert not torch.allclose(asked(False), batch.old_logprobs_BL, atol=1e-2)  # dropout shows
    trainer.policy.eval()
    torch.testing.assert_close(batch.old_logprobs_BL, asked(False), atol=1e-6, rtol=0)
    torch.testing.assert_close(batch.ref_logprobs_BL, asked(True), atol=1e-6, rtol=0)
    assert not torch.allclose(batch.old_logprobs_BL, batch.ref_logprobs_BL, atol=1e-2)


def test_eval_of_the_run_answers_as_plain_peft(finished, data_root, tmp_path):
    row = {
        "sample_id": 1,
        "video_source": "EpicKitchens",
        "video_id": "P0",
        "video_basename": "0.mp4",
        "current_observation_basename": "0.png",
        "current_observation_frame": 5,
        "task_goal": "make tea",
        "question": "What next in order to make tea?",
        "answer": whole.ACTIONS[0],
        "task_progress_metadata": [{"narration_text": "open cupboard", "start_frame": 0, "stop_frame": 4}],
        "golden_choice_idx": "A",
    } | {f"choice_{letter}": action for letter, action in zip("abcd", whole.ACTIONS, strict=False)}
    root = tmp_path / "data"
    shutil.copytree(data_root, root)
    (root / "annotations" / "validation_L1.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    words = ["--run", str(finished.output_dir), "--data", str(root), "--out", str(tmp_path / "eval"), "--levels", "L1"]
    recipe = cli_eval.parse(words)
    assert recipe.model.path == str(finished.output_dir / "final")
    evaluate(recipe)
    (record,) = read_records(recipe.output_dir / "records.jsonl")

    model_dir = finished.model.path
    (sample,) = load_level(root, "L1", None)
    encoder = PromptEncoder(load_processor(model_dir), recipe.prompt)
    prompt = encoder.encode(sample, load_frames(sample, recipe.frames, encoder.size_factor))
    base: Any = AutoModelForImageTextToText.from_pretrained(model_dir)
    plain: Any = peft.PeftModel.from_pretrained(base, str(finished.output_dir / "final"))
    given = {
        "input_ids": prompt.input_ids_S[None],
        "mm_token_type_ids": prompt.mm_token_type_ids_S[None],
        "pixel_values": prompt.pixel_values,
        "image_grid_thw": prompt.image_grid_thw,
        "pixel_values_videos": prompt.pixel_values_videos,
        "video_grid_thw": prompt.video_grid_thw,
    }
    banned = banned_tokens(load_model(finished.model, CPU), encoder.tokenizer)
    tokens = plain.generate(**given, do_sample=False, max_new_tokens=20, suppress_tokens=banned)[0, len(prompt) :]
    assert record.response == encoder.tokenizer.decode(tokens, skip_special_tokens=True)
    # The base decides the answers too, so an evaluation is not continued when it has changed.
    inputs = json.loads((recipe.output_dir / "inputs.json").read_text(encoding="utf-8"))
    assert {"final/adapter_model.safetensors", f"base/{Path(model_dir).name}/model.safetensors"} <= inputs.keys()


def test_a_start_that_fails_leaves_no_run_behind(make_lora_recipe, tmp_path):
    recipe = make_lora_recipe(tmp_path / "run", {"lora.target_modules": ("q_porj",)})
    with pytest.raises(ConfigError, match="no linear layer is called 'q_porj'"):
        train_grpo(recipe, resume=False)
    assert not recipe.output_dir.exists()


def test_checkpoints_are_ordinary_peft_folders(finished, model_dir, sbr_sample, sbr_frames):
    prompt = PromptEncoder(load_processor(str(model_dir)), PromptConfig()).encode(sbr_sample(), sbr_frames())
    completion = load_processor(str(model_dir)).tokenizer("<answer>B</answer><|im_end|>").input_ids
    ids = torch.cat([prompt.input_ids_S, torch.tensor(completion)])[None]
    given = {
        "input_ids": ids,
        "mm_token_type_ids": torch.nn.functional.pad(prompt.mm_token_type_ids_S, (0, len(completion)))[None],
        "pixel_values": prompt.pixel_values,
        "image_grid_thw": prompt.image_grid_thw,
        "pixel_values_videos": prompt.pixel_values_videos,
        "video_grid_thw": prompt.video_grid_thw,
    }
    for name in ("checkpoint-3", "final"):
        folder = finished.output_dir / name
        base: Any = AutoModelForImageTextToText.from_pretrained(model_dir)
        with torch.no_grad():
            before = base(**given).logits
            plain = peft.PeftModel.from_pretrained(base, str(folder))
            logits = plain(**given).logits[0, len(prompt) - 1 : -1]
            expected = logits.log_softmax(-1).gather(-1, torch.tensor(completion)[:, None]).squeeze(-1)
            assert (plain(**given).logits - before).abs().max() > 1e-2
            apart = load_model(ModelConfig(path=str(model_dir), dtype="float32"), CPU)
            lora.load_adapter(apart, folder)
            merged = load_model(ModelConfig(path=str(folder), dtype="float32"), CPU)
            torch.testing.assert_close(apart(**given).logits, plain(**given).logits, atol=1e-5, rtol=0)
            for model in (apart, merged):
                ours = completion_logprobs(model, [prompt], [[completion]]).logprobs_BL[0]
                torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
        processor = load_processor(str(folder))
        again = PromptEncoder(processor, PromptConfig()).encode(sbr_sample(), sbr_frames())
        assert torch.equal(again.input_ids_S, prompt.input_ids_S)
        assert torch.equal(again.pixel_values, prompt.pixel_values)


def test_the_built_in_model_is_named_by_its_folder_so_that_peft_finds_it(tmp_path):
    model = load_model(ModelConfig(path="sbr:mini", dtype="float32"), CPU)
    lora.add_adapter(model, LoraConfig(rank=2), "sbr:mini", seed=0)
    lora.save_adapter(model, tmp_path)
    base = json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert base == str(Path(resolve_model_path("sbr:mini")).resolve())
    again = load_model(ModelConfig(path=str(tmp_path), dtype="float32"), CPU)
    plain = load_model(ModelConfig(path="sbr:mini", dtype="float32"), CPU)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), plain.parameters(), strict=True))  # B is 0


def test_refusals_before_anything_is_loaded(finished, make_lora_recipe, tmp_path):
    frozen = make_lora_recipe(tmp_path / "frozen", {"lora.vision": True, "model.train_vision": False})
    with pytest.raises(ConfigError, match=r"lora\.vision.*train_vision = false"):
        train_grpo(frozen, resume=False)
    twice = make_lora_recipe(tmp_path / "twice", {"model.path": str(finished.output_dir / "final")})
    with pytest.raises(ConfigError, match=r"is an adapter, and \[lora\] would put a second one on it"):
        train_grpo(twice, resume=False)
    coarse = {"model.path": twice.model.path, "train.weights": "bfloat16", "train.optimizer": "adamw_8bit"}
    unmerged = make_lora_recipe(tmp_path / "unmerged", {**coarse, "model.dtype": "bfloat16"})
    with pytest.raises(ConfigError, match="is an adapter, which is merged into float32 weights only"):
        train_grpo(unmerged.model_copy(update={"lora": None}), resume=False)
    assert list(tmp_path.iterdir()) == []
    other = make_lora_recipe(finished.output_dir, {"lora.rank": 8})
    with pytest.raises(CheckpointError, match=r"lora\.rank: 4 then, 8 now"):
        train_grpo(other, resume=True)
    unknown = make_lora_recipe(tmp_path / "unknown", {"lora.target_modules": ("q_proj", "query")})
    with pytest.raises(ConfigError, match=r"no linear layer is called 'query'; there are down_proj, gate_proj"):
        train_grpo(unknown, resume=False)

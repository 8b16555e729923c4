"""SFT from a CoT file to a checkpoint, alone and as the cold start of GRPO: resume, kill -9, processes, refusals."""

from __future__ import annotations

import json
import math
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import forked
import pytest
import test_train_grpo as grpo
import torch
from safetensors.torch import load_file

from sbr.cli import eval as cli_eval
from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.config.load import validate
from sbr.config.recipes import EvalRecipe, GrpoRecipe, SftRecipe
from sbr.data.rows.annotations import ChatMessage, ChatPart, CotRow, write_rows
from sbr.data.sources.cot import hold_out, load_cot_questions
from sbr.data.sources.select import load_training
from sbr.errors import CheckpointError, ConfigError, DataError, MediaError, NotFiniteError
from sbr.eval.runner import evaluate
from sbr.frames.load import load_frames
from sbr.model.load import load_model, load_processor
from sbr.model.logprobs import completion_logprobs
from sbr.prompt.encode import PromptEncoder
from sbr.prompt.template import chat_messages
from sbr.train.grpo.loop import train_grpo
from sbr.train.learner import Watcher
from sbr.train.sft.loop import train_sft

model_dir = grpo.model_dir  # a fixture
STEPS = 4
RESPONSES = (
    "<think>the kettle</think><answer>{}</answer>",
    "<answer>{}</answer>",
    "<think>no</think><answer>{}</answer>",
)


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seven training rows of the GRPO tests, and a CoT file: 1 to 3 right answers to each; a level of six rows."""
    root = grpo.data_root.__wrapped__(tmp_path_factory)
    return with_cot_file(root)


def with_cot_file(root: Path) -> Path:
    rows = []
    config = validate(SftRecipe, values_of(root, Path("m"), Path("o")), "test").data
    for number, sample in enumerate(load_training(config)):
        parts = []
        for part in chat_messages(sample)[0]["content"]:
            medium = {"video": sample.video, "image": sample.image}.get(part["type"])
            value = part["text"] if medium is None else Path(str(medium)).relative_to(root).as_posix()
            parts.append(ChatPart(part["type"], value))
        for text in RESPONSES[: 1 + number % 3]:
            row = CotRow(prompt=(ChatMessage("user", tuple(parts)),), response=text.format(sample.gold))
            rows.append(row)
    write_rows(root / "annotations" / "training_with_cot_6k.jsonl", rows)
    grpo.write_level(root, "L1", 6)
    return root


def values_of(root: Path, model: Path, output_dir: Path) -> dict[str, Any]:
    return {
        "output_dir": output_dir,
        "model": {"path": str(model), "dtype": "float32"},
        "data": {"root": root},
        "frames": {"height": 56, "width": 56, "max_frames": 4},
        "train": {
            "prompts_per_step": 4,
            "prompts_per_microbatch": 3,
            "max_steps": STEPS,
            "learning_rate": 3e-3,
            "warmup_ratio": 0.25,
            "save_every": 2,
        },
        "validation": {"max_new_tokens": 20},
    }


@pytest.fixture(scope="module")
def make_recipe(model_dir: Path, data_root: Path) -> Callable[..., SftRecipe]:
    """make_recipe(output_dir, {"train.seed": 3}): a small recipe."""

    def make(output_dir: Path, changes: Mapping[str, Any] | None = None) -> SftRecipe:
        values = values_of(data_root, model_dir, output_dir)
        for key, value in (changes or {}).items():
            section, name = key.split(".")
            values.setdefault(section, {})[name] = value
        return validate(SftRecipe, values, "test")

    return make


@pytest.fixture(scope="module")
def finished(make_recipe: Callable[..., SftRecipe], tmp_path_factory: pytest.TempPathFactory) -> SftRecipe:
    """An uninterrupted run."""
    recipe = make_recipe(tmp_path_factory.mktemp("finished") / "run")
    train_sft(recipe, resume=False)
    return recipe


def assert_same_run(folder: Path, other: Path) -> None:
    assert grpo.repeatable(folder) == grpo.repeatable(other)
    weights, others = (load_file(path / "final" / "model.safetensors") for path in (folder, other))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert torch.equal(weight, others[name]), name


def test_run_learns_and_leaves_metrics_checkpoints_and_a_model(finished, model_dir):
    folder = finished.output_dir
    lines = grpo.read_lines(folder / "metrics.jsonl")
    names = ["checkpoint-2", "checkpoint-4", "final", "inputs.json", "metrics.jsonl", "recipe.json"]
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == names
    # Warm-up over one of four steps, then a cosine to zero.
    rates = [0.0, *(3e-3 * (1 + math.cos(math.pi * k / 3)) / 2 for k in range(3))]
    assert [line["learning_rate"] for line in lines] == pytest.approx(rates)
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
    assert all(line["held_out_loss"] is None and line["validation_accuracy"] == {} for line in lines)
    assert sum(line["rows"] for line in lines[:2]) > 8  # a question brings all its responses
    assert lines[-1]["epoch"] == pytest.approx(4 * 4 / 7)
    before, after = load_file(model_dir / "model.safetensors"), load_file(folder / "final" / "model.safetensors")
    assert all(not torch.equal(weight, before[name]) for name, weight in after.items())  # the vision tower learns too


def loss_of(recipe: SftRecipe, folder: str, questions: Any) -> float:
    """One response at a time through plain log-probabilities."""
    model = load_model(ModelConfig(path=folder, dtype="float32"), torch.device("cpu"))
    encoder = PromptEncoder(load_processor(folder), PromptConfig())
    rows = []
    for question in questions:
        prompt = encoder.encode_question(question, load_frames(question, recipe.frames, encoder.size_factor))
        for text in question.responses:
            ids = encoder.tokenizer(f"{text}<|im_end|>", add_special_tokens=False).input_ids
            with torch.no_grad():
                rows += completion_logprobs(model, [prompt], [[ids]]).logprobs_BL[0].tolist()
    return -sum(rows) / len(rows)


def test_the_first_loss_is_that_of_the_start_on_the_rows_of_the_step(finished, make_recipe, tmp_path):
    recipe = make_recipe(tmp_path / "run", {"train.max_steps": 1, "train.prompts_per_step": 7})
    train_sft(recipe, resume=False)
    (line,) = grpo.read_lines(recipe.output_dir / "metrics.jsonl")
    questions = load_cot_questions(recipe.data)
    assert (line["rows"], len(questions)) == (1 + 2 + 3 + 1 + 2 + 3 + 1, 7)
    assert line["loss"] == pytest.approx(loss_of(recipe, recipe.model.path, questions), abs=1e-5)


class StopAfter(Watcher):
    def __init__(self, step: int) -> None:
        self.step = step

    def stepped(self, metrics: Any) -> None:
        if metrics.step == self.step:
            raise grpo.BrokenOffError


def test_resumed_run_equals_the_uninterrupted_one(finished, make_recipe, data_root, tmp_path):
    cot_file = tmp_path / "cot.jsonl"
    shutil.copy(data_root / "annotations" / "training_with_cot_6k.jsonl", cot_file)
    recipe = make_recipe(tmp_path / "run", {"data.cot_file": str(cot_file)})
    with pytest.raises(grpo.BrokenOffError):
        train_sft(recipe, resume=False, watcher=StopAfter(3))
    with pytest.raises(ConfigError, match=r"already holds a run.*--resume"):
        train_sft(recipe, resume=False)
    other = make_recipe(tmp_path / "run", {"data.cot_file": str(cot_file), "train.learning_rate": 1e-3})
    with pytest.raises(CheckpointError, match=r"train\.learning_rate: 0\.003 then, 0\.001 now"):
        train_sft(other, resume=True)
    text = cot_file.read_text(encoding="utf-8")
    cot_file.write_text("".join(sorted(text.splitlines(keepends=True), reverse=True)), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"cot\.jsonl\) has changed"):
        train_sft(recipe, resume=True)
    cot_file.write_text(text, encoding="utf-8")
    train_sft(recipe, resume=True)
    assert_same_run(recipe.output_dir, finished.output_dir)
    train_sft(recipe, resume=True)  # a finished run stays as it is
    assert_same_run(recipe.output_dir, finished.output_dir)


KILL_IN_THE_SECOND_SAVE = grpo.KILL_IN_THE_SECOND_SAVE.replace("train.grpo import", "train.sft import")
KILL_IN_THE_SECOND_SAVE = KILL_IN_THE_SECOND_SAVE.replace("train_grpo", "train_sft").replace("GrpoRecipe", "SftRecipe")


def run_script(script: str, recipe: Any, tmp_path: Path) -> forked.Forked:
    file = tmp_path / "recipe.json"
    file.write_text(recipe.model_dump_json(), encoding="utf-8")
    return forked.run("-c", script, file)


def test_kill_9_while_saving_then_resume_gives_the_same_run(finished, make_recipe, tmp_path):
    recipe = make_recipe(tmp_path / "run")
    process = run_script(KILL_IN_THE_SECOND_SAVE, recipe, tmp_path)
    assert process.returncode == -signal.SIGKILL, process.output
    assert (recipe.output_dir / "checkpoint-2").exists()
    assert not (recipe.output_dir / "checkpoint-4").exists()
    train_sft(recipe, resume=True)
    assert_same_run(recipe.output_dir, finished.output_dir)


def test_looks_at_held_out_videos_and_a_level_change_nothing_else(make_recipe, tmp_path):
    looks = {"validation.share": 0.3, "validation.levels": ("L1",), "validation.every": 2, "validation.batch_size": 2}
    few = {"train.prompts_per_step": 2, "train.learning_rate": 1e-5}  # it still answers
    recipe = make_recipe(tmp_path / "run", {**few, **looks})
    train_sft(recipe, resume=False)
    lines = grpo.read_lines(recipe.output_dir / "metrics.jsonl")
    assert [line["held_out_loss"] is not None for line in lines] == [False, True, False, True]
    assert [list(line["validation_accuracy"]) == ["L1"] for line in lines] == [False, True, False, True]
    questions = load_cot_questions(recipe.data)
    train, held_out = hold_out(questions, recipe.data, 0.3, 0)
    assert (len(train), len(held_out)) == (4, 3)
    final = str(recipe.output_dir / "final")
    assert lines[-1]["held_out_loss"] == pytest.approx(loss_of(recipe, final, held_out), abs=1e-5)
    # The accuracy is that of an ordinary evaluation of the same weights.
    values = cli_eval.values_of_run(recipe.output_dir)
    values["eval"] |= {"levels": ["L1"], "batch_size": 2}
    evaluated = evaluate(validate(EvalRecipe, values, "test"))
    assert 0 < lines[-1]["validation_accuracy"]["L1"] < 1
    assert evaluated.levels[0].overall.accuracy == pytest.approx(lines[-1]["validation_accuracy"]["L1"])
    # A run that looks less often learns the same.
    blind = make_recipe(tmp_path / "blind", {**few, "validation.share": 0.3, "validation.every": 9})
    train_sft(blind, resume=False)
    weights, others = (load_file(r.output_dir / "final" / "model.safetensors") for r in (recipe, blind))
    assert all(torch.equal(weight, others[name]) for name, weight in weights.items())


def test_lora_trains_adapters_only_and_a_frozen_tower_stays(make_recipe, model_dir, tmp_path):
    adapters = make_recipe(tmp_path / "lora", {"lora.rank": 4, "train.max_steps": 2, "train.warmup_ratio": 0.0})
    train_sft(adapters, resume=False)
    names = load_file(adapters.output_dir / "final" / "adapter_model.safetensors").keys()
    assert names
    assert all(".lora_" in name and ".visual." not in name for name in names)
    values = cli_eval.values_of_run(adapters.output_dir)
    assert values["model"]["path"] == str(adapters.output_dir / "final")
    frozen = make_recipe(tmp_path / "frozen", {"model.train_vision": False, "train.max_steps": 2})
    train_sft(frozen, resume=False)
    before, after = load_file(model_dir / "model.safetensors"), load_file(frozen.output_dir / "final/model.safetensors")
    same = {name for name, weight in after.items() if torch.equal(weight, before[name])}
    assert same == {name for name in after if "visual." in name}


def test_a_run_can_be_evaluated(finished, data_root):
    recipe = cli_eval.parse(["--run", str(finished.output_dir), "--levels", "L1", "--limit", "3"])
    assert (recipe.model.path, recipe.data.root) == (str(finished.output_dir / "final"), data_root)
    assert (recipe.frames, recipe.eval.max_new_tokens, recipe.eval.rule) == (finished.frames, 20, "official")


def test_what_cannot_be_learned_is_refused_by_name(make_recipe, data_root, model_dir, tmp_path):
    file = data_root / "annotations" / "training_with_cot_6k.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    def recipe_for(name: str, rows: list[dict[str, Any]], changes: Mapping[str, Any] | None = None) -> SftRecipe:
        own = tmp_path / f"{name}.jsonl"
        own.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        once = {"data.cot_file": str(own), "train.prompts_per_step": len(rows), "train.max_steps": 1}
        return make_recipe(tmp_path / name, {**once, **(changes or {})})

    special = [lines[0], lines[1] | {"response": "<answer>A</answer><|im_end|>"}]
    with pytest.raises(DataError, match=r"special\.jsonl:2: response is .* which holds <\|im_end\|>"):
        train_sft(recipe_for("special", special), resume=False)
    moved = json.loads(json.dumps(lines[0]))
    moved["prompt"][0]["content"][0]["video"] = "videos/EpicKitchens/none.mp4"
    with pytest.raises(MediaError, match=r"EpicKitchens/none\.mp4"):
        train_sft(recipe_for("moved", [moved]), resume=False)
    long = recipe_for("long", lines[:1], {"prompt.max_tokens": 50})
    with pytest.raises(DataError, match=r"long\.jsonl:1: the prompt holds \d+ tokens"):
        train_sft(long, resume=False)
    with pytest.raises(ConfigError, match=r"prompts_per_step is 128, but 1 epoch\(s\) of 7 prompts"):
        train_sft(make_recipe(tmp_path / "many", {"train.prompts_per_step": 128, "train.max_steps": None}), False)
    strange = tmp_path / "model"
    shutil.copytree(model_dir, strange)
    template = strange / "chat_template.jinja"
    template.write_text(
        template.read_text().replace("<|im_end|>\n{% endif %}{% endfor %}", "\n{% endif %}{% endfor %}")
    )
    with pytest.raises(CheckpointError, match="does not write an answer followed by one end-of-turn token"):
        train_sft(make_recipe(tmp_path / "endless", {"model.path": str(strange)}), resume=False)


# SFT, then GRPO


@pytest.fixture(scope="module")
def make_cold(make_recipe: Callable[..., SftRecipe]) -> Callable[..., GrpoRecipe]:
    def make(output_dir: Path, changes: Mapping[str, Any] | None = None) -> GrpoRecipe:
        sft = make_recipe(output_dir).model_dump(mode="json")
        values = {key: sft[key] for key in ("output_dir", "model", "data", "frames")}
        values["rollout"] = {"group_size": 4, "max_new_tokens": 20}
        values["train"] = {"prompts_per_step": 2, "max_steps": 2, "learning_rate": 1e-3, "save_every": 1}
        values["cold_start"] = {key: sft[key] for key in ("train", "validation")}
        values["cold_start"]["train"] |= {"max_steps": 2, "save_every": 1}
        for key, value in (changes or {}).items():
            section, name = key.split(".")
            values.setdefault(section, {})[name] = value
        return validate(GrpoRecipe, values, "test")

    return make


@pytest.fixture(scope="module")
def cold(make_cold: Callable[..., GrpoRecipe], tmp_path_factory: pytest.TempPathFactory) -> GrpoRecipe:
    recipe = make_cold(tmp_path_factory.mktemp("cold") / "run")
    train_grpo(recipe, resume=False)
    return recipe


def test_grpo_starts_from_the_cold_start_and_compares_with_it(cold, make_recipe, make_cold, model_dir, tmp_path):
    folder = cold.output_dir
    assert {"cold_start", "final", "recipe.json", "metrics.jsonl"} <= {path.name for path in folder.iterdir()}
    lines = grpo.read_lines(folder / "metrics.jsonl")
    assert lines[0]["kl"] == 0.0  # the reference is the model it starts from, bit for bit
    assert lines[1]["kl"] > 0
    # The cold start is the SFT run of the same settings, and GRPO from its final model is this GRPO.
    sft = make_recipe(tmp_path / "sft", {"train.max_steps": 2, "train.save_every": 1})
    train_sft(sft, resume=False)
    assert_same_run(folder / "cold_start", sft.output_dir)
    apart = make_cold(tmp_path / "apart", {"model.path": str(sft.output_dir / "final")})
    train_grpo(apart.model_copy(update={"cold_start": None}), resume=False)
    assert_same_run(folder, tmp_path / "apart")
    start = load_file(model_dir / "model.safetensors")
    learned = load_file(folder / "cold_start" / "final" / "model.safetensors")
    assert all(not torch.equal(weight, start[name]) for name, weight in learned.items())


KILL_AT_STEP = """
import os, signal, sys
from pathlib import Path
from sbr.config.load import read_resolved
from sbr.config.recipes import GrpoRecipe
from sbr.train.grpo.loop import train_grpo
from sbr.train.sft.metrics import SftMetrics

class Killer:
    def began(self, name, done, total):
        pass

    def stepped(self, metrics):
        if isinstance(metrics, SftMetrics) == IN_SFT and metrics.step == 2:
            os.kill(os.getpid(), signal.SIGKILL)

train_grpo(read_resolved(GrpoRecipe, Path(sys.argv[1])), resume="--resume" in sys.argv, watcher=Killer())
"""


def test_kill_9_in_either_part_then_resume_gives_the_same_run(cold, make_cold, tmp_path):
    recipe = make_cold(tmp_path / "run")
    process = run_script(KILL_AT_STEP.replace("IN_SFT", "True"), recipe, tmp_path)
    assert process.returncode == -signal.SIGKILL, process.output
    assert not (recipe.output_dir / "cold_start" / "final").exists()
    with pytest.raises(ConfigError, match=r"already holds a run.*--resume"):
        train_grpo(recipe, resume=False)
    script = KILL_AT_STEP.replace("IN_SFT", "False").replace('"--resume" in sys.argv', "True")
    process = run_script(script, recipe, tmp_path)
    assert process.returncode == -signal.SIGKILL, process.output
    assert (recipe.output_dir / "cold_start" / "final").exists()
    assert (recipe.output_dir / "checkpoint-1").exists()
    for checkpoint in (recipe.output_dir / "cold_start").glob("checkpoint-*"):
        shutil.rmtree(checkpoint)  # a finished cold start does not need them
    other = make_cold(tmp_path / "run", {"cold_start.train": {"max_steps": 3}})
    with pytest.raises(CheckpointError, match=r"cold_start\.train\.max_steps: 2 then, 3 now"):
        train_grpo(other, resume=True)
    kept = tmp_path / "kept"
    (recipe.output_dir / "cold_start").rename(kept)
    with pytest.raises(CheckpointError, match=r"the model this run started from is gone \(\S+/cold_start/final\)"):
        train_grpo(recipe, resume=True)
    assert not (recipe.output_dir / "cold_start").exists()
    kept.rename(recipe.output_dir / "cold_start")
    train_grpo(recipe, resume=True)
    assert_same_run(recipe.output_dir, cold.output_dir)
    assert_same_run(recipe.output_dir / "cold_start", cold.output_dir / "cold_start")
    values = cli_eval.values_of_run(recipe.output_dir)
    assert values["model"]["path"] == str(recipe.output_dir / "final")
    for gone in (recipe.output_dir / "cold_start", *recipe.output_dir.glob("checkpoint-*")):
        shutil.rmtree(gone)
    train_grpo(recipe, resume=True)  # a finished run needs none of them, and does not train them again
    assert not (recipe.output_dir / "cold_start").exists()


def test_without_a_reference_grpo_continues_when_the_cold_start_is_gone(make_cold, tmp_path):
    changes = {"algo.beta": 0.0, "train.max_steps": 2}
    whole, broken = (make_cold(tmp_path / name, changes) for name in ("whole", "broken"))
    train_grpo(whole, resume=False)
    shutil.copytree(whole.output_dir, broken.output_dir)
    for gone in ("cold_start", "final", "checkpoint-2"):
        shutil.rmtree(broken.output_dir / gone)
    train_grpo(broken, resume=True)
    assert_same_run(broken.output_dir, whole.output_dir)
    assert not (broken.output_dir / "cold_start").exists()


def test_a_gradient_that_is_not_finite_stops_the_run_and_what_it_learned_from_is_kept(
    make_recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr("sbr.train.gradients.clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    recipe = make_recipe(tmp_path / "run")
    with pytest.raises(NotFiniteError, match=r"step 1: the gradient norm is inf; .*not_finite_step_1_process_0\.jsonl"):
        train_sft(recipe, resume=False)
    kept = grpo.read_lines(recipe.output_dir / "not_finite_step_1_process_0.jsonl")
    assert [line["slot"] for line in kept] == [0, 1, 2, 3] and all(line["responses"] for line in kept)


def test_accelerate_launch_trains_on_a_cpu(make_recipe, tmp_path):
    """There it starts one process, whatever number is asked for."""
    once = {"train.max_steps": 1, "train.prompts_per_step": 2, "train.prompts_per_microbatch": 1}
    file = grpo.write_toml(make_recipe(tmp_path / "run", once), tmp_path / "recipe.toml")
    module = "accelerate.commands.launch"
    process = grpo.launch("-m", module, "--num_processes", "2", "-m", "sbr", "sft", file, "--train.seed", "3")
    assert process.returncode == 0, process.stderr
    assert "The trained model lies in" in process.stdout
    (line,) = grpo.read_lines(tmp_path / "run" / "metrics.jsonl")
    assert line["rows"] >= 2
    state = json.loads((tmp_path / "run" / "checkpoint-1" / "training_state" / "state.json").read_text())
    assert (state["step"], state["processes"]) == (1, 1)


def test_adapters_after_a_cold_start_are_refused_before_it(make_cold, tmp_path):
    with pytest.raises(ConfigError, match=r"\[cold_start\] trains all weights and \[lora\] adapters only"):
        train_grpo(make_cold(tmp_path / "run", {"lora.rank": 4}), resume=False)
    assert not (tmp_path / "run").exists()

"""Every algorithm from files to checkpoint on the tiny model; exact resume of what GRPO does not have."""

from __future__ import annotations

import json
import math
import shutil
import signal
from pathlib import Path
from typing import Any

import forked
import pytest
import test_train_grpo as whole
import torch
from safetensors.torch import load_file, save_file

from sbr.algo.algorithm import AverageSchedule
from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.errors import CheckpointError, ConfigError
from sbr.model.load import load_model, load_processor
from sbr.prompt.encode import PromptEncoder
from sbr.resume.folder import fingerprint
from sbr.rollout.generate import Sampling, generate
from sbr.train.ema import AverageWeights
from sbr.train.grpo.answer_likelihood import answer_likelihoods, answer_tokens
from sbr.train.grpo.loop import train_grpo
from sbr.train.trainer import Policy
from sbr.types import Completion, RolloutGroup

model_dir, data_root, make_recipe = whole.model_dir, whole.data_root, whole.make_recipe  # fixtures

SHORT = {
    "train.max_steps": 3,
    "train.save_every": 1,
    "train.keep_checkpoints": 3,
    "train.warmup_ratio": 0.0,
    "log.completions_every": 1,
}
ALGOS: dict[str, dict[str, Any]] = {
    "dr_grpo": {"name": "dr_grpo"},
    "dapo": {"name": "dapo", "extra_rounds": 2},
    "gspo": {"name": "gspo", "updates_per_rollout": 2},
    "reg_grpo": {"name": "reg_grpo", "updates_per_rollout": 2},
    # The reference follows at once, or three steps would not show it.
    "grpo_care": {"name": "grpo_care", "ema_decay": 0.5, "ema_every": 1},
}


@pytest.fixture(scope="module")
def runs(make_recipe, tmp_path_factory):
    """Uninterrupted runs, made when they are first asked for."""
    folder, done = tmp_path_factory.mktemp("algorithms"), {}

    def run(name: str):
        if name not in done:
            done[name] = make_recipe(folder / name, {**SHORT, "algo": ALGOS[name]})
            train_grpo(done[name], resume=False)
        return done[name]

    return run


OWN = """
from functools import partial
from sbr.algo.advantages import centred_rewards
from sbr.algo.algorithm import Algorithm
from sbr.algo.dapo import dapo_loss
from sbr.algo.loss import Importance

def plain(options, max_new_tokens):
    clip = options["clip"]
    return Algorithm(
        centred_rewards, partial(dapo_loss, clip_low=clip, clip_high=clip, importance=Importance("token", 2.0))
    )

def letters(text, sample, tokens):
    return len(text) / 100
"""


def test_an_algorithm_and_a_reward_of_ones_own(make_recipe, tmp_path, monkeypatch):
    (tmp_path / "own_training.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    recipe = make_recipe(
        tmp_path / "run",
        {
            **SHORT,
            "train.max_steps": 1,
            "algo": {"name": "own_training:plain", "options": {"clip": 0.2}},
            "reward.custom": {"own_training:letters": 2.0},
        },
    )
    train_grpo(recipe, resume=False)
    (line,) = whole.read_lines(recipe.output_dir / "metrics.jsonl")
    answers = whole.read_lines(recipe.output_dir / "completions.jsonl")
    for answer in answers:
        assert answer["custom"] == [["own_training:letters", len(answer["response"]) / 100]]
        assert answer["reward"] == pytest.approx(answer["accuracy"] + 2 * answer["custom"][0][1])
    mean = sum(answer["custom"][0][1] for answer in answers) / len(answers)
    assert line["custom"] == {"own_training:letters": pytest.approx(mean)}
    # The built-in sampler is the policy, up to rounding.
    assert line["importance_mean"] == pytest.approx(1.0, abs=1e-4)
    assert line["importance_capped"] == 0.0
    assert line["grad_norm"] > 0
    saved = json.loads((recipe.output_dir / "inputs.json").read_text())
    assert saved["module own_training"] == fingerprint(tmp_path / "own_training.py")


def test_a_run_is_not_resumed_with_other_code_of_ones_own(make_recipe, tmp_path, monkeypatch):
    file = tmp_path / "own_changing.py"
    file.write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    changes = {
        **SHORT,
        **{"train.max_steps": 2, "train.save_every": 1},
        "algo": {"name": "own_changing:plain", "options": {"clip": 0.2}},
    }
    recipe = make_recipe(tmp_path / "run", changes)
    train_grpo(recipe, resume=False)
    for gone in ("final", "checkpoint-2"):  # as if it had been killed after its first step
        shutil.rmtree(recipe.output_dir / gone)
    before = (recipe.output_dir / "metrics.jsonl").read_bytes()
    file.write_text(OWN.replace("2.0", "3.0"))
    with pytest.raises(CheckpointError, match=r"input file module own_changing \(.*own_changing\.py\) has changed"):
        train_grpo(recipe, resume=True)
    assert (recipe.output_dir / "metrics.jsonl").read_bytes() == before
    file.write_text(OWN)
    train_grpo(recipe, resume=True)
    assert [line["step"] for line in whole.read_lines(recipe.output_dir / "metrics.jsonl")] == [1, 2]


OWN_SAMPLER = """
from dataclasses import replace
from sbr.rollout.sampler import NativeSampler

class Unsure(NativeSampler):
    def sample(self, questions, prompts, group_size, sampling):
        assert [len(question.frames.indices) > 0 for question in questions]
        groups = super().sample(questions, prompts, group_size, sampling)
        return [tuple(replace(c, logprobs=tuple(p - 0.5 for p in c.logprobs)) for c in group) for group in groups]

def nothing(model, processor, recipe):
    return processor.tokenizer
"""


def test_a_sampler_of_ones_own_is_asked_and_corrected_for(make_recipe, tmp_path, monkeypatch):
    """One that reports half a nat less for every token than the training pass finds."""
    (tmp_path / "own_sampler.py").write_text(OWN_SAMPLER)
    monkeypatch.syspath_prepend(tmp_path)
    changes = {**SHORT, "train.max_steps": 1, "algo": {"name": "grpo", "importance": "token", "importance_cap": 1.5}}
    recipe = make_recipe(tmp_path / "run", {**changes, "rollout.sampler": "own_sampler:Unsure"})
    train_grpo(recipe, resume=False)
    (line,) = whole.read_lines(recipe.output_dir / "metrics.jsonl")
    assert line["rollout_mismatch"] == pytest.approx(0.5, abs=1e-4)
    assert (line["importance_mean"], line["importance_capped"]) == (pytest.approx(1.5), 1.0)  # exp(0.5) is 1.65
    other = make_recipe(tmp_path / "other", {**changes, "rollout.sampler": "own_sampler:nothing"})
    with pytest.raises(ConfigError, match=r"returned a .*Tokenizer.* without the methods `present` and `sample`"):
        train_grpo(other, resume=False)
    assert not (tmp_path / "other").exists()


ELSEWHERE = """
import copy, hashlib, threading
from contextlib import contextmanager
from sbr.rollout.sampler import NativeSampler

drawn = []  # (weights, thread) of every rollout
fails_at = None

class Elsewhere(NativeSampler):
    @contextmanager
    def present(self, whole):
        with whole() as model:
            self._model = copy.deepcopy(model)
        yield

    def sample(self, *arguments):
        weight = next(iter(self._model.parameters())).detach().numpy()
        drawn.append((hashlib.sha256(weight.tobytes()).hexdigest(), threading.current_thread().name))
        if len(drawn) == fails_at:
            raise RuntimeError("it broke")
        return super().sample(*arguments)
"""


def test_one_step_ahead(make_recipe, tmp_path, monkeypatch):
    """The completions of step t + 1 come from the weights before the update of step t."""
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    monkeypatch.syspath_prepend(tmp_path)
    import elsewhere  # type: ignore[import-not-found]

    changes = {**SHORT, "train.max_steps": 4, "train.learning_rate": 1e-2, "train.warmup_ratio": 0.0}
    changes |= {"algo": {"name": "grpo", "importance": "token"}, "rollout.sampler": "elsewhere:Elsewhere"}
    recipe = make_recipe(tmp_path / "run", {**changes, "rollout.ahead": True})
    train_grpo(recipe, resume=False)
    weights, threads = zip(*elsewhere.drawn, strict=True)
    assert threads == ("MainThread", "rollouts", "rollouts", "rollouts")
    assert weights[0] == weights[1] and len(set(weights)) == 3
    lines = whole.read_lines(recipe.output_dir / "metrics.jsonl")
    assert lines[0]["rollout_mismatch"] < 1e-4 < lines[1]["rollout_mismatch"]
    assert lines[1]["importance_mean"] != pytest.approx(1.0, abs=1e-6)
    # Without it every step draws anew.
    elsewhere.drawn.clear()
    train_grpo(make_recipe(tmp_path / "not_ahead", changes), resume=False)
    assert len({before for before, _ in elsewhere.drawn}) == 4
    elsewhere.drawn.clear()
    elsewhere.fails_at = 3
    with pytest.raises(RuntimeError, match="it broke"):
        train_grpo(make_recipe(tmp_path / "broken", {**changes, "rollout.ahead": True}), resume=False)
    assert [line["step"] for line in whole.read_lines(tmp_path / "broken" / "metrics.jsonl")] == [1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algo": {"name": "grpo", "importance": "token"}}, 'rollout.sampler "native" draws with the weights that are'),
        ({"rollout.sampler": "vllm"}, r'rollout.sampler "vllm" sleeps while training; set it to "vllm" and name'),
        ({"rollout.sampler": "vllm", "rollout.vllm": {"urls": ["http://x:1"]}}, "nothing weighs them .* set algo.imp"),
    ],
)
def test_ahead_of_what_cannot_be(make_recipe, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        train_grpo(make_recipe(tmp_path / "run", {**SHORT, **changes, "rollout.ahead": True}), resume=False)


@pytest.mark.parametrize("name", ALGOS)
def test_runs_learns_and_resumes(runs, make_recipe, model_dir, tmp_path, name):
    finished = runs(name)
    lines = whole.repeatable(finished.output_dir)
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"]) for line in lines)
    assert any(line["grad_norm"] > 0 for line in lines)
    assert (lines[0]["kl"] is None) == (name != "reg_grpo")
    before = load_file(model_dir / "model.safetensors")
    after = load_file(finished.output_dir / "final" / "model.safetensors")
    assert any(not torch.equal(before[key], after[key]) for key in before)
    # From an earlier checkpoint the rest of the run is repeated exactly.
    again = make_recipe(tmp_path / "run", {**SHORT, "algo": ALGOS[name]})
    shutil.copytree(finished.output_dir, again.output_dir)
    shutil.rmtree(again.output_dir / "final")
    shutil.rmtree(again.output_dir / "checkpoint-3")
    train_grpo(again, resume=True)
    whole.assert_same_run(again.output_dir, finished.output_dir)


def test_kill_9_then_resume_gives_the_same_run_and_average(runs, make_recipe, tmp_path):
    finished = runs("grpo_care")
    recipe = make_recipe(tmp_path / "run", {**SHORT, "algo": ALGOS["grpo_care"]})
    file = tmp_path / "recipe.json"
    file.write_text(recipe.model_dump_json(), encoding="utf-8")
    process = forked.run("-c", whole.KILL_IN_THE_SECOND_SAVE, file)
    assert process.returncode == -signal.SIGKILL, process.output
    assert [path.name for path in sorted(recipe.output_dir.glob("checkpoint-*"))] == ["checkpoint-1"]
    train_grpo(recipe, resume=True)
    whole.assert_same_run(recipe.output_dir, finished.output_dir)
    kept = [average_in(run.output_dir / "checkpoint-3") for run in (recipe, finished)]
    assert all(torch.equal(kept[0][key], kept[1][key]) for key in kept[1])


def test_dapo_refills_and_counts_groups_without_signal(runs):
    folder = runs("dapo").output_dir
    lines = whole.read_lines(folder / "metrics.jsonl")
    records = whole.read_lines(folder / "completions.jsonl")
    assert sum(line["replaced_groups"] for line in lines) > 0
    for line in lines:
        rows = [record for record in records if record["step"] == line["step"]]
        groups: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for row in rows:
            groups.setdefault((row["slot"], row["round"]), []).append(row)
        assert all(len(group) == 4 for group in groups.values())
        assert line["replaced_groups"] == sum(group[0]["replaced"] for group in groups.values())
        assert line["rollout_rounds"] == 1 + max(number for _, number in groups)
        for slot in range(3):
            history = [groups[slot, number] for number in range(3) if (slot, number) in groups]
            silent = [len({row["reward"] for row in group}) == 1 for group in history]
            # All but the last were silent and replaced; the last has signal, or the rounds were used up.
            assert all(silent[:-1])
            assert [group[0]["replaced"] for group in history] == [True] * (len(history) - 1) + [False]
            assert not silent[-1] or len(history) == 3
            assert len({group[0]["sample_id"] for group in history}) == len(history)
        for row in rows:  # 20 tokens at most: the punishment begins after 16
            assert row["length"] == max(-1.0, min(0.0, (16 - row["tokens"]) / 4))
            assert row["reward"] == pytest.approx(row["accuracy"] + row["length"])


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """By the names of the model in memory, which differ from those on disk."""
    return dict(load_model(ModelConfig(path=str(folder), dtype="float32"), whole.CPU).named_parameters())


def average_in(checkpoint: Path) -> dict[str, torch.Tensor]:
    (file,) = (checkpoint / "training_state" / "tensors").iterdir()
    return {name.removesuffix(".average"): t for name, t in load_file(file).items() if name.endswith(".average")}


def test_grpo_care_pays_a_bonus_to_right_answers_and_its_reference_moves(runs, model_dir):
    folder = runs("grpo_care").output_dir
    records = whole.read_lines(folder / "completions.jsonl")
    assert {record["bonus"] for record in records} == {0.0, 0.5}
    assert all(record["accuracy"] == 1 for record in records if record["bonus"])
    assert all(record["reward"] == record["accuracy"] + record["bonus"] for record in records)
    for line in whole.read_lines(folder / "metrics.jsonl"):
        rows = [record for record in records if record["step"] == line["step"]]
        assert line["bonus_mean"] == pytest.approx(sum(row["bonus"] for row in rows) / len(rows))
    start = weights_of(model_dir)
    for step in (1, 2, 3):  # decay 0.5: half way from the reference before to the policy of this checkpoint
        policy = weights_of(folder / f"checkpoint-{step}")
        found = average_in(folder / f"checkpoint-{step}")
        before = start if step == 1 else average_in(folder / f"checkpoint-{step - 1}")
        for name in found:
            torch.testing.assert_close(found[name], (before[name] + policy[name]) / 2, atol=1e-7, rtol=1e-5)
        assert any(not torch.equal(found[name], before[name]) for name in found)


def test_grpo_care_needs_its_reference_to_resume(runs, make_recipe, tmp_path):
    recipe = make_recipe(tmp_path / "run", {**SHORT, "algo": ALGOS["grpo_care"]})
    shutil.copytree(runs("grpo_care").output_dir, recipe.output_dir)
    shutil.rmtree(recipe.output_dir / "final")
    (file,) = (recipe.output_dir / "checkpoint-3" / "training_state" / "tensors").iterdir()
    save_file({name: t for name, t in load_file(file).items() if not name.endswith(".average")}, file)
    with pytest.raises(CheckpointError, match="checkpoint-3/training_state/tensors is damaged or of another model"):
        train_grpo(recipe, resume=True)


def test_grpo_care_averages_the_adapters_with_lora(make_recipe, tmp_path):
    recipe = make_recipe(tmp_path / "run", {**SHORT, "train.max_steps": 2, "algo": ALGOS["grpo_care"], "lora.rank": 4})
    train_grpo(recipe, resume=False)
    average = average_in(recipe.output_dir / "checkpoint-2")
    assert all(".lora_" in name for name in average)
    # B starts at 0, so a reference that moves has one that is not.
    assert any(value.abs().max() > 0 for name, value in average.items() if ".lora_B." in name)
    whole_run = whole.repeatable(recipe.output_dir)
    shutil.rmtree(recipe.output_dir / "final")
    shutil.rmtree(recipe.output_dir / "checkpoint-2")
    train_grpo(recipe, resume=True)
    assert whole.repeatable(recipe.output_dir) == whole_run
    again = average_in(recipe.output_dir / "checkpoint-2")
    assert all(torch.equal(average[name], again[name]) for name in average)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>red cup</think><answer>B</answer>", "B"),
        ("<think>x</think><answer>  B. open cupboard </answer> more <answer>C</answer>", "B. open cupboard"),
        ("<think>\u00e9\u6253\u5f00 \U0001f375</think><answer>\u6253 B</answer>", "\u6253 B"),
        ("<answer></answer>", None),
        ("<answer> </answer>", None),
        ("<answer>B", None),
        ("no answer", None),
    ],
)
def test_answer_tokens_hold_the_answer(model_dir, text, answer):
    tokenizer: Any = load_processor(str(model_dir)).tokenizer
    ids = tokenizer(text + "<|im_end|>", add_special_tokens=False).input_ids
    tokens = answer_tokens(tokenizer, Completion(tuple(ids), (0.0,) * len(ids), text, False))
    if answer is None:
        assert len(tokens) == 0
        return
    held = tokenizer.decode(ids[tokens.start : tokens.stop])
    assert answer in held
    # Not one token more than needed, at either end.
    assert answer not in tokenizer.decode(ids[tokens.start + 1 : tokens.stop])
    assert answer not in tokenizer.decode(ids[tokens.start : tokens.stop - 1])


def test_likelihood_equals_a_plain_forward_of_the_averaged_weights(model_dir, sbr_sample, sbr_frames):
    model = load_model(ModelConfig(path=str(model_dir), dtype="float32"), whole.CPU)
    processor = load_processor(str(model_dir))
    encoder = PromptEncoder(processor, PromptConfig())
    samples = [sbr_sample(str(i), video=i != 1) for i in range(2)]
    prompts = [encoder.encode(s, sbr_frames(seed=i, count=4 if s.video else 0)) for i, s in enumerate(samples)]
    completions = generate(model, encoder.tokenizer, prompts, 4, Sampling(max_new_tokens=20), [1, 2])
    groups = [RolloutGroup(*parts) for parts in zip(samples, prompts, completions, strict=True)]
    average = AverageWeights(model, AverageSchedule(0.5, 1))
    with torch.no_grad():  # the policy goes away; the average is what it was
        for weight in model.parameters():
            weight.mul_(1.1)
    found_PG = answer_likelihoods(Policy(model, temperature=0.5), average, encoder.tokenizer, groups, size=1)
    plain: Any = whole.AutoModelForImageTextToText.from_pretrained(model_dir)
    checked = 0
    for p, group in enumerate(groups):
        for g, completion in enumerate(group.completions):
            tokens = answer_tokens(encoder.tokenizer, completion)
            if not tokens:
                assert found_PG[p, g] == 0
                continue
            prompt, ids = group.prompt, torch.tensor(completion.token_ids)
            with torch.no_grad():
                logits = plain(
                    input_ids=torch.cat([prompt.input_ids_S, ids])[None],
                    mm_token_type_ids=torch.nn.functional.pad(prompt.mm_token_type_ids_S, (0, len(ids)))[None],
                    pixel_values=prompt.pixel_values,
                    image_grid_thw=prompt.image_grid_thw,
                    pixel_values_videos=prompt.pixel_values_videos,
                    video_grid_thw=prompt.video_grid_thw,
                ).logits[0, len(prompt) - 1 : -1]
            logprobs_L = logits.log_softmax(-1).gather(-1, ids[:, None]).squeeze(-1)
            expected = logprobs_L[tokens.start : tokens.stop].mean().exp().item()
            assert found_PG[p, g].item() == pytest.approx(expected, abs=1e-5)
            checked += 1
    assert checked > 0


def test_reward_noise_is_recorded_and_leaves_the_accuracy_true(make_recipe, tmp_path):
    changes = {**SHORT, "train.max_steps": 1, "reward": {"noise": 0.5}, "train.prompts_per_step": 6}
    recipe = make_recipe(tmp_path / "run", changes)
    train_grpo(recipe, resume=False)
    records = whole.read_lines(recipe.output_dir / "completions.jsonl")
    flipped = {record["sample_id"] for record in records if record["rewarded"] != record["gold"]}
    assert 0 < len(flipped) < 6
    for record in records:
        assert record["reward"] == float(record["extracted"] == record["rewarded"])
        assert record["accuracy"] == float(record["extracted"] == record["gold"])
    (line,) = whole.read_lines(recipe.output_dir / "metrics.jsonl")
    assert line["flipped_share"] == len(flipped) / 6
    assert line["accuracy"] == pytest.approx(sum(record["accuracy"] for record in records) / len(records))
    assert line["accuracy_rewarded"] == pytest.approx(line["reward_mean"])

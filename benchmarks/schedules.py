"""One GRPO step in four orders of work.  They differ in how completions are drawn and scored, in nothing else.

    ours      prompt and pictures once per group, through the package's own functions
    official  as the official trainer (TencentARC/SEED-Bench-R1, grpo_trainer.py): G `generate` calls; pixels repeated
              G times through the vision tower; logits of prompt and completion over the whole vocabulary, then a
              log-softmax row by row and the prompt cut off.  Its gradient checkpointing is left out, which favours it
    repeated  the strongest plain baseline: one batched `generate` call; the prompt repeated, logits of completion
              tokens only

A step is rollout, log-probabilities of the frozen reference, training pass (forward and backward of the GRPO loss with
beta 0.1), gradient clipping and AdamW.  The baselines are plain transformers with SDPA.  Their forward
passes get no attention mask (nothing is padded), so that SDPA may take its causal path.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from geometry import Size, forbid_special_tokens, make_model
from torch import Tensor
from transformers import Qwen2VLForConditionalGeneration, Qwen2VLProcessor

from sbr.algo.loss import LossInputs
from sbr.algo.select import select
from sbr.config.algo import GrpoAlgo
from sbr.config.training import TrainConfig
from sbr.model.equip import equip
from sbr.model.logprobs import completion_logprobs
from sbr.rollout.generate import generate
from sbr.rollout.sampling import Sampling
from sbr.train.setup import make_optimizer
from sbr.types import Prompt


@dataclass(frozen=True)
class Schedule:
    rollout: Callable[[Any, Any, Prompt, int, int], Tensor]
    """(model, tokenizer, prompt, G, L) -> token ids (G, L)"""
    logprobs: Callable[[Any, Prompt, Tensor], Tensor]
    """(model, prompt, token ids (G, L)) -> log-probabilities (G, L), with gradient where enabled"""


@dataclass(frozen=True, eq=False)
class Learner:
    """Everything one schedule trains.  All learners of a size start with the same weights."""

    schedule: Schedule
    policy: Qwen2VLForConditionalGeneration
    reference: Qwen2VLForConditionalGeneration
    optimizer: torch.optim.Optimizer
    tokenizer: Any


def make_learner(
    name: str,
    size: Size,
    processor: Qwen2VLProcessor,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Learner:
    schedule = SCHEDULES[name]
    policy, reference = (make_model(size, processor, device, dtype) for _ in range(2))
    for model in (policy, reference):
        forbid_special_tokens(model, processor)
        if name == "ours":
            equip(model)
    optimizer = make_optimizer(policy.train(), TrainConfig())
    return Learner(schedule, policy, reference.requires_grad_(False).eval(), optimizer, processor.tokenizer)


def step(learner: Learner, prompt: Prompt, group_size: int, tokens: int) -> dict[str, float]:
    """One GRPO step; seconds of each stage and, under "step", their sum."""
    seconds: dict[str, float] = {}
    clock = partial(_timed, seconds, learner.policy.device)
    completions_GL = clock(
        "rollout",
        lambda: learner.schedule.rollout(learner.policy, learner.tokenizer, prompt, group_size, tokens),
    )
    if completions_GL.shape != (group_size, tokens):
        raise AssertionError(f"{tuple(completions_GL.shape)} tokens, expected {group_size, tokens}: not the same work")
    reference_GL = clock("reference", lambda: reference_pass(learner, prompt, completions_GL))
    clock("train", lambda: training_pass(learner, prompt, completions_GL, reference_GL))
    clock("optimizer", lambda: optimizer_step(learner))
    return seconds | {"step": sum(seconds.values())}


@torch.no_grad()
def reference_pass(learner: Learner, prompt: Prompt, completions_GL: Tensor) -> Tensor:
    return learner.schedule.logprobs(learner.reference, prompt, completions_GL)


def training_pass(learner: Learner, prompt: Prompt, completions_GL: Tensor, reference_GL: Tensor) -> Tensor:
    """Forward and backward of the GRPO loss; every second completion is right.  Returns the log-probabilities."""
    logprobs_GL = learner.schedule.logprobs(learner.policy, prompt, completions_GL)
    rewards_PG = (torch.arange(len(completions_GL), device=logprobs_GL.device) % 2).float()[None]
    algorithm = select(GrpoAlgo(), completions_GL.shape[1])
    advantages_PG = algorithm.advantages(rewards_PG)
    loss, _ = algorithm.loss(
        LossInputs(
            logprobs_BL=logprobs_GL,
            old_logprobs_BL=logprobs_GL.detach(),
            ref_logprobs_BL=reference_GL,
            mask_BL=torch.ones_like(logprobs_GL, dtype=torch.bool),
            advantages_B=advantages_PG[0],
        )
    )
    loss.backward()
    return logprobs_GL.detach()


def optimizer_step(learner: Learner) -> None:
    torch.nn.utils.clip_grad_norm_(learner.policy.parameters(), TrainConfig().max_grad_norm)
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)


def answer_ours(learner: Learner, prompts: Sequence[Prompt], tokens: int, batch: int) -> None:
    """Evaluation: one sampled answer a question, `batch` questions at once."""
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        seeds = range(start, start + len(part))
        groups = generate(learner.policy, learner.tokenizer, part, 1, Sampling(1.0, 1.0, 0, tokens), seeds)
        _check_lengths((len(completion.token_ids) for group in groups for completion in group), tokens)


def answer_official(learner: Learner, prompts: Sequence[Prompt], tokens: int) -> None:
    """Evaluation as the official infer.py: one question at a time."""
    for prompt in prompts:
        answers = _plain_generate(learner.policy, prompt, tokens, calls=1, each=1)
        _check_lengths((len(answer) for answer in answers), tokens)


def _timed(seconds: dict[str, float], device: torch.device, stage: str, work: Callable[[], Any]) -> Any:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds[stage] = time.perf_counter() - start
    return result


def _check_lengths(lengths: Any, tokens: int) -> None:
    if wrong := [length for length in lengths if length != tokens]:
        raise AssertionError(f"answers of {wrong} tokens, expected {tokens}: not the same work")


def _our_rollout(model: Any, tokenizer: Any, prompt: Prompt, group_size: int, tokens: int) -> Tensor:
    (group,) = generate(model, tokenizer, [prompt], group_size, Sampling(1.0, 1.0, 0, tokens), [0])
    return torch.tensor([completion.token_ids for completion in group])


def _our_logprobs(model: Any, prompt: Prompt, completions_GL: Tensor) -> Tensor:
    return completion_logprobs(model, [prompt], [completions_GL.tolist()]).logprobs_BL


def plain_inputs(prompt: Prompt, completions_GL: Tensor | None, rows: int, device: torch.device) -> dict[str, Tensor]:
    """What a trainer without prefix sharing gives to the model: everything once a row."""
    ids = prompt.input_ids_S.repeat(rows, 1)
    kinds = prompt.mm_token_type_ids_S.repeat(rows, 1)
    if completions_GL is not None:
        ids = torch.cat([ids, completions_GL.cpu()], 1)
        kinds = torch.cat([kinds, torch.zeros_like(completions_GL.cpu(), dtype=kinds.dtype)], 1)
    names = ("pixel_values", "image_grid_thw", "pixel_values_videos", "video_grid_thw")
    media = {name: getattr(prompt, name) for name in names if getattr(prompt, name) is not None}
    repeated = {name: value.repeat(rows, 1) for name, value in media.items()}
    inputs = {"input_ids": ids, "mm_token_type_ids": kinds, **repeated}
    return {name: value.to(device) for name, value in inputs.items()}


@torch.no_grad()
def _plain_generate(model: Any, prompt: Prompt, tokens: int, calls: int, each: int) -> Tensor:
    """Token ids (calls * each, tokens) of `calls` generate calls that return `each` completions."""
    inputs = plain_inputs(prompt, None, 1, model.device)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])  # as the processor gives it
    settings: dict[str, Any] = {"do_sample": True, "temperature": 1.0, "top_k": 0, "max_new_tokens": tokens}
    drawn = [model.generate(**inputs, **settings, num_return_sequences=each) for _ in range(calls)]
    return torch.cat(drawn)[:, len(prompt) :]


def _official_rollout(model: Any, tokenizer: Any, prompt: Prompt, group_size: int, tokens: int) -> Tensor:
    return _plain_generate(model, prompt, tokens, calls=group_size, each=1)


def _batched_rollout(model: Any, tokenizer: Any, prompt: Prompt, group_size: int, tokens: int) -> Tensor:
    return _plain_generate(model, prompt, tokens, calls=1, each=group_size)


def _official_logprobs(model: Any, prompt: Prompt, completions_GL: Tensor) -> Tensor:
    inputs = plain_inputs(prompt, completions_GL, len(completions_GL), model.device)
    logits = model(**inputs, use_cache=False).logits
    rows = zip(logits[:, :-1], inputs["input_ids"][:, 1:], strict=True)
    scored = [row.log_softmax(-1).gather(-1, tokens[:, None]).squeeze(-1) for row, tokens in rows]
    return torch.stack(scored)[:, len(prompt) - 1 :]


def _repeated_logprobs(model: Any, prompt: Prompt, completions_GL: Tensor) -> Tensor:
    inputs = plain_inputs(prompt, completions_GL, len(completions_GL), model.device)
    kept = completions_GL.shape[1] + 1
    logits = model(**inputs, use_cache=False, logits_to_keep=kept).logits[:, :-1]
    return logits.log_softmax(-1).gather(-1, inputs["input_ids"][:, len(prompt) :, None]).squeeze(-1)


SCHEDULES = {
    "ours": Schedule(_our_rollout, _our_logprobs),
    "official": Schedule(_official_rollout, _official_logprobs),
    "repeated": Schedule(_batched_rollout, _repeated_logprobs),
}

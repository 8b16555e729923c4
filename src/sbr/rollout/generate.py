"""Completions from the policy itself: every prompt and picture computed once per group, all rows decoded together.

What can be drawn: every ordinary token and the ends of turn named in the checkpoint's generation config.  All other
special tokens (media, vision, padding, start of turn) and the vocabulary rows that belong to no token are banned.  Of
the generation config only `eos_token_id` is read; its temperature, penalties and the like are not used.

The returned log-probabilities are those of softmax(logits / temperature) over the FULL vocabulary, before banning and
the filters top_k and top_p; greedy completions get those of temperature 1.  So they agree with
`sbr.model.logprobs.completion_logprobs` at the same temperature, also where banning or a filter changed the
distribution a token was drawn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from transformers import DynamicCache

from sbr.errors import CheckpointError
from sbr.model.decode import DecodeCache
from sbr.model.families import VisionLanguageModel
from sbr.model.logprobs import at_temperature
from sbr.model.modes import evaluating
from sbr.model.packed_weights import packed_weights, packing_helps
from sbr.model.shared_prefix import NO_MASK, PackedRow, pack, packed_hidden_states
from sbr.model.tokens import TokenRules
from sbr.rollout.graph import RecordedStep, Step
from sbr.rollout.sampling import Sampling, next_tokens, uniforms
from sbr.types import Completion, Prompt

COMPACT_BELOW = 0.75
"""Finished rows leave the batch when at most this share of it is left: dropping each at once would copy too often."""

PREFILL_PROMPTS = 16
"""Prompts of one prefill pass on a GPU: what bounds the activations."""

PREFILL_WIDTH = 1024
"""On a CPU, prompts times hidden width of a pass: small models are limited by Python, large ones by the caches."""


@torch.no_grad()
def generate(
    model: VisionLanguageModel,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    group_size: int,
    sampling: Sampling,
    seeds: Sequence[int],
    compiled: bool = False,
    rules: TokenRules | None = None,
    graphs: bool = False,
) -> list[tuple[Completion, ...]]:
    """G completions of each prompt; `seeds` are integers of at least 0, one a prompt.

    `rules` are those of the model and the tokenizer (default: found anew).

    `compiled` runs the decoding steps through torch.compile with static shapes: for GPUs, where the steps of a small
    batch are limited by Python.  The first call then takes a minute or so.  `graphs` replays them as one CUDA graph, on
    a GPU only.  With either, finished rows stay in the batch.

    A completion depends on its prompt, the seed of its prompt and its place in the group only, up to floating-point
    rounding: not on the other prompts, the group size or when other rows end.
    The model decodes in evaluation mode; the mode of every module is restored.
    """
    if len(seeds) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts need as many seeds, got {len(seeds)}")
    if not prompts:
        return []
    uniforms_BL = uniforms(seeds, group_size, sampling.max_new_tokens).flatten(0, 1).to(model.device)
    rules = rules or TokenRules.of(model, tokenizer)
    static = compiled or graphs
    packs = packing_helps(model) and not static
    step = _compiled_next_logits if compiled else next_logits
    with evaluating(model), packed_weights(model) if packs else nullcontext():
        cache, logits_BV, positions_B = prefill(model, prompts, group_size, sampling.max_new_tokens, static)
        step = RecordedStep(step) if graphs else step
        tokens_BL, logprobs_BL = _decode(model, rules, cache, logits_BV, positions_B, sampling, uniforms_BL, step)
    if not logprobs_BL.isfinite().all():
        raise CheckpointError(
            "the model gives logits that are not finite: training diverged or its weights overflow in "
            f"{model.dtype}; go back to an earlier checkpoint or set model.dtype to float32"
        )
    completions = [
        _completion(tokenizer, tokens, logprobs, rules.ends)
        for tokens, logprobs in zip(tokens_BL.tolist(), logprobs_BL.tolist(), strict=True)
    ]
    return [tuple(completions[p * group_size : (p + 1) * group_size]) for p in range(len(prompts))]


def prefill(
    model: VisionLanguageModel,
    prompts: Sequence[Prompt],
    group_size: int,
    steps: int,
    static: bool,
    size: int | None = None,
) -> tuple[DecodeCache, torch.Tensor, torch.Tensor]:
    """The cache of B = P * G rows, logits of their first tokens (B, V) and the positions of these (B,).

    `size` prompts in each pass (default: `prefill_prompts`).  `static`: of the cache's shape.
    """
    size = size or prefill_prompts(model)
    prefilled: list[tuple[DynamicCache, PackedRow]] = []
    hidden: list[torch.Tensor] = []
    for start in range(0, len(prompts), size):
        part = prompts[start : start + size]
        row = pack(model, part, [()] * len(part))
        prefilled.append((DynamicCache(), row))
        hidden.append(packed_hidden_states(model, part, row, prefilled[-1][0])[row.prompt_ends_P])
    cache = DecodeCache.after_prefill(prefilled, group_size, steps - 1, static=static)
    positions_P = torch.cat([row.next_position_P for _, row in prefilled])
    logits_PV = model.lm_head(torch.cat(hidden))
    return cache, logits_PV.repeat_interleave(group_size, 0), positions_P.repeat_interleave(group_size)


def prefill_prompts(model: VisionLanguageModel) -> int:
    """Prompts of one prefill pass.  A matter of the model, not of the prompts' lengths, so that all processes of a
    sharded one make the same calls."""
    config: Any = model.config.text_config
    return max(1, PREFILL_WIDTH // config.hidden_size) if model.device.type == "cpu" else PREFILL_PROMPTS


def _decode(
    model: VisionLanguageModel,
    rules: TokenRules,
    cache: DecodeCache,
    logits: torch.Tensor,
    positions: torch.Tensor,
    sampling: Sampling,
    uniforms_BL: torch.Tensor,
    step_logits: Step,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, steps), -1 after the end, and log-probabilities (B, steps), without meaning after the end."""
    device, (B, steps) = logits.device, uniforms_BL.shape
    banned = torch.tensor(rules.banned, dtype=torch.long, device=device)
    ends = torch.tensor(rules.ends, device=device)
    tokens_BL = torch.full((B, steps), -1, device=device)
    logprobs_BL = torch.zeros(B, steps, device=device)

    rows = torch.arange(B, device=device)  # what the rows still in the batch were at the start
    active = torch.ones_like(rows, dtype=torch.bool)
    for step in range(steps):
        tokens, logprobs = draw(logits, uniforms_BL[rows, step], banned, sampling)
        tokens_BL[rows, step] = torch.where(active, tokens, -1)
        logprobs_BL[rows, step] = logprobs
        active = active & ~torch.isin(tokens, ends)
        remaining = int(active.sum())
        if remaining == 0 or step == steps - 1:
            break
        if remaining <= COMPACT_BELOW * len(rows) and cache.slot is None:
            keep = active.nonzero().squeeze(1)
            cache.keep(keep)
            rows, positions, active, tokens = rows[keep], positions[keep], active[keep], tokens[keep]
        cache.begin_step()
        logits = step_logits(model, cache, tokens, positions + step)
    return tokens_BL, logprobs_BL


def next_logits(
    model: VisionLanguageModel, cache: DecodeCache, tokens_B: torch.Tensor, positions_B: torch.Tensor
) -> torch.Tensor:
    """One decoding step, (B, V)."""
    hidden = model.model(
        input_ids=tokens_B[:, None],
        position_ids=positions_B.expand(3, -1)[..., None],
        attention_mask=NO_MASK,
        use_cache=False,
        layout=cache,
    ).last_hidden_state[:, 0]
    return model.lm_head(hidden)


_compiled_next_logits = torch.compile(next_logits)


def draw(
    logits_BV: torch.Tensor, uniforms_B: torch.Tensor, banned: torch.Tensor, sampling: Sampling
) -> tuple[torch.Tensor, torch.Tensor]:
    """Next tokens and their log-probabilities under the full distribution."""
    logits_BV = at_temperature(logits_BV, 1.0)
    tokens_B = next_tokens(logits_BV.index_fill(-1, banned, float("-inf")), uniforms_B, sampling)
    logits_BV = at_temperature(logits_BV, sampling.temperature or 1.0)
    return tokens_B, logits_BV.gather(-1, tokens_B[:, None]).squeeze(-1) - logits_BV.logsumexp(-1)


def _completion(tokenizer: Any, tokens: Sequence[int], logprobs: Sequence[float], ends: Sequence[int]) -> Completion:
    length = tokens.index(-1) if -1 in tokens else len(tokens)
    ids = tuple(tokens[:length])
    text = tokenizer.decode(ids, skip_special_tokens=True)
    return Completion(ids, tuple(logprobs[:length]), text, truncated=ids[-1] not in ends)

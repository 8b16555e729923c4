"""Cache and attention of shared-prefix decoding: prompt keys once per prompt, completion keys once per completion.

In a step all G queries of a prompt are rows of one matrix product against the prompt's keys; the softmax runs over
[prompt scores | completion scores] together, so the result is that of ordinary attention (cf. Hydragen, arXiv
2402.05099).  Rows stand in the order p0g0, p0g1, ..., p1g0.

Precision is that of SDPA in training and prefill: queries, keys and values in 16 bits where these passes are, scores
and sums in float32.  Scores in 16 bits would not do: those of Qwen2 reach hundreds, where bfloat16 knows no fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from sbr.model.head import SIXTEEN_BITS, wide_product
from sbr.model.shared_prefix import PackedRow

STATIC_PROMPT = 128
"""Prompt lengths of caches of static shape are multiples of this: few shapes, so few compilations."""

STATIC_STEPS = 16
"""Their completion slots are multiples of this: the rows that kernels of 16-bit matrices like."""


@dataclass(eq=False)
class DecodeCache:
    """A `Layout` for steps of one new token per completion.  K key heads, D head width, all per layer in lists."""

    prompt_of_B: torch.Tensor
    """Which prompt each row belongs to, ascending."""
    group_size: int
    """Rows of the largest group."""
    slots_B: torch.Tensor | None
    """Place of each row in the (P, group size) rectangle; None when all groups are equally large."""
    prompt_keys: list[torch.Tensor]
    """(P, K, longest prompt, D), padded at the right."""
    prompt_values: list[torch.Tensor]
    prompt_bias: torch.Tensor | None
    """(P, 1, 1, longest prompt): -inf on padding; None when all prompts are equally long."""
    keys: list[torch.Tensor]
    """(B, K, capacity, D): completion tokens, the first `length` are filled."""
    values: list[torch.Tensor]
    length: int = 0
    slot: torch.Tensor | None = None
    """(1,): place of the newest token, in a cache of static shape; None otherwise."""

    @classmethod
    def after_prefill(
        cls, prefilled: Sequence[tuple[DynamicCache, PackedRow]], group_size: int, capacity: int, static: bool = False
    ) -> DecodeCache:
        """Take over the keys and values of packed rows of prompts without completions, P prompts in all.

        A `static` cache gives every step the same shapes and no Python number that changes, as torch.compile and
        CUDA graphs want it: all slots are read in every step, and `keep` must not be called.  Its prompt axis is a
        multiple of `STATIC_PROMPT`, so that rollouts of other lengths find the same shapes, and its slots of
        `STATIC_STEPS`, so that matrices have no odd side.
        """
        lengths = [group.prompt_length for _, row in prefilled for group in row.groups_P]
        longest = max(lengths)
        if static:
            longest += -longest % STATIC_PROMPT
            capacity += -capacity % STATIC_STEPS
        layers: list[Any] = list(zip(*(cache.layers for cache, _ in prefilled), strict=True))
        prompt_keys = [_per_prompt([part.keys for part in layer], lengths, longest) for layer in layers]
        prompt_values = [_per_prompt([part.values for part in layer], lengths, longest) for layer in layers]
        P, K, _, D = prompt_keys[0].shape
        lengths_P = torch.tensor(lengths, device=prompt_keys[0].device)
        padding = torch.arange(longest, device=lengths_P.device) >= lengths_P[:, None]
        bias = torch.zeros(padding.shape, device=lengths_P.device).masked_fill(padding, float("-inf"))
        prompt_of_B = torch.arange(P, device=lengths_P.device).repeat_interleave(group_size)
        shape = (P * group_size, K, capacity, D)
        return cls(
            prompt_of_B=prompt_of_B,
            group_size=group_size,
            slots_B=None,
            prompt_keys=prompt_keys,
            prompt_values=prompt_values,
            prompt_bias=bias[:, None, None] if static or len(set(lengths)) > 1 else None,
            # Zeros, because a slot of weight 0 must not hold a NaN by chance.
            keys=[key.new_zeros(shape) for key in prompt_keys],
            values=[value.new_zeros(shape) for value in prompt_values],
            slot=torch.zeros(1, dtype=torch.long, device=lengths_P.device) if static else None,
        )

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, dropout: float
    ) -> torch.Tensor:
        """One new token a row: query (B, heads, 1, D), key and value (B, K, 1, D) -> (B, 1, heads, D).  No dropout."""
        B, K, _, D = key.shape
        kind = self.keys[layer].dtype
        with torch.autocast(query.device.type, enabled=False):
            keys, values = self._store(layer, key.to(kind), value.to(kind))
            query = query.to(kind).view(B, K, -1, D)
            own_scores = attention_scores(query, keys, scaling)
            if self.slot is not None:
                empty = torch.arange(keys.shape[2], device=keys.device) > self.slot
                own_scores = own_scores.masked_fill(empty, float("-inf"))
            prompt_scores = attention_scores(self._by_prompt(query), self.prompt_keys[layer], scaling)
            if self.prompt_bias is not None:
                prompt_scores = prompt_scores + self.prompt_bias
            scores = torch.cat([prompt_scores, self._by_prompt(own_scores)], -1)
            weights = scores.softmax(-1).to(kind)
            prompt_weights, own_weights = weights.split([prompt_scores.shape[-1], keys.shape[2]], -1)
            prompt_out = wide_product(prompt_weights, self.prompt_values[layer])
            own_out = wide_product(self._by_row(own_weights), values)
            return (self._by_row(prompt_out) + own_out).to(kind).reshape(B, 1, -1, D)

    def begin_step(self) -> None:
        """Make room for one more token a row; before the forward pass of every step."""
        self.length += 1
        if self.slot is not None:
            self.slot.fill_(self.length - 1)

    def _store(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the new token in its slot; return the keys and values to look at."""
        keys, values = self.keys[layer], self.values[layer]
        if self.slot is not None:
            return keys.index_copy_(2, self.slot, key), values.index_copy_(2, self.slot, value)
        keys[:, :, self.length - 1] = key[:, :, 0]
        values[:, :, self.length - 1] = value[:, :, 0]
        return keys[:, :, : self.length], values[:, :, : self.length]

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but the given ones (ascending indices), and the prompts that have none left."""
        prompts, self.prompt_of_B, sizes_P = self.prompt_of_B[rows].unique(return_inverse=True, return_counts=True)
        self.group_size = int(sizes_P.max())
        starts_P = sizes_P.cumsum(0) - sizes_P
        place_B = torch.arange(len(rows), device=rows.device) - starts_P[self.prompt_of_B]
        full = self.group_size * len(prompts) == len(rows)
        self.slots_B = None if full else self.prompt_of_B * self.group_size + place_B
        if self.prompt_bias is not None:
            self.prompt_bias = self.prompt_bias[prompts]
        for layer in range(len(self.keys)):
            self.keys[layer] = self.keys[layer][rows]
            self.values[layer] = self.values[layer][rows]
            if len(prompts) < len(self.prompt_keys[layer]):
                self.prompt_keys[layer] = self.prompt_keys[layer][prompts]
                self.prompt_values[layer] = self.prompt_values[layer][prompts]

    def _by_prompt(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, K, heads, X) -> (P, K, group size * heads, X), zeros where a group has fewer rows."""
        if self.slots_B is not None:
            rectangle = rows.new_zeros(len(self.prompt_keys[0]) * self.group_size, *rows.shape[1:])
            rows = rectangle.index_copy(0, self.slots_B, rows)
        return rows.unflatten(0, (-1, self.group_size)).transpose(1, 2).flatten(2, 3)

    def _by_row(self, prompts: torch.Tensor) -> torch.Tensor:
        """(P, K, group size * heads, X) -> (B, K, heads, X)."""
        rows = prompts.unflatten(2, (self.group_size, -1)).transpose(1, 2).flatten(0, 1)
        return rows if self.slots_B is None else rows.index_select(0, self.slots_B)


def _per_prompt(packed: Sequence[torch.Tensor], lengths_P: Sequence[int], longest: int) -> torch.Tensor:
    """Parts (1, K, tokens, D), together the sum of lengths -> (P, K, longest, D), contiguous, zeros at the right.

    Under autocast in its dtype, because that is what SDPA takes keys and values for.
    """
    rows = torch.cat(list(packed), 2)[0].transpose(0, 1)
    if torch.is_autocast_enabled(rows.device.type):
        rows = rows.to(torch.get_autocast_dtype(rows.device.type))
    padded = rows.new_zeros(len(lengths_P), longest, *rows.shape[1:])
    for place, part in zip(padded, rows.split(list(lengths_P)), strict=True):
        place[: len(part)] = part
    return padded.transpose(1, 2).contiguous()


def attention_scores(query: torch.Tensor, keys: torch.Tensor, scaling: float) -> torch.Tensor:
    """(X, K, M, D), (X, K, N, D) -> (X, K, M, N), in at least float32"""
    if query.dtype in SIXTEEN_BITS:
        return wide_product(query, keys.mT) * scaling  # a scaled query would be rounded once more
    return (query * scaling) @ keys.mT

"""A layout that also notes where the model looked when it wrote each token.

It hands on what the row's own layout gives and computes the weights of few query rows a second time: of those that
predict a generated token (`PackedRow.predicts`), in the layers that are asked for, a chunk of rows at a time.  So there
is no eager attention, no second pass, and no matrix of all rows; what stays is four numbers a layer and token, and one
number for each generated and visual token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sbr.model.decode import attention_scores
from sbr.model.shared_prefix import PackedRow
from sbr.types import Prompt

SCORES = 1 << 22
"""Scores that exist at the same time: 16 MiB in float32."""

VIDEO, IMAGE, TEXT, OWN = range(4)
"""Axis 4 of shares: visual tokens, the words of the prompt, what the model has written before."""
_KIND_OF_TYPE = (TEXT, IMAGE, VIDEO)
"""By `Prompt.mm_token_type_ids_S`."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedAttention:
    """Of one completion of N tokens after a prompt with V visual tokens; float32, on the model's device.

    Row n is of the token that predicts generated token n: of the prompt's last one, then of the generated ones before.
    """

    shares_lN4: Tensor
    """Weights on `VIDEO`, `IMAGE`, `TEXT` and `OWN`, means over the heads, of each layer; they add up to 1."""
    tokens_NV: Tensor
    """Weights on each visual token (those of the video first), means over the heads and the layers of the maps."""


@dataclass(frozen=True, slots=True, eq=False)
class _Watched:
    """Where one completion lies in the row."""

    rows_N: Tensor
    keys: tuple[slice, slice]
    """Of the prompt, and of the completion."""
    prompt_length: int
    kinds_X4: Tensor
    """One-hot kind of every key."""
    visual_V: Tensor
    found: RecordedAttention


class AttentionRecorder:
    """A `Layout` for one forward pass of `row`, the packing of `prompts` and `completions_PG`.

    Shares are noted in the layers `share_layers`, maps are means over `map_layers`; `heads` are the query heads that
    means are over (None: all).  After the pass `recorded` has every completion in the order of the row.
    """

    def __init__(
        self,
        row: PackedRow,
        prompts: Sequence[Prompt],
        completions_PG: Sequence[Sequence[Sequence[int]]],
        share_layers: Sequence[int],
        map_layers: Sequence[int],
        heads: Sequence[int] | None = None,
    ) -> None:
        self._row = row
        self._share_layers = {layer: place for place, layer in enumerate(share_layers)}
        self._map_layers = frozenset(map_layers)
        self._heads = None if heads is None else torch.tensor(list(heads), device=row.predicts.device)
        self._watched: list[_Watched] = []
        start, predicts = 0, row.predicts
        for prompt, completions_G in zip(prompts, completions_PG, strict=True):
            prompt_keys = slice(start, start := start + len(prompt))
            for completion in completions_G:
                own_keys = slice(start, start := start + max(0, len(completion) - 1))
                self._watched.append(self._watch(prompt, predicts[: len(completion)], (prompt_keys, own_keys)))
                predicts = predicts[len(completion) :]
        if len(predicts) or start != row.input_ids_1S.shape[1]:
            raise ValueError("the row was not packed of these prompts and completions")

    @property
    def recorded(self) -> list[RecordedAttention]:
        return [watched.found for watched in self._watched]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float, dropout: float) -> Tensor:
        if layer in self._share_layers or layer in self._map_layers:
            with torch.no_grad():
                for watched in self._watched:
                    self._record(watched, layer, query, key, scaling)
        return self._row.attend(layer, query, key, value, scaling, dropout)

    def _watch(self, prompt: Prompt, rows_N: Tensor, keys: tuple[slice, slice]) -> _Watched:
        types_S, device = prompt.mm_token_type_ids_S, rows_N.device
        kinds = [_KIND_OF_TYPE[kind] for kind in types_S.tolist()] + [OWN] * (len(rows_N) - 1)
        visual_V = torch.cat([(types_S == kind).nonzero().squeeze(1) for kind in (2, 1)]).to(device)
        found = RecordedAttention(
            torch.zeros(len(self._share_layers), len(rows_N), 4, device=device),
            torch.zeros(len(rows_N), len(visual_V), device=device),
        )
        kinds_X4 = torch.nn.functional.one_hot(torch.tensor(kinds, device=device), 4).float()
        return _Watched(rows_N, keys, len(prompt), kinds_X4, visual_V, found)

    def _record(self, watched: _Watched, layer: int, query: Tensor, key: Tensor, scaling: float) -> None:
        keys = torch.cat([key[:, :, part] for part in watched.keys], 2)
        (_, heads, _, D), (_, K, X, _) = query.shape, keys.shape
        numbers_X = torch.arange(X, device=keys.device)
        at_once = max(1, SCORES // (heads * X))
        for start in range(0, len(watched.rows_N), at_once):
            rows = watched.rows_N[start : start + at_once]
            # The query heads of one key head become rows of one product, as in the layout itself.
            asked = query.index_select(2, rows).reshape(1, K, -1, D)
            scores = attention_scores(asked, keys, scaling).view(heads, len(rows), X)
            last_n = torch.arange(start, start + len(rows), device=keys.device) + watched.prompt_length
            scores.masked_fill_(numbers_X >= last_n[:, None], float("-inf"))
            weights = scores.softmax(-1).float()
            weights_nX = (weights if self._heads is None else weights[self._heads]).mean(0)
            part = slice(start, start + len(rows))
            if (place := self._share_layers.get(layer)) is not None:
                watched.found.shares_lN4[place, part] = weights_nX @ watched.kinds_X4
            if layer in self._map_layers:
                watched.found.tokens_NV[part] += weights_nX[:, watched.visual_V] / len(self._map_layers)

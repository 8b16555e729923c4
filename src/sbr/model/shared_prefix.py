"""Several groups in one forward pass, every prompt and picture computed once (exact; same idea: arXiv 2506.05433).

A batch is ONE row without padding: [prompt 1 | its completions | prompt 2 | its completions | ...].  The linear layers
see each token once.  Only attention knows the groups: a prompt attends causally to itself, a completion to its prompt
and causally to itself.  Positions of every completion continue from the last M-RoPE position of its prompt.

Everything goes through public interfaces of transformers: an attention function registered under `ATTENTION` finds
the layout among the keyword arguments of the forward pass.  Without a layout it is ordinary SDPA with ordinary masks,
so `model(...)` and `model.generate(...)` keep their meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sbr.errors import CheckpointError
from sbr.model.families import VisionLanguageModel
from sbr.model.vision import encode_media
from sbr.types import Prompt

ATTENTION = "sbr_shared_prefix"
"""Name of the attention implementation; `sbr.model.equip` selects it."""

NO_MASK = torch.empty(0, 0, 0, 0)
"""Given as attention_mask it keeps transformers from building a mask: the layout is the mask.

transformers takes a mask of four axes as it is and hands it to the attention function, which does not look at it.
"""


Heads = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Query, key and value."""


class Layout(Protocol):
    """Who attends to whom.  Tensors are (batch, heads, tokens, head width); keys and values have fewer heads (GQA)."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, dropout: float
    ) -> torch.Tensor:
        """Attention output (batch, tokens, heads, head width) of layer number `layer`."""
        ...


def shared_prefix_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    layout: Layout | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The function transformers calls in every layer, of text and of the vision tower."""
    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    return layout.attend(module.layer_idx, query, key, value, scaling, dropout), None


AttentionInterface.register(ATTENTION, shared_prefix_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


@dataclass(frozen=True, eq=False)
class GroupLayout:
    """One group inside a packed row: S prompt tokens, then the C tokens of G completions of at most L tokens."""

    prompt_length: int
    shape_GL: tuple[int, int]
    gather: torch.Tensor
    """(G * L,): where token (g, l) lies among the C tokens; 0 for padding."""
    valid_C: torch.Tensor
    """Inverse: which flat (g, l) each of the C tokens is."""
    mask: torch.Tensor
    """(query heads per key head * L, S + L): True where a completion token may look."""

    @classmethod
    def of(cls, prompt_length: int, lengths_G: Sequence[int], query_groups: int, device: torch.device) -> GroupLayout:
        longest = max(lengths_G, default=0)
        present_GL = torch.arange(longest) < torch.tensor(lengths_G, dtype=torch.long)[:, None]
        gather_GL = torch.zeros(present_GL.shape, dtype=torch.long)
        gather_GL[present_GL] = torch.arange(sum(lengths_G))
        mask = torch.ones(longest, prompt_length + longest, dtype=torch.bool, device=device).tril(prompt_length)
        return cls(
            prompt_length,
            (len(lengths_G), longest),
            gather_GL.flatten().to(device),
            present_GL.flatten().nonzero().squeeze(1).to(device),
            mask.repeat(query_groups, 1),
        )

    def attend(self, prompt: Heads, own: Heads, scaling: float, dropout: float) -> list[torch.Tensor]:
        """Query, key and value of the prompt (1, heads, S, D) and of the completions (1, heads, C, D).

        Returns their outputs, (1, S, heads, D) and (1, C, heads, D).
        """
        (query_S, key_S, value_S), (query_C, key_C, value_C) = prompt, own
        out_S = scaled_dot_product_attention(
            query_S, key_S, value_S, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=True
        ).transpose(1, 2)
        if len(self.valid_C) == 0:
            return [out_S]
        (G, L), (_, K, _, D) = self.shape_GL, key_C.shape
        # The query heads of one key head become rows of one product: no copy of a key per query head.  Padding stands
        # at the right, so causality hides it, and only valid rows are read back.
        padded = query_C.index_select(2, self.gather).view(K, -1, G, L, D)
        out = scaled_dot_product_attention(
            padded.permute(2, 0, 1, 3, 4).reshape(G, K, -1, D),
            self._keys(key_S, key_C),
            self._keys(value_S, value_C),
            attn_mask=self.mask,
            scale=scaling,
            dropout_p=dropout,
        )
        out = out.view(G, K, -1, L, D).permute(0, 3, 1, 2, 4).reshape(G * L, -1, D)
        return [out_S, out.index_select(0, self.valid_C)[None]]

    def _keys(self, prompt: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Keys or values (1, K, S, D) and (1, K, C, D) -> (G, K, S + L, D)."""
        G, L = self.shape_GL
        padded = own[0].index_select(1, self.gather).unflatten(1, (G, L)).transpose(0, 1)
        return torch.cat([prompt.expand(G, -1, -1, -1), padded], 2)


@dataclass(frozen=True, eq=False)
class PackedRow:
    """The row itself, on the model's device, and where things lie in it."""

    input_ids_1S: torch.Tensor
    position_ids_31S: torch.Tensor
    groups_P: tuple[GroupLayout, ...]
    sizes: tuple[int, ...]
    """Tokens of prompt 1, of its completions, of prompt 2, of its completions, ..."""
    prompt_ends_P: torch.Tensor
    """Row index of the last token of each prompt."""
    next_position_P: torch.Tensor
    """First position after each prompt, the same on all three axes."""
    predicts: torch.Tensor
    """Row index that predicts each completion token; completions in order, all their tokens."""
    read: torch.Tensor
    """Row indices whose last hidden state is of use, ascending: ends of prompts and completion tokens."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, dropout: float
    ) -> torch.Tensor:
        parts: list[Heads] = list(zip(*(x.split(self.sizes, 2) for x in (query, key, value)), strict=True))
        outputs: list[torch.Tensor] = []
        for group, prompt, own in zip(self.groups_P, parts[::2], parts[1::2], strict=True):
            outputs += group.attend(prompt, own, scaling, dropout)
        return torch.cat(outputs, 1)


def pack(
    model: VisionLanguageModel,
    prompts: Sequence[Prompt],
    completions_PG: Sequence[Sequence[Sequence[int]]],
) -> PackedRow:
    """Lay out prompts and their completions (token ids; groups and completions may differ in length).

    The last token of a completion predicts nothing and is left out of the row.
    """
    config: Any = model.config.text_config
    device = model.device
    query_groups = config.num_attention_heads // config.num_key_value_heads
    ids, positions, groups, prompt_ends, next_positions, predicts, read, start = [], [], [], [], [], [], [], 0
    for prompt, completions_G in zip(prompts, completions_PG, strict=True):
        position_ids, next_position = prompt_positions(model, prompt)
        inputs_G = [torch.tensor(completion[:-1], dtype=torch.long) for completion in completions_G]
        lengths_G = [len(tokens) for tokens in inputs_G]
        ids += [prompt.input_ids_S, *inputs_G]
        positions += [position_ids, *((torch.arange(n) + next_position).expand(3, -1) for n in lengths_G)]
        groups.append(GroupLayout.of(len(prompt), lengths_G, query_groups, device))
        prompt_ends.append(start + len(prompt) - 1)
        next_positions.append(next_position)
        start += len(prompt)
        read.append(torch.arange(start - 1, start + sum(lengths_G)))
        for completion, length in zip(completions_G, lengths_G, strict=True):
            if len(completion):
                predicts += [prompt_ends[-1], *range(start, start + length)]
            start += length
    return PackedRow(
        input_ids_1S=torch.cat(ids)[None].to(device),
        position_ids_31S=torch.cat(positions, 1)[:, None].to(device),
        groups_P=tuple(groups),
        sizes=tuple(size for group in groups for size in (group.prompt_length, len(group.valid_C))),
        prompt_ends_P=torch.tensor(prompt_ends, device=device),
        next_position_P=torch.tensor(next_positions, device=device),
        predicts=torch.tensor(predicts, dtype=torch.long, device=device),
        read=torch.cat(read).to(device),
    )


def prompt_positions(model: VisionLanguageModel, prompt: Prompt) -> tuple[torch.Tensor, int]:
    """M-RoPE positions (3, S) of a prompt, which ends with text, and the position after it: that of its last word + 1.

    This is not always the largest + 1.  Qwen2.5-VL spaces the frames of a video by their seconds, and in transformers
    the text goes on after the height and width of the frames, so the last frames of a long clip lie behind the text.
    """
    core: Any = model.model
    grids: dict[str, Any] = {"image_grid_thw": prompt.image_grid_thw, "video_grid_thw": prompt.video_grid_thw}
    if hasattr(core.config.vision_config, "tokens_per_second"):
        if prompt.video_grid_thw is not None and prompt.second_per_grid_ts is None:
            raise CheckpointError(
                "the processor does not say how many seconds a frame stands for (second_per_grid_ts); take the "
                "processor files of the Qwen2.5-VL checkpoint that the model started from"
            )
        grids["second_per_grid_ts"] = prompt.second_per_grid_ts
    positions, _ = core.get_rope_index(prompt.input_ids_S[None], prompt.mm_token_type_ids_S[None], **grids)
    return positions[:, 0], int(positions[0, 0, -1]) + 1


def packed_hidden_states(
    model: VisionLanguageModel,
    prompts: Sequence[Prompt],
    row: PackedRow,
    cache: Cache | None = None,
    layout: Layout | None = None,
) -> torch.Tensor:
    """Last hidden states (S, hidden width) of a packed row; `cache` receives keys and values when given.

    Only the rows `row.read` have a meaning.  A `layout` that is given stands between the model and the row, as one that
    watches (`sbr.model.record_attention`); it hands on what the row gives.
    """
    media = encode_media(model, prompts)
    with _last_mlp_on(model, row):
        output = model.model(
            input_ids=row.input_ids_1S,
            position_ids=row.position_ids_31S,
            attention_mask=NO_MASK,
            mm_encoder_outputs=media.by_kind,
            past_key_values=cache,
            use_cache=cache is not None,
            layout=layout or row,
        )
    hidden = output.last_hidden_state[0]
    return hidden if media.unused is None else hidden + media.unused.to(hidden.dtype)


@contextmanager
def _last_mlp_on(model: VisionLanguageModel, row: PackedRow) -> Iterator[None]:
    """Inside, the MLP of the last layer computes the rows `row.read` only; nothing depends on the others, set to 0.

    With gradient checkpointing it computes all rows, in every mode so that policy and reference do the same: in
    training the layer runs a second time in backward, outside of here.
    """
    if model.is_gradient_checkpointing:
        yield
        return
    read, tokens = row.read, row.input_ids_1S.shape[1]
    mlp: Any = model.model.language_model.layers[-1].mlp
    handles = [
        mlp.register_forward_pre_hook(lambda _, inputs: (inputs[0].index_select(1, read),)),
        mlp.register_forward_hook(
            lambda _, inputs, found: found.new_zeros(1, tokens, found.shape[2]).index_copy(1, read, found)
        ),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

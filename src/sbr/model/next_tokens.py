"""The distribution of the next token at chosen places of many continuations of one prompt, the prompt computed once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sbr.model.families import VisionLanguageModel
from sbr.model.logprobs import at_temperature
from sbr.model.modes import evaluating
from sbr.model.shared_prefix import pack, packed_hidden_states
from sbr.types import Prompt


@torch.no_grad()
def next_token_logprobs(
    model: VisionLanguageModel,
    prompt: Prompt,
    continuations_G: Sequence[Sequence[int]],
    places_N: Sequence[tuple[int, int]],
) -> torch.Tensor:
    """(N, V), at least float32: log-probabilities of the token behind `continuations_G[g][:t]` for each place (g, t).

    Logits exist for the N places only.  Places may repeat.  Equal to a plain forward on prompt + continuation, up to
    rounding.  Needs a model loaded by `sbr.model.load.load_model`.
    """
    # The last token of a completion is what a packed row predicts and does not hold: here it stands for any token.
    row = pack(model, [prompt], [[[*continuation, 0] for continuation in continuations_G]])
    starts = [0]
    for continuation in continuations_G:
        starts.append(starts[-1] + len(continuation) + 1)
    wanted = torch.tensor([starts[g] + t for g, t in places_N], device=model.device)
    with evaluating(model):
        hidden = packed_hidden_states(model, [prompt], row).index_select(0, row.predicts[wanted])
        return at_temperature(model.lm_head(hidden), 1.0).log_softmax(-1)

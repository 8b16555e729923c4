"""What recording attention takes at 7B geometry, on tensors without content; prints a table.  No GPU, no weights.

    python benchmarks/attention_memory.py    # 893 prompt tokens (648 video, 81 image) and a response of 256

One forward pass of Qwen2-VL-7B in bfloat16 (prompt with its pictures and one response) three times: plainly, with the
recorder of `sbr.model.record_attention`, and with transformers' own eager attention that returns its weights.  Every
storage that comes and goes is counted (`sbr.plan.ledger`); figures are the peak of a pass beside the weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from plan_memory import write_config
from rich.console import Console
from rich.table import Table

from sbr.analysis.attention import middle_third
from sbr.config.inputs import FramesConfig, ModelConfig
from sbr.model.load import load_model
from sbr.model.record_attention import AttentionRecorder
from sbr.model.shared_prefix import pack, packed_hidden_states
from sbr.model.vision import encode_media
from sbr.plan.inputs import make_prompt, text_token
from sbr.plan.ledger import Ledger, hollow
from sbr.plan.stand_in import fill
from sbr.types import Prompt

RESPONSE = 256
TEXT = 164


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(write_config("7B", Path(folder)))
        model: Any = load_model(ModelConfig(path=path, dtype="bfloat16"), torch.device("meta")).eval()
        eager: Any = load_model(ModelConfig(path=path, dtype="bfloat16"), torch.device("meta")).eval()
    fill(model)
    fill(eager)
    eager.model.language_model.set_attn_implementation("eager")
    prompt = make_prompt(model, FramesConfig(), TEXT)
    assert len(prompt) == 893
    ids, layers = (text_token(model),) * RESPONSE, model.config.text_config.num_hidden_layers
    kept: list[Any] = []

    def plain() -> None:
        row = pack(model, [prompt], [[ids]])
        packed_hidden_states(model, [prompt], row)

    def recorded() -> None:
        row = pack(model, [prompt], [[ids]])
        with patch.object(torch, "zeros", lambda *shape, device: hollow(shape, torch.float32)):
            recorder = AttentionRecorder(row, [prompt], [[ids]], range(layers), middle_third(layers))
        packed_hidden_states(model, [prompt], row, layout=recorder)
        kept.append(recorder.recorded)

    def with_weights() -> None:
        kept.append(_eager(eager, prompt, ids))

    table = Table(title="Qwen2-VL-7B, bfloat16, 893 + 256 tokens: MB beside the weights")
    for column in ("forward pass", "peak", "more than plain", "stays"):
        table.add_column(column, justify="right")
    before = 0
    works = {"plain": plain, "recorded, 28 layers": recorded, "eager, all weights returned": with_weights}
    for name, work in works.items():
        peak, stays = _measured(work, eager if work is with_weights else model, kept)
        before = before or peak
        table.add_row(name, f"{peak / 1e6:,.0f}", f"{(peak - before) / 1e6:,.1f}", f"{stays / 1e6:,.1f}")
    Console().print(table)


def _measured(work: Callable[[], None], model: Any, kept: list[Any]) -> tuple[int, int]:
    """Bytes at the peak, and of what `kept` holds at the end, beside the weights."""
    kept.clear()
    with torch.no_grad(), Ledger(lambda func, tensor: "activations") as ledger:
        ledger.add("weights", model.parameters())
        work()
        return ledger.peak["activations"], ledger.live["activations"]


def _eager(model: Any, prompt: Prompt, ids: tuple[int, ...]) -> Any:
    """The attention weights of every layer, as `output_attentions` returns them."""
    row = pack(model, [prompt], [[ids]])
    tokens = row.input_ids_1S.shape[1]
    media = encode_media(model, [prompt])
    mask = torch.full((1, 1, tokens, tokens), float("-inf"), dtype=torch.bfloat16).triu(1)
    return model.model(
        input_ids=row.input_ids_1S,
        position_ids=row.position_ids_31S,
        attention_mask=mask,
        mm_encoder_outputs=media.by_kind,
        use_cache=False,
        output_attentions=True,
    ).attentions


if __name__ == "__main__":
    main()

"""What a worker of vLLM needs to follow a policy that is trained.  vLLM imports this; sbr itself does not.

python -m vllm.entrypoints.openai.api_server ... --worker-extension-cls sbr.rollout.vllm_worker.Follower
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Follower:
    """Mixed into `vllm.v1.worker.gpu_worker.Worker` (or the CPU's), whose `collective_rpc` calls these methods.

    Arguments come as text from vLLM's /collective_rpc, and what is returned goes back as text.
    """

    model_config: Any
    vllm_config: Any
    model_runner: Any

    def take_weights(self, folder: str) -> int:
        """Load all weights from the safetensors files of `folder`, named as transformers names them; how many.

        Every weight has to be there: vLLM joins some (q, k and v; gate and up), and a part of such a layer, loaded
        alone, destroys it without a word.
        """
        config = import_module("vllm.config")
        reload = import_module("vllm.model_executor.model_loader.reload")

        model = self.model_runner.get_model()
        with config.set_current_vllm_config(self.vllm_config):
            reload.initialize_layerwise_reload(model)
            loaded = model.load_weights(_weights(Path(folder)))
            reload.finalize_layerwise_reload(model, self.model_config)
        head = model.language_model.lm_head
        if head.weight.device.type == "cpu":  # there it keeps a packed copy of its own
            head.quant_method.process_weights_after_loading(head)
        return len(loaded)

    def follow_transformers(self) -> str:
        """Place text after a video where transformers places it; the family's name if that needed a change.

        transformers counts on from the height and width of a clip, vLLM (seen in 0.32) from its last frame, which is
        later where a clip has more steps in time than tokens in height and width (docs/faithfulness.md).
        """
        model = self.model_runner.get_model()
        family = self.model_config.hf_config.model_type
        if family not in ("qwen2_vl", "qwen2_5_vl"):
            return ""
        model.get_mrope_input_positions = types.MethodType(_positions, model)
        return family

    def draw_at(self, temperature: str) -> float:
        """Divide all logits by `temperature`, as training does; requests then have temperature 1.

        vLLM would report log-probabilities before a request's temperature.
        """
        model, divisor = self.model_runner.get_model(), float(temperature)
        vars(model).pop("compute_logits", None)  # of an earlier call
        if divisor != 1:
            model.compute_logits = partial(_divided, model.compute_logits, divisor)
        return divisor


def _divided(
    compute_logits: Callable[..., torch.Tensor | None], divisor: float, *arguments: Any
) -> torch.Tensor | None:
    """In at least float32, as `sbr.model.logprobs.at_temperature`; None where another worker has the logits."""
    logits = compute_logits(*arguments)
    return None if logits is None else logits.float() / divisor


def _weights(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors.torch import load_file

    for file in sorted(folder.glob("*.safetensors")):
        yield from load_file(file).items()


def _positions(model: Any, input_tokens: list[int], mm_features: list[Any]) -> tuple[torch.Tensor, int]:
    """Positions in time, height and width (3, S), and what is added to a place after the prompt."""
    parts: list[np.ndarray] = []
    position = start = 0
    for offset, t, h, w, seconds in model.iter_mm_grid_thw(mm_features):
        text = offset - start
        parts.append(np.broadcast_to(np.arange(text), (3, text)) + position)
        position += text
        grid = np.indices((t, h, w))
        if seconds != 1.0:
            grid[0] = (grid[0] * seconds).astype(np.int64)
        parts.append(grid.reshape(3, -1) + position)
        position += max(h, w)
        start = offset + t * h * w
    text = len(input_tokens) - start
    parts.append(np.broadcast_to(np.arange(text), (3, text)) + position)
    return torch.from_numpy(np.concatenate(parts, axis=1)), position + text - len(input_tokens)

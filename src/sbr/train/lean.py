"""AdamW with 8-bit moments (torchao), and what it needs to train weights in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchao.optim import AdamW8bit


class LeanAdamW(AdamW8bit):
    """Moments of large matrices in 8 bits, of everything else in float32 whatever the weights are.

    torchao keeps the latter in the dtype of the weight.  In bfloat16 a second moment never decays: with beta2 = 0.999 a
    step takes away less than half the distance to the next smaller number, so steps of biases and norms stay too short.
    """

    def _new_buffer(self, p: Tensor, signed: bool) -> Tensor:
        buffer = super()._new_buffer(p, signed)
        return buffer.float() if buffer.dtype == torch.bfloat16 and type(buffer) is Tensor else buffer

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As saved: torch would turn the moments into the dtype of the weight."""
        super().load_state_dict(state_dict)
        weights = [weight for group in self.param_groups for weight in group["params"]]
        for index, saved in state_dict["state"].items():
            state = self.state[weights[index]]
            for name, value in saved.items():
                if isinstance(value, Tensor) and value.dtype != state[name].dtype:
                    state[name] = value.to(state[name].device)

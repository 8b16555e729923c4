"""Visual tokens that draw attention whatever is written.

A visual token is flagged as a sink when its attention is more than `FACTOR` times the median of all visual tokens, in
the rows of at least `TOKENS` of the generated tokens AND under the general prompt, in means over the heads and the
layers of the maps.

Kang et al. (ICLR 2025, arXiv 2503.03321) find visual sinks by massive activations: more than 20 times the root mean
square of the hidden state, in dimensions that are those of the language model's own sinks.  These dimensions are known
for few models, so the rule here asks for what they report of such tokens: the same ones draw much attention under
different words.
"""

from __future__ import annotations

import numpy as np

FACTOR = 5.0
TOKENS = 0.9


def find_sinks(tokens_NV: np.ndarray, general_V: np.ndarray) -> tuple[int, ...]:
    """Numbers of the sinks, ascending; none without visual or generated tokens."""
    if not tokens_NV.size:
        return ()
    drawn_NV = tokens_NV > FACTOR * np.median(tokens_NV, axis=1, keepdims=True)
    always_V = (drawn_NV.mean(0) >= TOKENS) & (general_V > FACTOR * np.median(general_V))
    return tuple(always_V.nonzero()[0].tolist())

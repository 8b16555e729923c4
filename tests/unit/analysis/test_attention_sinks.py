"""The rule for sinks, on maps made by hand."""

from __future__ import annotations

import numpy as np

from sbr.analysis.attention_sinks import FACTOR, TOKENS, find_sinks

N, V = 20, 9


def maps(
    always: float = 1.0, sometimes: float = 1.0, share: float = 1.0, general: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Token 2 has `always` times the median in every row; token 5 `sometimes` times in a `share` of them.  Under the
    general prompt both have `general` times the median."""
    tokens_NV, general_V = np.full((N, V), 0.01), np.full(V, 0.02)
    tokens_NV[:, 2] *= always
    tokens_NV[: round(share * N), 5] *= sometimes
    general_V[[2, 5]] *= general
    return tokens_NV, general_V


def test_a_sink_draws_attention_under_all_words() -> None:
    assert find_sinks(*maps(always=2 * FACTOR, general=2 * FACTOR)) == (2,)
    assert find_sinks(*maps(always=2 * FACTOR, sometimes=2 * FACTOR, general=2 * FACTOR)) == (2, 5)


def test_what_is_looked_at_for_its_content_is_none() -> None:
    """Often but not in enough rows, or not under the general prompt, or not much more than the others."""
    assert find_sinks(*maps(sometimes=2 * FACTOR, share=TOKENS - 0.05, general=2 * FACTOR)) == ()
    assert find_sinks(*maps(sometimes=2 * FACTOR, share=TOKENS, general=2 * FACTOR)) == (5,)
    assert find_sinks(*maps(always=2 * FACTOR)) == ()
    assert find_sinks(*maps(always=0.9 * FACTOR, general=2 * FACTOR)) == ()


def test_no_tokens_no_sinks() -> None:
    assert find_sinks(np.zeros((0, V)), np.zeros(V)) == find_sinks(np.zeros((N, 0)), np.zeros(0)) == ()

"""Length reward: DAPO's soft overlong punishment (arXiv 2503.14476, equation 13)."""

from __future__ import annotations


def length_reward(tokens: int, limit: int, share: float) -> float:
    """Return 0 for a short answer, falling to -1 at `limit` tokens over the last `share` of them.

        0                                  tokens <= limit - cache,   cache = share * limit
        (limit - cache - tokens) / cache   up to limit
        -1                                 beyond

    The paper has limit 20,480 and cache 4,096, a share of 0.2.

    >>> [length_reward(tokens, limit=100, share=0.2) for tokens in (80, 85, 90, 100, 120)]
    [0.0, -0.25, -0.5, -1.0, -1.0]
    """
    cache = share * limit
    return max(-1.0, min(0.0, (limit - cache - tokens) / cache))

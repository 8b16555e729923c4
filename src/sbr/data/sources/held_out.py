"""Which questions are held out of training: whole uncut videos, so that none of their pictures is learned from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from sbr.errors import ConfigError
from sbr.types import Sample


def held_out_videos(videos: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """Videos that together hold at least `share` of the questions, drawn with `seed`; `videos` has one for each
    question.  Raises ConfigError when no question would be left."""
    count_V = Counter(videos)
    names = sorted(count_V)
    wanted = math.ceil(share * len(videos))
    held: set[str] = set()
    for index in np.random.default_rng([seed, len(names)]).permutation(len(names)).tolist():
        if sum(count_V[name] for name in held) >= wanted:
            break
        held.add(names[index])
    if len(held) == len(names):
        raise ConfigError(
            f"a share of {share} is to be held out ([validation]): the {len(videos)} questions come from {len(names)} "
            "uncut video(s), and holding out whole videos leaves none to train on; lower it or take more rows"
        )
    return frozenset(held)


def hold_out_samples(samples: Sequence[Sample], share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split into (to train on, held out).  Raises ConfigError when nothing would be left to train on."""
    if share == 0:
        return list(samples), []
    videos = [f"{sample.video_source}/{sample.video_id}" for sample in samples]
    held = held_out_videos(videos, share, seed)
    pairs = list(zip(samples, videos, strict=True))
    return [sample for sample, video in pairs if video not in held], [s for s, video in pairs if video in held]

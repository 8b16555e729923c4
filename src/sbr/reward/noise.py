"""Reward noise: a share of the training answers is wrong, to study how an algorithm stands it.

A question is flipped or not for the whole run, as a wrong label in the file would be; evaluation never sees it.
"""

from __future__ import annotations

import hashlib

from sbr.types import LETTERS, Sample


def rewarded_gold(sample: Sample, share: float, seed: int) -> str:
    """Return the letter that earns the reward: the gold letter, or with probability `share` another one.

    A pure function of (seed, sample_id): the same on every machine, in every epoch and whatever the other rows are.
    With a larger `share` the questions that were flipped stay flipped, to the same letter.
    """
    digest = hashlib.blake2b(f"{seed}/{sample.sample_id}".encode(), digest_size=16).digest()
    drawn, pick = (int.from_bytes(part, "big") for part in (digest[:8], digest[8:]))
    if drawn >= share * 2**64:
        return sample.gold
    others = [letter for letter in LETTERS[: len(sample.options)] if letter != sample.gold]
    return others[pick % len(others)]

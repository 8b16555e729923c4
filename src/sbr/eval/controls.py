"""The same questions with something taken away or moved, to see what part of a score is not vision.

Pure functions of samples.  The words of the question stay: it may speak of a video that is not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from sbr.config.asking import EvalConfig
from sbr.config.section import Control
from sbr.errors import ConfigError
from sbr.types import LETTERS, Sample


def blind(sample: Sample) -> Sample:
    """No video, no image, and no subtitles, whose place is between the frames."""
    return replace(sample, video=None, image=None, subtitles=None)


def no_video(sample: Sample) -> Sample:
    """Only the current observation."""
    return replace(sample, video=None, subtitles=None)


def rotated(sample: Sample, places: int) -> Sample:
    """The options moved up by `places`: with 1, what was B is A, and what was A is the last.

    The right letter moves along, so over all rotations every option text has every letter once.
    """
    places %= len(sample.options)
    options = sample.options[places:] + sample.options[:places]
    gold = LETTERS[(LETTERS.index(sample.gold) - places) % len(options)]
    return replace(sample, options=options, gold=gold, rotation=places)


def rotations(sample: Sample) -> list[Sample]:
    """The question as it is and with its options moved by 1, 2, ... places: as many as it has options."""
    return [rotated(sample, places) for places in range(len(sample.options))]


def controlled(samples: Sequence[Sample], config: EvalConfig) -> list[Sample]:
    """What is asked instead of `samples` under eval.control and eval.shuffle_options; rotations of one stand together.

    Raises ConfigError for "no_video" where no question has an image: that would be "blind".
    """
    taken = [_without(sample, config.control) for sample in samples]
    if config.control == "no_video" and not any(sample.image for sample in taken):
        raise ConfigError(
            "eval.control is 'no_video', but these questions have no image, so nothing would be shown; use 'blind'"
        )
    return [turned for sample in taken for turned in rotations(sample)] if config.shuffle_options else taken


def _without(sample: Sample, control: Control) -> Sample:
    if control == "none":
        return sample
    if control == "blind":
        return blind(sample)
    if control == "no_video":
        return no_video(sample)
    assert_never(control)

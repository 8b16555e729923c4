"""Frames decoded ahead: in order, so many batches, errors when due; and at once, beside them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sbr.errors import MediaError
from sbr.frames.ahead import frames_ahead, frames_now
from sbr.types import Frames, Sample


@pytest.fixture
def batches(sbr_sample: Callable[..., Sample]) -> list[list[Sample]]:
    """Five batches of two samples with media of their own."""
    samples = [replace(sbr_sample(str(n)), video=Path(f"{n}.mp4")) for n in range(10)]
    return [samples[start : start + 2] for start in range(0, 10, 2)]


def test_batches_come_in_order_and_only_so_many_ahead(batches, sbr_frames):
    asked: list[str] = []

    def load(sample: Sample) -> Frames:
        asked.append(sample.sample_id)
        return sbr_frames(seed=int(sample.sample_id))

    with closing(frames_ahead(batches, load, ahead=1)) as decoded:
        for number, batch in enumerate(batches):
            pairs = next(decoded)
            assert [sample for sample, _ in pairs] == batch
            assert all((pairs[k][1].image_HWC == sbr_frames(seed=2 * number + k).image_HWC).all() for k in (0, 1))
            assert len(asked) <= 2 * (number + 2)
        assert next(decoded, None) is None
    assert sorted(asked, key=int) == [str(n) for n in range(10)]


def test_one_medium_is_decoded_once_a_batch_and_an_error_waits_for_its_turn(batches, sbr_frames):
    asked: list[str] = []

    def load(sample: Sample) -> Frames:
        asked.append(sample.sample_id)
        if sample.sample_id == "2":
            raise MediaError("2.mp4 is damaged")
        return sbr_frames()

    first = [batches[0][0], replace(batches[0][0], rotation=1)]
    with closing(frames_ahead([first, batches[1]], load)) as decoded:
        (_, frames), (_, shared) = next(decoded)
        assert frames is shared
        with pytest.raises(MediaError, match="damaged"):
            next(decoded)
    assert asked.count("0") == 1


def test_frames_that_are_needed_at_once_wait_for_nothing(batches, sbr_frames):
    """Every thread that decodes ahead is held back; a refill of DAPO gets its frames all the same."""
    later = threading.Event()

    def load(sample: Sample) -> Frames:
        if int(sample.sample_id) >= 2:
            assert later.wait(60)
        return sbr_frames(seed=int(sample.sample_id))

    flood = [replace(batches[1][0], video=Path(f"later{n}.mp4")) for n in range(40)]
    with closing(frames_ahead([batches[0], flood], load, ahead=1)) as decoded:
        next(decoded)
        found = frames_now(batches[0], load)
        later.set()
        assert [sample for sample, _ in found] == batches[0]
        assert len(next(decoded)) == 40

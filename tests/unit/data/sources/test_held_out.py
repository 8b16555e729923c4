"""Training questions that are held out: whole videos, by the seed."""

from dataclasses import replace

import pytest

from sbr.data.sources.held_out import hold_out_samples
from sbr.errors import ConfigError


def samples_of(sbr_sample, videos: int, each: int):
    base = sbr_sample(video=False)
    return [
        replace(base, sample_id=f"{video}/{number}", video_id=f"P{video}")
        for number in range(each)
        for video in range(videos)
    ]


def test_whole_videos_are_held_out_until_they_make_the_share(sbr_sample):
    samples = samples_of(sbr_sample, 20, 3)
    found = {}
    for seed in range(5):
        train, held = hold_out_samples(samples, 0.15, seed)
        assert len(held) == 9  # three videos of three questions make 15 % of 60
        assert not {sample.video_id for sample in train} & {sample.video_id for sample in held}
        assert [sample for sample in samples if sample in train] == train
        assert [sample for sample in samples if sample in held] == held
        assert len(train) + len(held) == 60
        assert hold_out_samples(samples, 0.15, seed) == (train, held)
        found[seed] = frozenset(sample.video_id for sample in held)
    assert len(set(found.values())) > 1


def test_videos_of_the_same_name_from_two_sources_are_two(sbr_sample):
    first = samples_of(sbr_sample, 1, 4)
    second = [replace(sample, sample_id=f"e{sample.sample_id}", video_source="Ego4D") for sample in first]
    train, held = hold_out_samples([*first, *second], 0.5, 0)
    assert {sample.video_source for sample in train} != {sample.video_source for sample in held}


def test_a_share_of_nothing_and_one_that_leaves_nothing(sbr_sample):
    samples = samples_of(sbr_sample, 1, 4)
    assert hold_out_samples(samples, 0.0, 0) == (samples, [])
    with pytest.raises(
        ConfigError,
        match=r"a share of 0\.1 is to be held out \(\[validation\]\): the 4 questions",
    ):
        hold_out_samples(samples, 0.1, 0)

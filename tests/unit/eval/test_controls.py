"""Questions with something taken away or moved."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbr.config.asking import EvalConfig
from sbr.errors import ConfigError
from sbr.eval.controls import blind, controlled, no_video, rotated, rotations
from sbr.types import LETTERS, Subtitle


def test_blind_and_no_video_take_media_and_nothing_else(sbr_sample):
    sample = replace(sbr_sample(), subtitles=(Subtitle("tea", 0.0, 1.0),))
    assert blind(sample) == replace(sample, video=None, image=None, subtitles=None)
    assert no_video(sample) == replace(sample, video=None, subtitles=None)
    assert no_video(sample).image == sample.image is not None


@given(options=st.integers(2, 5), gold=st.integers(0, 4))
def test_over_all_rotations_every_text_has_every_letter_and_the_right_text_stays(sbr_sample, options, gold):
    sample = replace(sbr_sample(options=options), gold=LETTERS[gold % options])
    turned = rotations(sample)
    assert turned[0] == sample
    assert [one.rotation for one in turned] == list(range(options))
    assert {one.gold_text for one in turned} == {sample.gold_text}
    assert sorted(one.gold for one in turned) == list(LETTERS[:options])
    for text in sample.options:
        assert {LETTERS[one.options.index(text)] for one in turned} == set(LETTERS[:options])


def test_one_place_moves_b_to_a(sbr_sample):
    sample = replace(sbr_sample(options=3), gold="B")
    first, second, third = sample.options
    assert rotated(sample, 1).options == (second, third, first)
    assert (rotated(sample, 1).gold, rotated(sample, 2).gold) == ("A", "C")


def test_what_is_asked(sbr_sample):
    samples = [sbr_sample("1"), sbr_sample("2", options=2)]
    assert controlled(samples, EvalConfig()) == samples
    asked = controlled(samples, EvalConfig(control="blind", shuffle_options=True))
    assert [(one.sample_id, one.rotation) for one in asked] == [("1", r) for r in range(4)] + [("2", r) for r in (0, 1)]
    assert all(one.video is one.image is None for one in asked)


def test_no_video_needs_an_image(sbr_sample):
    samples = [replace(sbr_sample(), image=None)]
    with pytest.raises(ConfigError, match="have no image, so nothing would be shown; use 'blind'"):
        controlled(samples, EvalConfig(control="no_video"))
    assert controlled(samples, EvalConfig(control="blind"))[0].video is None

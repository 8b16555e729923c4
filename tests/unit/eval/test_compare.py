"""Two runs on the same questions: paired figures by hand, and what must not be compared."""

from dataclasses import replace

import pytest

from sbr.errors import DataError
from sbr.eval.compare import compare_records
from sbr.eval.stats import clustered_difference, paired_difference, paired_interval
from sbr.types import EvalRecord


def run(correct: str, level: str = "L1", domains: tuple[str, ...] = ("Daily life",)) -> list[EvalRecord]:
    """One record a character: 1 right, 0 wrong; domains in turn."""
    return [
        EvalRecord(
            sample_id=str(i),
            level=level,
            domain=domains[i % len(domains)],
            sample_index=0,
            prompt="p",
            options=("open tap", "close tap"),
            response="r",
            extracted=None,
            gold="A",
            correct=flag == "1",
            rule="official",
            completion_tokens=1,
            truncated=False,
            seconds=0.1,
        )
        for i, flag in enumerate(correct)
    ]


def test_paired_by_question_whatever_the_order_of_lines():
    base, other = run("1100110000"), run("1011111000")
    comparison = compare_records(base, other[::-1], "base", "grpo")
    (only,) = comparison.slices
    assert (only.level, only.base.accuracy, only.other.accuracy) == ("L1", 0.4, 0.6)
    assert only.paired.difference == pytest.approx(0.2)
    assert (only.paired.only_base, only.paired.only_other) == (1, 3)
    assert only.paired.p_value == pytest.approx(2 * (1 + 4) / 2**4)
    assert only.paired.interval == paired_interval(3, 3, 1, 3)


def test_levels_are_followed_by_their_domains_when_there_are_several():
    domains = ("Work", "Hobbies")
    base = run("10") + run("1100", "L3", domains)
    other = run("11") + run("1010", "L3", domains)
    slices = compare_records(base, other, "base", "grpo").slices
    assert [(part.level, part.base.name, part.base.questions) for part in slices] == [
        ("L1", "Overall", 2),
        ("L3", "Overall", 4),
        ("L3", "Hobbies", 2),
        ("L3", "Work", 2),
    ]
    # Hobbies are questions 1 and 3: base 1 0, other 0 0. Work are 0 and 2: base 1 0, other 1 1.
    assert [part.paired.difference for part in slices] == [0.5, 0.0, -0.5, 0.5]


def test_several_samples_are_compared_as_shares_of_questions():
    base = run("11") + [replace(record, sample_index=1, correct=False) for record in run("11")]
    other = run("11") + [replace(record, sample_index=1) for record in run("10")]
    (only,) = compare_records(base, other, "base", "grpo").slices
    assert (only.base.accuracy, only.other.accuracy, only.paired.difference) == (0.5, 0.75, 0.25)
    assert only.paired.p_value is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (run("101"), r"question sets differ \(0 answers only in base, 1 only in grpo; e.g. L1 2 sample 0 only in grpo"),
        (run("1"), r"question sets differ \(1 answers only in base, 0 only in grpo; e.g. L1 1 sample 0 only in base"),
        (run("10", "L2"), "question sets differ"),
        ([replace(record, rule="strict") for record in run("10")], r"different rules \(official, strict\)"),
        ([replace(record, gold="B") for record in run("10")], "L1 0 has the gold letter 'A' in one and 'B'"),
        ([replace(record, options=("close tap", "open tap")) for record in run("10")], "L1 0 has the options"),
        ([replace(record, domain="Work") for record in run("10")], "L1 0 has the domain"),
        ([replace(record, video_id="b") for record in run("10")], "L1 0 has the video 'a' in one and 'b'"),
        ([replace(record, scenario="y") for record in run("10")], "L1 0 has the scenario 'x' in one and 'y'"),
        ([replace(record, control="blind") for record in run("10")], "control none and blind.*`sbr controls`"),
        ([], "grpo has no records"),
    ],
)
def test_refuses_what_must_not_be_compared(other, message):
    base = [replace(record, video_id="a", scenario="x") for record in run("10")]
    with pytest.raises(DataError, match=message):
        compare_records(base, other, "base", "grpo")


def labelled(records: list[EvalRecord], videos: str, scenarios: str | None = None) -> list[EvalRecord]:
    """One letter a record names its video, and its scenario if given."""
    return [
        replace(record, video_id=video, scenario=scenarios and scenarios[i])
        for i, (record, video) in enumerate(zip(records, videos, strict=True))
    ]


VIDEOS = "abcdefghij"


def test_videos_are_resampled_whole():
    """The means of the ten videos are -1/2 and 1/2 in turn."""
    base, other = labelled(run("1000" * 5), VIDEOS_TWICE), labelled(run("0010" * 5), VIDEOS_TWICE)
    (only,) = compare_records(base, other[::-1], "base", "grpo").slices
    assert only.by_video == clustered_difference([1, 0, 0, 0] * 5, [0, 0, 1, 0] * 5, list(VIDEOS_TWICE))
    assert (only.by_video.clusters, only.videos) == (10, 10)
    assert -0.5 <= only.by_video.interval.low < 0 < only.by_video.interval.high <= 0.5


VIDEOS_TWICE = "".join(2 * video for video in VIDEOS)


def test_videos_of_several_samples_are_those_of_the_questions():
    base = [replace(record, sample_index=k) for k in (0, 1) for record in labelled(run("1011001101"), VIDEOS)]
    other = labelled(run("1111001101"), VIDEOS)
    other += [replace(record, sample_index=1) for record in labelled(run("1" * 10), VIDEOS)]
    (only,) = compare_records(base, other, "base", "grpo").slices
    shares = [1, 0, 1, 1, 0, 0, 1, 1, 0, 1], [1, 1, 1, 1, 0.5, 0.5, 1, 1, 0.5, 1]
    assert only.by_video == clustered_difference(*shares, list(VIDEOS))


def test_records_that_name_no_video_or_few_have_no_figures_by_video():
    base, other = run("1" * 20), run("10" * 10)
    for videos, count in (("", None), ("a" * 20, 1), ("ab" * 10, 2), ("abcdefghi" * 2 + "ab", 9)):
        one, two = (labelled(r, videos) if videos else r for r in (base, other))
        (only,) = compare_records(one, two, "base", "grpo").slices
        assert (only.by_video, only.videos) == (None, count)
    half = [*labelled(base[:10], VIDEOS), *base[10:]]
    assert compare_records(half, other, "base", "grpo").slices[0].videos is None
    # A question keeps its video, whichever of the two runs recorded it.
    (new,) = compare_records(base, labelled(other, VIDEOS * 2), "base", "grpo").slices
    assert new.by_video == clustered_difference([1] * 20, [1, 0] * 10, list(VIDEOS * 2))


def test_two_questions_that_agree_give_no_interval():
    """They gave [+100, +100] by videos, and the same by questions with several answers each."""
    right = [replace(record, sample_index=k) for k in (0, 1) for record in labelled(run("11"), "ab")]
    wrong = [replace(record, sample_index=k, correct=k == 1) for k in (0, 1) for record in labelled(run("00"), "ab")]
    (only,) = compare_records(wrong, right, "base", "grpo").slices
    assert (only.paired.difference, only.paired.interval, only.by_video, only.videos) == (0.5, None, None, 2)


def test_scenarios_of_a_level_with_several():
    base = labelled(run("10"), "ab", "xx") + labelled(run("1100", "L3"), "abcd", "xyyx")
    other = labelled(run("11"), "ab", "xx") + labelled(run("1011", "L3"), "abcd", "xyyx")
    comparison = compare_records(base, other, "base", "grpo")
    assert [(part.level, part.base.name) for part in comparison.slices] == [("L1", "Overall"), ("L3", "Overall")]
    assert [(part.level, part.base.name) for part in comparison.groups["scenario"]] == [("L3", "x"), ("L3", "y")]
    # x: questions 0 and 3, base 1 0, other 1 1. y: questions 1 and 2, base 1 0, other 0 1.
    assert [part.paired.difference for part in comparison.groups["scenario"]] == [0.5, 0.0]


def test_groups_of_a_level_by_name():
    parts = ("(900,3600]", "(8,15]", "(15,60]", "(8,15]")
    base, other = (
        [replace(r, groups=(("duration", part), ("level", "L1"))) for r, part in zip(run(flags), parts, strict=True)]
        for flags in ("1010", "1101")
    )
    groups = compare_records(base, other, "base", "grpo").groups
    assert list(groups) == ["duration"], "there is one level only, which is the whole"
    found = [(part.base.name, part.base.questions, part.paired.difference) for part in groups["duration"]]
    assert found == [("(8,15]", 2, 1.0), ("(15,60]", 1, -1.0), ("(900,3600]", 1, 0.0)]
    assert compare_records(run("1010"), other, "old", "grpo").groups == {
        "duration": compare_records(run("1010"), other, "old", "grpo").groups["duration"]
    }
    other[0] = replace(other[0], groups=(("duration", "(15,60]"), ("level", "L1")))
    with pytest.raises(DataError, match="L1 0 has the groups"):
        compare_records(base, other, "base", "grpo")


def test_rotations_are_paired_one_by_one_and_count_once_a_question():
    base = run("10") + [replace(record, rotation=1) for record in run("11")]
    other = run("11") + [replace(record, rotation=1) for record in run("11")]
    (only,) = compare_records(base, other, "base", "grpo").slices
    assert (only.base.questions, only.base.accuracy, only.other.accuracy) == (2, 0.75, 1.0)
    assert only.paired == paired_difference([1.0, 0.5], [1.0, 1.0])
    with pytest.raises(DataError, match=r"e\.g\. L1 0 sample 0 rotated by 1 only in base"):
        compare_records(base, run("11"), "base", "grpo")


def test_figures_by_video_do_not_hang_on_the_order_of_lines():
    base, other = labelled(run("11001" * 4), VIDEOS * 2), labelled(run("01111" * 4), VIDEOS * 2)
    there = compare_records(base, other, "base", "grpo").slices[0].by_video
    assert compare_records(base[::-1], other, "base", "grpo").slices[0].by_video == there


def test_whole_levels_leave_out_their_parts():
    domains = ("Work", "Hobbies")
    base, other = run("1100", "L3", domains), run("1010", "L3", domains)
    whole = compare_records(base, other, "base", "grpo", whole_levels=True)
    full = compare_records(base, other, "base", "grpo")
    assert whole.slices == full.slices[:1]
    assert whole.groups == {}

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sbr.prompt.template import chat_messages, interleave, question_text
from sbr.types import Subtitle


def test_question_text_is_the_official_string(sbr_sample) -> None:
    sample = replace(sbr_sample(), question="What now?", options=("open tap", "close tap", "take {cup}", "pour water"))
    assert question_text(sample) == (
        "What now?\nA. open tap\nB. close tap\nC. take {cup}\nD. pour water\n"
        " Output the thinking process in <think> </think> and final answer in <answer> </answer> tags, i.e., "
        "<think> reasoning process here </think><answer> answer here </answer>. "
    )


def test_five_options_are_lettered_to_e(sbr_sample) -> None:
    assert "\nE. take spoon\n" in question_text(sbr_sample(options=5))


def test_one_user_turn_with_video_image_text_in_this_order(sbr_sample) -> None:
    (turn,) = chat_messages(sbr_sample())
    assert turn["role"] == "user"
    assert [part["type"] for part in turn["content"]] == ["video", "image", "text"]


def test_media_that_a_sample_lacks_are_left_out(sbr_sample) -> None:
    (turn,) = chat_messages(sbr_sample(video=False))
    assert [part["type"] for part in turn["content"]] == ["image", "text"]
    (turn,) = chat_messages(replace(sbr_sample(), image=None))
    assert [part["type"] for part in turn["content"]] == ["video", "text"]


def test_subtitles_stand_behind_the_frames_up_to_their_middle() -> None:
    times = [0.0, 2.0, 4.0, 6.0]
    assert interleave(times, [Subtitle("a", 1.0, 3.0), Subtitle("b", 3.5, 8.0)]) == [0, 1, "a", 2, "b", 3]
    assert interleave(times, [Subtitle("no frame inside", 2.1, 3.9)]) == [0, 1, 2, 3]
    # Half a second around the middle, 2.3, holds the frame of second 2.
    assert interleave(times, [Subtitle("short", 2.25, 2.35)]) == [0, 1, "short", 2, 3]
    assert interleave(times, [Subtitle("ends at a frame", 2.5, 4.0)]) == [0, 1, 2, 3]
    assert interleave(times, []) == [0, 1, 2, 3]


@given(
    times=st.lists(st.integers(0, 400), min_size=1, max_size=16, unique=True),
    spans=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60)), max_size=12),
)
def test_interleaving_is_a_merge_by_time(times, spans) -> None:
    """Independent: sort everything that is shown by time, frames before subtitles.  Quarters of seconds are exact."""
    seconds = [time / 4 for time in sorted(times)]
    spans.sort(key=lambda span: 2 * span[0] + span[1])
    subtitles = [Subtitle(f"s{i}", start / 4, (start + length) / 4) for i, (start, length) in enumerate(spans)]
    items: list[tuple[float, int, int | str]] = [(time, 0, number) for number, time in enumerate(seconds)]
    for subtitle in subtitles:
        middle = (subtitle.start + subtitle.end) / 2
        low, high = min(subtitle.start, middle - 0.5), max(subtitle.end, middle + 0.5)
        if any(low < time < high for time in seconds):
            items.append((middle, 1, subtitle.text))
    expected = [item for _, _, item in sorted(items, key=lambda item: item[:2])]
    assert interleave(seconds, subtitles) == expected


def test_with_subtitles_every_frame_is_a_picture(sbr_sample) -> None:
    sample = replace(sbr_sample(), image=None, subtitles=(Subtitle("hello", 0.5, 1.5),))
    (turn,) = chat_messages(sample, [0.0, 1.0, 2.0])
    image = {"type": "image"}
    hello = {"type": "text", "text": "hello\n"}
    assert turn["content"] == [image, image, hello, image, {"type": "text", "text": question_text(sample)}]
    (turn,) = chat_messages(replace(sample, subtitles=()), [0.0, 1.0])
    assert [part["type"] for part in turn["content"]] == ["image", "image", "text"]

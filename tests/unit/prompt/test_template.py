from dataclasses import replace

from sbr.prompt.template import chat_messages, question_text


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


def test_without_video_only_image_and_text(sbr_sample) -> None:
    (turn,) = chat_messages(sbr_sample(video=False))
    assert [part["type"] for part in turn["content"]] == ["image", "text"]

"""The chat as OpenAI's API takes it: decoded again, it holds the very frames and words."""

import base64
import io
from dataclasses import replace

import numpy as np
from PIL import Image

from sbr.prompt.openai_chat import openai_messages, prompt_text, video_fields
from sbr.prompt.template import question_text
from sbr.types import Subtitle


def pixels(url: str, kind: str) -> np.ndarray:
    head, _, data = url.partition(",")
    assert head == f"data:{kind};base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert picture.mode == "RGB"
    return np.asarray(picture)


def content(messages: list[dict]) -> list[dict]:
    (turn,) = messages
    assert turn["role"] == "user"
    return turn["content"]


def test_frames_then_observation_then_text_without_loss(sbr_sample, sbr_frames):
    sample, frames = sbr_sample(), sbr_frames(count=4, height=56, width=84)
    *pictures, text = content(openai_messages(sample, frames, "frames"))
    assert text == {"type": "text", "text": question_text(sample)}
    shown = [pixels(part["image_url"]["url"], "image/png") for part in pictures]
    assert [part["type"] for part in pictures] == ["image_url"] * 5
    for found, wanted in zip(shown, [*frames.video_THWC, frames.image_HWC], strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_row_without_video_shows_its_image_only(sbr_sample, sbr_frames):
    for media in ("frames", "video_jpeg"):
        parts = content(openai_messages(sbr_sample(video=False), sbr_frames(count=0), media))
        assert [part["type"] for part in parts] == ["image_url", "text"]


def test_a_question_without_an_image_shows_its_video_only(sbr_sample, sbr_frames):
    sample, frames = replace(sbr_sample(), image=None), replace(sbr_frames(count=3), image_HWC=None)
    assert [part["type"] for part in content(openai_messages(sample, frames, "frames"))] == ["image_url"] * 3 + ["text"]


def test_subtitles_stand_between_the_frames(sbr_sample, sbr_frames):
    """Frames at 0, 1, 2, 3 s; a subtitle around 1.2 s comes behind the second frame."""
    sample = replace(sbr_sample(), subtitles=(Subtitle("hello", 0.9, 1.5),))
    frames = sbr_frames(count=4, total=4, fps=1.0)
    for media in ("frames", "video_jpeg"):
        parts = content(openai_messages(sample, frames, media))
        words = [part.get("text", "picture") for part in parts]
        assert words == ["picture", "picture", "hello\n", "picture", "picture", "picture", question_text(sample)]
        np.testing.assert_array_equal(pixels(parts[3]["image_url"]["url"], "image/png"), frames.video_THWC[2])
        np.testing.assert_array_equal(pixels(parts[5]["image_url"]["url"], "image/png"), frames.image_HWC)


def test_video_of_jpegs_keeps_order_and_nearly_all_of_the_pixels(sbr_sample, sbr_frames):
    frames = sbr_frames(count=4, total=100, fps=30.0)
    video, image, _ = content(openai_messages(sbr_sample(), frames, "video_jpeg"))
    head, _, data = video["video_url"]["url"].partition(",")
    assert head == "data:video/jpeg;base64"
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(part)))) for part in data.split(",")]
    assert len(shown) == 4
    for found, wanted in zip(shown, frames.video_THWC, strict=True):
        # Noise is the worst for JPEG; other frames differ by 85 levels on average.
        assert np.abs(found.astype(int) - wanted).mean() < 1
    np.testing.assert_array_equal(pixels(image["image_url"]["url"], "image/png"), frames.image_HWC)
    assert video_fields(frames) == {
        "media_io_kwargs": {
            "video": {
                "num_frames": -1,
                "do_sample_frames": False,
                "fps": 30.0,
                "frames_indices": [0, 33, 66, 99],
                "total_num_frames": 100,
            }
        }
    }


def test_prompt_text_shows_the_places_of_media(sbr_sample, sbr_frames):
    sample, frames = sbr_sample(), sbr_frames(count=2)
    assert prompt_text(openai_messages(sample, frames, "frames")) == "<image>" * 3 + question_text(sample)
    assert prompt_text(openai_messages(sample, frames, "video_jpeg")) == "<video><image>" + question_text(sample)

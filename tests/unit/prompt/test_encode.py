from dataclasses import replace

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from sbr.config import PromptConfig
from sbr.errors import DataError, PromptTooLongError
from sbr.model.load import load_processor
from sbr.prompt.encode import PromptEncoder
from sbr.prompt.template import question_text


@pytest.fixture(scope="module")
def encoder(tiny_model_dir) -> PromptEncoder:
    return PromptEncoder(load_processor(str(tiny_model_dir)), PromptConfig())


@pytest.mark.parametrize(("count", "height", "width"), [(4, 56, 56), (6, 84, 56), (0, 56, 112)])
def test_equals_the_processor_called_directly_on_the_same_frames(
    tiny_model_dir, sbr_sample, sbr_frames, encoder, count, height, width
) -> None:
    sample, frames = sbr_sample(video=count > 0), sbr_frames(seed=count, count=count, height=height, width=width)
    prompt = encoder.encode(sample, frames)

    # The independent way: the processor gets messages that hold the media, PIL images and channels-last arrays.
    media = [{"type": "video", "video": frames.video_THWC}] if count else []
    media += [{"type": "image", "image": Image.fromarray(frames.image_HWC)}]
    messages = [{"role": "user", "content": [*media, {"type": "text", "text": question_text(sample)}]}]
    expected = AutoProcessor.from_pretrained(tiny_model_dir).apply_chat_template(
        messages,
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"do_resize": False, "do_sample_frames": False},
    )
    assert torch.equal(prompt.input_ids_S, expected["input_ids"][0])
    assert torch.equal(prompt.mm_token_type_ids_S, expected["mm_token_type_ids"][0])
    assert torch.equal(prompt.image_grid_thw, expected["image_grid_thw"])
    assert torch.equal(prompt.pixel_values, expected["pixel_values"])
    if count:
        assert prompt.video_grid_thw.tolist() == [[count // 2, height // 14, width // 14]]
        assert torch.equal(prompt.video_grid_thw, expected["video_grid_thw"])
        assert torch.equal(prompt.pixel_values_videos, expected["pixel_values_videos"])
    else:
        assert prompt.pixel_values_videos is None
        assert prompt.video_grid_thw is None


def test_the_text_is_the_chat_template_and_the_media_stand_before_it(encoder, sbr_sample, sbr_frames) -> None:
    prompt = encoder.encode(sbr_sample(), sbr_frames())
    video, image = "<|vision_start|><|video_pad|><|vision_end|>", "<|vision_start|><|image_pad|><|vision_end|>"
    assert prompt.text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        f"{video}{image}{question_text(sbr_sample())}<|im_end|>\n<|im_start|>assistant\n"
    )
    kinds = prompt.mm_token_type_ids_S.tolist()
    assert (kinds.count(2), kinds.count(1)) == (2 * 4, 4)  # 2 temporal patches and 1 image of 2x2 tokens
    assert kinds.index(2) < kinds.index(1)


def test_a_prompt_over_the_limit_gives_the_sizes(encoder, sbr_sample, sbr_frames) -> None:
    total = len(encoder.encode(sbr_sample("7"), sbr_frames()))
    exact = PromptEncoder(encoder.processor, PromptConfig(max_tokens=total))
    assert len(exact.encode(sbr_sample("7"), sbr_frames())) == total
    short = PromptEncoder(encoder.processor, PromptConfig(max_tokens=total - 1))
    with pytest.raises(PromptTooLongError) as caught:
        short.encode(sbr_sample("7"), sbr_frames())
    message = str(caught.value)
    sizes = f"{total} tokens (8 video, 4 image, {total - 12} text), the limit prompt.max_tokens is {total - 1}"
    assert sizes in message
    assert "sample 7" in message
    assert "frames.max_frames" in message


def test_frames_that_do_not_fit_are_refused(encoder, sbr_sample, sbr_frames) -> None:
    with pytest.raises(DataError, match="frames say otherwise"):
        encoder.encode(sbr_sample(), sbr_frames(count=0))
    with pytest.raises(DataError, match="frames say otherwise"):
        encoder.encode(sbr_sample(video=False), sbr_frames(count=4))
    with pytest.raises(DataError, match="56x60 pixels; this checkpoint needs multiples of 28"):
        encoder.encode(sbr_sample(), sbr_frames(width=60))


@pytest.mark.parametrize("token", ["<|image_pad|>", "<|im_end|>"])
def test_a_special_token_in_the_question_is_refused(encoder, sbr_sample, sbr_frames, token) -> None:
    sample = replace(sbr_sample(), options=("a", f"b {token}", "c", "d"))
    with pytest.raises(DataError, match="special token"):
        encoder.encode(sample, sbr_frames())

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from PIL import Image
from transformers import Qwen2_5_VLProcessor, Qwen3VLProcessor

from sbr.config.inputs import PromptConfig
from sbr.errors import DataError, PromptTooLongError
from sbr.model.families import MODEL_CLASSES
from sbr.model.load import load_processor
from sbr.prompt.encode import PromptEncoder
from sbr.prompt.template import question_text
from sbr.types import Frames, Subtitle


@pytest.fixture(scope="module", params=MODEL_CLASSES)
def encoder(request, tiny_model_dirs) -> PromptEncoder:
    return PromptEncoder(load_processor(str(tiny_model_dirs[request.param])), PromptConfig())


@pytest.fixture
def frames_of(encoder, sbr_frames) -> Callable[..., Frames]:
    """frames_of(count, height, width): sizes in visual tokens, frames out of 100 at 30 frames a second."""

    def make(count: int = 4, height: int = 2, width: int = 2, seed: int = 0) -> Frames:
        token = encoder.size_factor
        return sbr_frames(seed, count, height * token, width * token, total=100, fps=30.0)

    return make


@pytest.mark.parametrize(
    ("count", "height", "width", "image"), [(4, 2, 2, True), (6, 3, 2, True), (0, 2, 4, True), (6, 2, 3, False)]
)
def test_equals_the_processor_called_directly_on_the_same_frames(
    sbr_sample, frames_of, encoder, count, height, width, image
) -> None:
    sample, frames = sbr_sample(video=count > 0), frames_of(count, height, width, seed=count)
    if not image:
        sample, frames = replace(sample, image=None), replace(frames, image_HWC=None)
    prompt = encoder.encode(sample, frames)

    # The independent way: the processor gets messages that hold the media, PIL images and channels-last arrays.
    media = [{"type": "video", "video": frames.video_THWC}] if count else []
    media += [{"type": "image", "image": Image.fromarray(frames.image_HWC)}] if image else []
    messages = [{"role": "user", "content": [*media, {"type": "text", "text": question_text(sample)}]}]
    known = {"total_num_frames": 100, "fps": 30.0, "frames_indices": list(frames.indices)}
    expected = encoder.processor.apply_chat_template(
        messages,
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"do_resize": False, "do_sample_frames": False, "video_metadata": [known]},
    )
    assert torch.equal(prompt.input_ids_S, expected["input_ids"][0])
    assert torch.equal(prompt.mm_token_type_ids_S, expected["mm_token_type_ids"][0])
    if image:
        assert torch.equal(prompt.image_grid_thw, expected["image_grid_thw"])
        assert torch.equal(prompt.pixel_values, expected["pixel_values"])
    else:
        assert prompt.pixel_values is None
        assert prompt.image_grid_thw is None
        assert 1 not in prompt.mm_token_type_ids_S
    if count:
        assert prompt.video_grid_thw.tolist() == [[count // 2, height * 2, width * 2]]
        assert torch.equal(prompt.video_grid_thw, expected["video_grid_thw"])
        assert torch.equal(prompt.pixel_values_videos, expected["pixel_values_videos"])
    else:
        assert prompt.pixel_values_videos is None
        assert prompt.video_grid_thw is None
        assert prompt.second_per_grid_ts is None


def test_with_subtitles_equals_the_processor_given_single_pictures(sbr_sample, frames_of, encoder) -> None:
    frames = replace(frames_of(4), image_HWC=None)  # frames 0, 33, 66, 99 at 30 a second: 0, 1.1, 2.2 and 3.3 seconds
    subtitles = (Subtitle("hello", 0.5, 1.9), Subtitle("unheard", 1.3, 2.0))
    sample = replace(sbr_sample(), image=None, subtitles=subtitles)
    prompt = encoder.encode(sample, frames)
    pictures = [{"type": "image", "image": Image.fromarray(frame)} for frame in frames.video_THWC]
    content = [*pictures[:2], {"type": "text", "text": "hello\n"}, *pictures[2:]]
    expected = encoder.processor.apply_chat_template(
        [{"role": "user", "content": [*content, {"type": "text", "text": question_text(sample)}]}],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"do_resize": False},
    )
    assert torch.equal(prompt.input_ids_S, expected["input_ids"][0])
    assert torch.equal(prompt.mm_token_type_ids_S, expected["mm_token_type_ids"][0])
    assert torch.equal(prompt.pixel_values, expected["pixel_values"])
    assert prompt.image_grid_thw.tolist() == expected["image_grid_thw"].tolist() == [[1, 4, 4]] * 4
    assert prompt.pixel_values_videos is None


def test_the_processor_is_told_when_the_frames_were_taken(encoder, sbr_sample, frames_of) -> None:
    prompt = encoder.encode(sbr_sample(), frames_of(count=6))  # frames 0, 20, 40, 59, 79, 99 of 3.33 seconds
    if isinstance(encoder.processor, Qwen2_5_VLProcessor):
        # qwen_vl_utils: sample_fps = 6 / 100 * 30; the processor: 2 frames of a temporal patch / sample_fps
        assert prompt.second_per_grid_ts.tolist() == pytest.approx([2 / 1.8])
    else:
        assert prompt.second_per_grid_ts is None
    text = encoder.tokenizer.decode(prompt.input_ids_S)
    # Mean of the first and the last frame of a temporal patch: 10 / 30, 49.5 / 30, 89 / 30 seconds.
    times = (
        ["<0.3 seconds>", "<1.6 seconds>", "<3.0 seconds>"] if isinstance(encoder.processor, Qwen3VLProcessor) else []
    )
    assert re.findall(r"<[^<>]* seconds>", text) == times


def test_the_tokens_of_qwen2_vl_stay_what_they_are(tiny_model_dirs, sbr_sample, sbr_frames) -> None:
    """The time of the frames changes nothing: placeholders are expanded in place, the rest is the tokenized text."""
    encoder = PromptEncoder(load_processor(str(tiny_model_dirs["qwen2_vl"])), PromptConfig())
    prompt = encoder.encode(sbr_sample(), sbr_frames(count=6, height=84, total=100, fps=30.0))
    expanded = prompt.text.replace("<|video_pad|>", "<|video_pad|>" * 18).replace("<|image_pad|>", "<|image_pad|>" * 6)
    assert prompt.input_ids_S.tolist() == encoder.tokenizer(expanded).input_ids


def test_the_text_is_the_chat_template_and_the_media_stand_before_it(encoder, sbr_sample, frames_of) -> None:
    prompt = encoder.encode(sbr_sample(), frames_of())
    video, image = "<|vision_start|><|video_pad|><|vision_end|>", "<|vision_start|><|image_pad|><|vision_end|>"
    assert prompt.text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        f"{video}{image}{question_text(sbr_sample())}<|im_end|>\n<|im_start|>assistant\n"
    )
    kinds = prompt.mm_token_type_ids_S.tolist()
    assert (kinds.count(2), kinds.count(1)) == (2 * 4, 4)  # 2 temporal patches and 1 image of 2x2 tokens
    assert kinds.index(2) < kinds.index(1)


def test_a_prompt_over_the_limit_gives_the_sizes(encoder, sbr_sample, frames_of) -> None:
    total = len(encoder.encode(sbr_sample("7"), frames_of()))
    exact = PromptEncoder(encoder.processor, PromptConfig(max_tokens=total))
    assert len(exact.encode(sbr_sample("7"), frames_of())) == total
    short = PromptEncoder(encoder.processor, PromptConfig(max_tokens=total - 1))
    with pytest.raises(PromptTooLongError) as caught:
        short.encode(sbr_sample("7"), frames_of())
    message = str(caught.value)
    sizes = f"{total} tokens (8 video, 4 image, {total - 12} text), the limit prompt.max_tokens is {total - 1}"
    assert sizes in message
    assert "sample 7" in message
    assert "frames.max_frames" in message


def test_frames_that_do_not_fit_are_refused(encoder, sbr_sample, frames_of, sbr_frames) -> None:
    with pytest.raises(DataError, match="frames say otherwise"):
        encoder.encode(sbr_sample(), frames_of(count=0))
    with pytest.raises(DataError, match="frames say otherwise"):
        encoder.encode(sbr_sample(video=False), frames_of(count=4))
    with pytest.raises(DataError, match=r"has the image /nowhere/image\.png, but its frames say otherwise"):
        encoder.encode(sbr_sample(), replace(frames_of(), image_HWC=None))
    with pytest.raises(DataError, match="has no image, but its frames say otherwise"):
        encoder.encode(replace(sbr_sample(), image=None), frames_of())
    factor = 32 if isinstance(encoder.processor, Qwen3VLProcessor) else 28
    with pytest.raises(DataError, match=f"pixels; this checkpoint needs multiples of {factor}: load them with"):
        encoder.encode(sbr_sample(), sbr_frames(height=224, width=252 if factor == 32 else 256))
    for untimed in (replace(frames_of(), fps=None), replace(frames_of(), indices=(0, 1, 2))):
        with pytest.raises(DataError, match="the time of every frame must be known"):
            encoder.encode(sbr_sample(), untimed)


@pytest.mark.parametrize("token", ["<|image_pad|>", "<|im_end|>"])
def test_a_special_token_in_the_question_is_refused(encoder, sbr_sample, frames_of, token) -> None:
    sample = replace(sbr_sample(), options=("a", f"b {token}", "c", "d"))
    with pytest.raises(DataError, match="special token"):
        encoder.encode(sample, frames_of())
    with pytest.raises(DataError, match="special token"):
        encoder.encode(replace(sbr_sample(), subtitles=(Subtitle(token, 0.0, 1.0),)), frames_of())

"""Sample and Frames -> Prompt, through the checkpoint's own processor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from transformers.video_utils import VideoMetadata

from sbr.config.inputs import PromptConfig
from sbr.data.sources.cot import CotQuestion
from sbr.errors import CheckpointError, DataError, PromptTooLongError
from sbr.prompt.chat_template import render
from sbr.prompt.template import chat_messages, question_text
from sbr.types import Frames, Prompt, Sample, Shown


class PromptEncoder:
    """Turns questions into model inputs; `processor` is that of a checkpoint (`sbr.model.load.load_processor`).

    The frames are taken as they are: sampling and resizing belong to sbr.frames.
    """

    def __init__(self, processor: Any, config: PromptConfig) -> None:
        self.processor = processor
        self.config = config

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @property
    def size_factor(self) -> int:
        """Pixels of one visual token in each direction: heights and widths are multiples (28, or 32 for Qwen3-VL)."""
        return self.processor.image_processor.patch_size * self.processor.image_processor.merge_size

    def encode(self, sample: Sample, frames: Frames) -> Prompt:
        """Tokens, patches and grids of one question.

        Raises PromptTooLongError with the sizes when the prompt holds more than `config.max_tokens` tokens, DataError
        when the frames do not fit the sample or the checkpoint, or when the question holds a special token.
        """
        where = f"sample {sample.sample_id}"
        self._check_frames(where, sample, frames)
        self._check_text(
            where,
            "question, options or subtitles hold",
            [question_text(sample), *(subtitle.text for subtitle in sample.subtitles or ())],
        )
        messages, clip, pictures = chat_of(sample, frames)
        prompt = encode_chat(self.processor, messages, clip, pictures)
        self._check_sizes(where, prompt)
        return prompt

    def encode_question(self, question: CotQuestion, frames: Frames) -> Prompt:
        """As `encode`, from the chat messages of a CoT row.  Messages in the official words give the same prompt."""
        self._check_frames(question.where, question, frames)
        parts = [part for message in question.messages for part in message.content]
        self._check_text(question.where, "prompt holds", [part.value for part in parts if part.type == "text"])
        messages = [
            {
                "role": message.role,
                "content": [
                    {"type": part.type, "text": part.value} if part.type == "text" else {"type": part.type}
                    for part in message.content
                ],
            }
            for message in question.messages
        ]
        pictures = [] if frames.image_HWC is None else [frames.image_HWC]
        prompt = encode_chat(self.processor, messages, frames, pictures)
        self._check_sizes(question.where, prompt)
        return prompt

    def encode_responses(self, question: CotQuestion) -> tuple[tuple[int, ...], ...]:
        """Token ids of every response, the end of turn included, without what the template writes after it.

        A response is tokenized by itself, as a model writes it in a rollout.
        """
        self._check_text(question.where, "response holds", question.responses)
        encoded = self.tokenizer(list(question.responses), add_special_tokens=False)["input_ids"]
        return tuple((*ids, self.end_of_turn) for ids in encoded)

    def encode_prefill(self, text: str) -> tuple[int, ...]:
        """Token ids of words that an answer begins with; none for ""."""
        self._check_text("engine.prefill", "it holds", [text])
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else ()

    @cached_property
    def end_of_turn(self) -> int:
        """Id of the token that closes an assistant's turn in the chat template; CheckpointError if none does."""
        asked: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "A"}]}]
        answered = [*asked, {"role": "assistant", "content": [{"type": "text", "text": "B"}]}]
        start = render(self.processor, asked)
        whole = render(self.processor, answered, add_generation_prompt=False)
        ids = self.tokenizer(whole.removeprefix(f"{start}B"), add_special_tokens=False)["input_ids"]
        if not whole.startswith(f"{start}B") or not ids or ids[0] not in self.tokenizer.all_special_ids:
            raise CheckpointError(
                "the chat template does not write an answer followed by one end-of-turn token, so nothing says where a "
                f"response to learn ends: it makes {whole!r} of {start!r} and the answer 'B'"
            )
        return ids[0]

    def _check_frames(self, where: str, shown: Shown, frames: Frames) -> None:
        for name, medium, pixels in (
            ("video", shown.video, frames.video_THWC),
            ("image", shown.image, frames.image_HWC),
        ):
            if (medium is None) != (pixels is None):
                has = f"no {name}" if medium is None else f"the {name} {medium}"
                raise DataError(f"{where} has {has}, but its frames say otherwise; load them again")
        if frames.video_THWC is not None and (not frames.fps or len(frames.indices) != len(frames.video_THWC)):
            raise DataError(
                f"{where}: {len(frames.video_THWC)} frames with {len(frames.indices)} indices at "
                f"{frames.fps} frames a second; the time of every frame must be known: load the frames again"
            )
        unit = self.size_factor
        for name, pixels in (("image", frames.image_HWC), ("video", frames.video_THWC)):
            if pixels is not None and (pixels.shape[-3] % unit or pixels.shape[-2] % unit):
                raise DataError(
                    f"{where}: {name} frames are {pixels.shape[-3]}x{pixels.shape[-2]} pixels; "
                    f"this checkpoint needs multiples of {unit}: load them with factor={unit}"
                )

    def _check_text(self, where: str, what: str, texts: Sequence[str]) -> None:
        for token in self.tokenizer.all_special_tokens:
            if any(token in text for text in texts):
                raise DataError(f"{where}: {what} the special token {token}")

    def _check_sizes(self, where: str, prompt: Prompt) -> None:
        merged = self.processor.image_processor.merge_size**2
        images = _media_tokens(prompt, 1, prompt.image_grid_thw, merged, f"{where}: image")
        videos = _media_tokens(prompt, 2, prompt.video_grid_thw, merged, f"{where}: video")
        if len(prompt) > self.config.max_tokens:
            raise PromptTooLongError(
                f"{where}: the prompt holds {len(prompt)} tokens ({videos} video, {images} image, "
                f"{len(prompt) - videos - images} text), the limit prompt.max_tokens is {self.config.max_tokens}. "
                "Media tokens are never cut: lower frames.max_frames, frames.height or frames.width, or raise the limit"
            )


def chat_of(sample: Sample, frames: Frames) -> tuple[list[dict[str, Any]], Frames | None, list[np.ndarray]]:
    """The chat of a question and what it shows: the frames as one video, or None, and the single pictures in order."""
    pictures = [] if frames.image_HWC is None else [frames.image_HWC]
    if frames.video_THWC is None or frames.fps is None:
        return chat_messages(sample), None, pictures
    if sample.subtitles is None:
        return chat_messages(sample), frames, pictures
    times = [index / frames.fps for index in frames.indices]
    return chat_messages(sample, times), None, [*frames.video_THWC, *pictures]


def encode_chat(
    processor: Any, messages: list[dict[str, Any]], clip: Frames | None, images: Sequence[np.ndarray]
) -> Prompt:
    """A chat of at most one video (that of `clip`) and `images` (H, W, 3), through the checkpoint's own processor.

    Pictures are taken as they are.  From what is known of the file the processors compute what qwen_vl_utils would
    pass: the sampled frame rate, taken frames / all frames * frame rate (Qwen2.5-VL), and the time of every frame,
    index / frame rate (Qwen3-VL).
    """
    videos: list[torch.Tensor] | None = None
    metadata: list[VideoMetadata] | None = None
    if clip is not None and clip.video_THWC is not None:
        videos = [_channels_first(clip.video_THWC)]
        metadata = [VideoMetadata(total_num_frames=clip.total, fps=clip.fps, frames_indices=list(clip.indices))]
    text = render(processor, messages)
    inputs = processor(
        text=[text],
        images=[_channels_first(image_HWC) for image_HWC in images] or None,
        videos=videos,
        images_kwargs={"do_resize": False},
        # cap_pixels_per_frame concerns resizing only; naming it silences a warning about a future default.
        videos_kwargs={
            "do_resize": False,
            "do_sample_frames": False,
            "cap_pixels_per_frame": False,
            "video_metadata": metadata,
        },
        return_tensors="pt",
    )
    return Prompt(
        text=text,
        input_ids_S=inputs["input_ids"][0],
        mm_token_type_ids_S=inputs["mm_token_type_ids"][0],
        pixel_values=inputs.get("pixel_values"),
        image_grid_thw=inputs.get("image_grid_thw"),
        pixel_values_videos=inputs.get("pixel_values_videos"),
        video_grid_thw=inputs.get("video_grid_thw"),
        second_per_grid_ts=inputs.get("second_per_grid_ts"),
    )


def _channels_first(pixels: np.ndarray) -> torch.Tensor:
    """(..., H, W, C) array -> (..., C, H, W) tensor, so that the processor need not guess the order."""
    return torch.from_numpy(pixels).movedim(-1, -3)


def _media_tokens(prompt: Prompt, kind: int, grid: torch.Tensor | None, merged: int, where: str) -> int:
    """Number of tokens of one kind (1 image, 2 video); DataError unless the grids imply the same number."""
    found = int((prompt.mm_token_type_ids_S == kind).sum())
    expected = 0 if grid is None else int(grid.prod(-1).sum()) // merged
    if found != expected or (grid is not None and found == 0):
        raise DataError(f"{where}: {found} tokens in the text, but the pictures make {expected}")
    return found

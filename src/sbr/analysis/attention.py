"""One answered question -> where the model looked while it wrote, and what that did to its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch

from sbr.analysis.attention_effect import Written, effects
from sbr.analysis.attention_records import AttentionRecord, Effect, Shares
from sbr.analysis.attention_sinks import find_sinks
from sbr.analysis.attention_spans import Span, mean_map, span_in, span_tokens
from sbr.analysis.attention_tokens import ResponseTokens, letter_place, response_tokens
from sbr.config.attention import AttentionConfig
from sbr.errors import CheckpointError, ConfigError, DataError
from sbr.model.families import VisionLanguageModel
from sbr.model.logprobs import token_logprobs
from sbr.model.record_attention import AttentionRecorder, RecordedAttention
from sbr.model.shared_prefix import pack, packed_hidden_states
from sbr.prompt.encode import PromptEncoder, encode_chat
from sbr.rollout.engine import question_seed
from sbr.types import EvalRecord, Frames, Prompt, Sample

GENERAL = {"video": "Describe the video.", "image": "Describe the image."}
"""The words of the general prompt; a video counts before an image."""

RANKING: tuple[Span, ...] = ("think", "answer")
"""Spans whose mean maps rank the visual tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """The record of an answer and its maps."""

    record: AttentionRecord
    tokens_NV: np.ndarray
    """float16"""
    general_V: np.ndarray
    """float16"""


class AttentionMeter:
    """Looks into one model.  Raises ConfigError for layers and heads that it does not have."""

    def __init__(self, model: VisionLanguageModel, encoder: PromptEncoder, config: AttentionConfig) -> None:
        text: Any = model.config.text_config
        self._model, self._encoder, self._config = model, encoder, config
        self.layers = tuple(range(text.num_hidden_layers))
        self.map_layers = config.layers or middle_third(text.num_hidden_layers)
        for key, numbers, count in (
            ("layers", self.map_layers, text.num_hidden_layers),
            ("heads", config.heads or (), text.num_attention_heads),
        ):
            if wrong := [number for number in numbers if number >= count]:
                raise ConfigError(f"--{key} names {wrong[0]}, but the model has {key} 0 to {count - 1}")

    @torch.no_grad()
    def look(self, record: EvalRecord, sample: Sample, frames: Frames, same_prompt: bool = True) -> Looked:
        """Raises DataError when the question is not the one that was asked, CheckpointError for numbers that are not
        finite.  A server's prompt is not ours word for word (`same_prompt`).
        """
        where = f"question {record.sample_id} of {record.level}"
        prompt = self._encoder.encode(sample, frames)
        if same_prompt and prompt.text != record.prompt:
            raise DataError(
                f"{where}: the prompt that the data and the model's chat template make now is another than the one "
                "that was answered; name the data that was evaluated with --data, and restore the model's folder"
            )
        tokens = response_tokens(self._encoder, record)
        general = general_prompt(self._encoder, frames)
        place = letter_place(record)
        letter = None if place is None else span_tokens(tokens.starts, record.response, place, place + 1)[-1]
        found, general_V, logprobs = self._record(prompt, general, tokens.ids, 0 if letter is None else letter + 1)
        if not all(torch.isfinite(part).all() for part in (found.shares_lN4, found.tokens_NV, general_V)):
            raise CheckpointError(
                f"{where}: the model's attention is not finite: its weights overflow in {self._model.dtype}; evaluate "
                "it with --dtype float32"
            )
        tokens_NV, general_V = (part.cpu().numpy().astype(np.float16) for part in (found.tokens_NV, general_V))
        sinks = find_sinks(tokens_NV.astype(np.float32), general_V.astype(np.float32))
        changes: tuple[Effect, ...] = ()
        if letter is not None and general is not None and self._config.fractions:
            spans = {span: span_in(tokens.starts, record.response, span) for span in RANKING}
            maps_V = {span: mean_map(tokens_NV.astype(np.float32), found_N) for span, found_N in spans.items()}
            maps = {span: map_V for span, map_V in maps_V.items() if map_V is not None}
            think = range(spans["think"].start, min(spans["think"].stop, letter))
            written = Written(tokens.ids[: letter + 1], logprobs, think)
            seed = question_seed(self._config.seed, record.level, record.sample_id, record.rotation)
            changes = effects(self._model, prompt, written, maps, sinks, self._config, seed)
        before = None if letter is None else round(logprobs[letter], 6)
        made = self._made(record, prompt, tokens, found, sinks, before, changes)
        return Looked(made, tokens_NV, general_V)

    def _record(
        self, prompt: Prompt, general: Prompt | None, ids: Sequence[int], scored: int
    ) -> tuple[RecordedAttention, torch.Tensor, tuple[float, ...]]:
        """One pass over the answer and the general prompt: the answer's attention, the map of the general prompt, and
        the log-probabilities of the first `scored` tokens."""
        prompts, completions_PG = [prompt], [[ids]]
        if general is not None:
            prompts.append(general)
            completions_PG.append([[0]])  # any token: what is recorded is the row before it, the prompt's last
        row = pack(self._model, prompts, completions_PG)
        recorder = AttentionRecorder(row, prompts, completions_PG, self.layers, self.map_layers, self._config.heads)
        hidden = packed_hidden_states(self._model, prompts, row, layout=recorder)
        answer, *others = recorder.recorded
        targets = torch.tensor(ids[:scored], dtype=torch.long, device=hidden.device)
        logprobs, _ = token_logprobs(self._model.lm_head, hidden[row.predicts[:scored]], targets, 1.0)
        general_V = others[0].tokens_NV[0] if others else answer.tokens_NV.new_zeros(0)
        return answer, general_V, tuple(logprobs.tolist())

    def _made(
        self,
        record: EvalRecord,
        prompt: Prompt,
        tokens: ResponseTokens,
        found: RecordedAttention,
        sinks: tuple[int, ...],
        before: float | None,
        changes: tuple[Effect, ...],
    ) -> AttentionRecord:
        merge = self._encoder.processor.image_processor.merge_size
        video, image = prompt.video_grid_thw, prompt.image_grid_thw
        pairs, rows, columns = (0, 0, 0) if video is None else video[0].tolist()
        key = "\0".join((record.level, record.sample_id, str(record.sample_index), str(record.rotation)))
        return AttentionRecord(
            sample_id=record.sample_id,
            level=record.level,
            sample_index=record.sample_index,
            rotation=record.rotation,
            response=record.response,
            tokens=tokens.texts,
            starts=tokens.starts,
            same_tokens=len(tokens.ids) == record.completion_tokens,
            video_grid=None if video is None else (pairs, rows // merge, columns // merge),
            image_grid=None if image is None else (int(image[0, 1]) // merge, int(image[0, 2]) // merge),
            layers=self.layers,
            shares=tuple(
                tuple(Shares(*(round(share, 5) for share in token)) for token in of_layer)
                for of_layer in found.shares_lN4.tolist()
            ),
            sinks=sinks,
            answer_logprob=before,
            effects=changes,
            maps=f"{record.level}-{sha256(key.encode()).hexdigest()[:16]}.npz",
            map_layers=self.map_layers,
        )


def middle_third(layers: int) -> tuple[int, ...]:
    """
    >>> middle_third(28)
    (9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
    """
    return tuple(range(layers // 3, layers - layers // 3))


def general_prompt(encoder: PromptEncoder, frames: Frames) -> Prompt | None:
    """The same pictures with words that ask for nothing in particular; None when nothing is shown."""
    clip = frames if frames.video_THWC is not None else None
    pictures = [] if frames.image_HWC is None else [frames.image_HWC]
    shown = (["video"] if clip else []) + ["image"] * len(pictures)
    if not shown:
        return None
    content = [{"type": kind} for kind in shown] + [{"type": "text", "text": GENERAL[shown[0]]}]
    return encode_chat(encoder.processor, [{"role": "user", "content": content}], clip, pictures)

"""One `vllm.LLM` in this process: its life, what it is given, and the checks that it reads what we read.

vLLM gets the chat text and the uint8 pictures, and runs the checkpoint's processor itself.  So that no picture is
resized or sampled a second time unseen, the tokens it read are compared with those of `PromptEncoder`: they must be
equal.

Banned tokens (`sbr.model.tokens`) get a logit bias of minus infinity.  Of vLLM's ways to ban this one fits: a list of
allowed tokens may hold 1024 at most in its newer model runner, and bad words are strings, compared row by row.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from PIL import Image

from sbr.config.asking import EngineConfig
from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.errors import CheckpointError, ConfigError, DataError
from sbr.model.load import load_configs, load_processor
from sbr.model.lora import is_adapter
from sbr.model.paths import resolve_model_path
from sbr.model.tokens import banned_tokens, end_tokens
from sbr.prompt.encode import PromptEncoder, chat_of
from sbr.rollout.engine import Question
from sbr.rollout.sampling import Sampling
from sbr.types import Prompt

MOST_PICTURES = 1024
"""Single pictures of one prompt (frames between subtitles); what a prompt really holds, prompt.max_tokens bounds."""

_log = logging.getLogger(__name__)

AS_THEY_ARE = {"images_kwargs": {"do_resize": False}, "videos_kwargs": {"do_resize": False, "do_sample_frames": False}}


class VllmModel:
    """A checkpoint in vLLM, started by the first prompts: only then it is known how long a sequence may get."""

    def __init__(self, model: ModelConfig, prompt: PromptConfig, config: EngineConfig) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError(
                "the vllm engine starts its processes itself: run without torchrun or accelerate launch, and set "
                "engine.tensor_parallel to the number of GPUs"
            )
        self._vllm = _import()
        self._model, self._prompt, self._config = model, prompt, config
        self._folder = resolve_model_path(model.path)
        if is_adapter(self._folder):
            raise ConfigError(
                f"{model.path} holds an adapter; the vllm engine takes whole models: write adapter and base as one "
                "with `sbr merge`, or use the native engine"
            )
        self.encoder = PromptEncoder(load_processor(model.path), prompt)
        configs = load_configs(model.path)
        self._checkpoint: Any = configs.config
        self._positions: int = configs.config.text_config.max_position_embeddings
        self._ends = end_tokens(configs)
        self._bias = dict.fromkeys(banned_tokens(configs, self.encoder.tokenizer), float("-inf"))
        self._llm: Any = None
        self._length = 0
        self._warned = False

    def close(self) -> None:
        """Free the memory; vLLM starts again when it is asked again."""
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None

    def generate(
        self, questions: Sequence[Question], prompts: Sequence[Prompt], samples: int, sampling: Sampling
    ) -> list[list[Any]]:
        """`samples` of vLLM's own `CompletionOutput` for every question, by their index; a greedy one only once.

        `prompts` are the same questions as model inputs.  Raises DataError when vLLM reads another prompt, or one is
        too long.
        """
        llm = self._llm or self._start(sampling)
        for question, prompt in zip(questions, prompts, strict=True):
            self._check_length(question, prompt, sampling)
            self._warn_of_positions(question, prompt)
        outputs = llm.generate(
            [llm_input(question, prompt) for question, prompt in zip(questions, prompts, strict=True)],
            [self._params(question, samples, sampling) for question in questions],
            use_tqdm=False,
        )
        for question, prompt, output in zip(questions, prompts, outputs, strict=True):
            _check_tokens(question, prompt, output.prompt_token_ids)
        return [sorted(output.outputs, key=lambda one: one.index) for output in outputs]

    def _start(self, sampling: Sampling) -> Any:
        self._length = min(self._positions, self._prompt.max_tokens + sampling.max_new_tokens)
        try:
            self._llm = self._vllm.LLM(
                model=self._folder,
                dtype=self._model.dtype,
                max_model_len=self._length,
                limit_mm_per_prompt={"video": 1, "image": MOST_PICTURES},
                tensor_parallel_size=self._config.tensor_parallel,
                gpu_memory_utilization=self._config.gpu_memory,
                enforce_eager=self._config.eager,
                generation_config="vllm",  # all that it could say is said in the parameters of every question
            )
        except (OSError, RuntimeError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f"{self._model.path}: vLLM does not start: {reason}\nIts own messages, above, say more; when the GPU's "
                "memory is the reason, lower engine.gpu_memory or prompt.max_tokens"
            ) from error
        return self._llm

    def _params(self, question: Question, samples: int, sampling: Sampling) -> Any:
        """Answer i of a question is drawn with seed + i (vLLM's own rule for n > 1)."""
        return self._vllm.SamplingParams(
            n=1 if sampling.temperature == 0 else samples,  # vLLM refuses to repeat a greedy answer
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_new_tokens,
            seed=question.seed,
            stop_token_ids=self._ends,
            logit_bias=self._bias,
            detokenize=False,
        )

    def _check_length(self, question: Question, prompt: Prompt, sampling: Sampling) -> None:
        if len(prompt) + sampling.max_new_tokens > self._length:
            raise DataError(
                f"sample {question.sample.sample_id}: {len(prompt)} prompt tokens and up to {sampling.max_new_tokens} "
                f"of the answer are more than the {self._length} that vLLM was started for (prompt.max_tokens and "
                f"max_new_tokens, at most the model's {self._positions} positions); ask for fewer"
            )

    def _warn_of_positions(self, question: Question, prompt: Prompt) -> None:
        """Says once when text after a video gets other positions than in transformers (docs/faithfulness.md)."""
        config = self._checkpoint.vision_config
        if self._warned or prompt.video_grid_thw is None or self._checkpoint.model_type == "qwen3_vl":
            return
        t, h, w = prompt.video_grid_thw[0].tolist()
        seconds = prompt.second_per_grid_ts
        step = 1.0 if seconds is None else float(seconds) * config.tokens_per_second
        if int((t - 1) * step) >= max(h, w) // config.spatial_merge_size:
            self._warned = True
            _log.warning(
                "sample %s: the video has more steps in time than in height and width; vLLM puts the text behind the "
                "last frame, transformers and the native engine behind height and width, so answers of the two differ "
                "for such videos",
                question.sample.sample_id,
            )


def _import() -> ModuleType:
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")  # its remarks would break the progress bar
    # Its default is to fork.  A fork of this process has locks that decoding threads hold, no working CUDA when it was
    # touched before, and the open, locked journal, which would stay locked while a process of vLLM outlives us.
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    try:
        return importlib.import_module("vllm")
    except ImportError as error:
        raise ConfigError(
            f'engine.kind is "vllm", but vLLM cannot be imported ({error}): '
            'pip install "seed-bench-r1[vllm]", or set engine.kind to "native"'
        ) from error


def llm_input(question: Question, prompt: Prompt) -> dict[str, Any]:
    """One prompt as `LLM.generate` takes it."""
    _, clip, pictures = chat_of(question.sample, question.frames)
    media: dict[str, Any] = {}
    if clip is not None:
        known = {"total_num_frames": clip.total, "fps": clip.fps, "frames_indices": list(clip.indices)}
        media["video"] = [(clip.video_THWC, known | {"do_sample_frames": False})]
    if pictures:
        media["image"] = [Image.fromarray(picture_HWC) for picture_HWC in pictures]
    return {"prompt": prompt.text} | ({"multi_modal_data": media, "mm_processor_kwargs": AS_THEY_ARE} if media else {})


def _check_tokens(question: Question, prompt: Prompt, found: Sequence[int]) -> None:
    expected = prompt.input_ids_S.tolist()
    if list(found) != expected:
        raise DataError(
            f"sample {question.sample.sample_id}: vLLM reads a prompt of {len(found)} tokens, the checkpoint's own "
            f"processor makes {len(expected)}, or others: its version may prepare this family's media differently; "
            "use the native engine"
        )

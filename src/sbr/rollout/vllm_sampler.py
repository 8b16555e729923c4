"""vLLM as the sampler of GRPO: one server beside every training process, or servers elsewhere.

The server is vLLM's own, with `sbr.rollout.vllm_worker` in its workers.  Before every rollout all weights are written
to a folder that trainer and server share (memory, on one machine), loaded there, and every cache is emptied; requests
also carry the version of the weights in their salt and in the names of their pictures, so that nothing of older weights
can be found.  The first rollout is compared with the training pass.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from safetensors.torch import save_file

from sbr.config.recipes import GrpoRecipe
from sbr.errors import CheckpointError, ConfigError, EndpointError
from sbr.model.families import VisionLanguageModel
from sbr.model.logprobs import completion_logprobs
from sbr.model.lora import is_adapter
from sbr.model.paths import resolve_model_path
from sbr.model.tokens import TokenRules
from sbr.prompt.openai_chat import openai_messages, video_fields
from sbr.rollout.engine import Question
from sbr.rollout.sampler import Whole
from sbr.rollout.sampling import Sampling
from sbr.rollout.vllm_llm import AS_THEY_ARE
from sbr.rollout.vllm_server import VllmServer, start_server
from sbr.types import Completion, Prompt

CHECKED = 2
"""Prompts of the first rollout whose log-probabilities are compared with the training pass."""
LARGEST_GAP = {"float32": 1e-4, "bfloat16": 2e-2}
"""Mean difference of log-probabilities at temperature 1 or above; below, logits and so differences are larger by its
inverse.  Seen between right ones: 2.5e-7 and 2.8e-3; float32 faults began at 3e-3."""
NEVER = -100.0
"""Added to the logit of a token that is not to be drawn: the most that the API takes."""
_CACHES = ("prefix", "mm", "encoder")

_log = logging.getLogger(__name__)


class VllmSampler:
    """A `sbr.rollout.sampler.Sampler`."""

    def __init__(self, model: VisionLanguageModel, processor: Any, recipe: GrpoRecipe) -> None:
        """Starts a server, or looks for those of `rollout.vllm.urls`.  Raises ConfigError, CheckpointError,
        EndpointError."""
        self._model, self._tokenizer, self._recipe = model, processor.tokenizer, recipe
        self._rules = TokenRules.of(model, processor.tokenizer)
        self._bias = {str(token): NEVER for token in self._rules.banned}
        self._state = PartialState()
        self._on_gpu = torch.cuda.is_available()
        self._run = uuid.uuid4().hex[:12]
        """In the salt of every request: what an earlier run of this folder left in a server's caches is not found."""
        self._version = 0
        self._whole: Whole | None = None
        """Until the first rollout was compared."""
        rank, count = self._state.process_index, self._state.num_processes
        config = recipe.rollout.vllm
        self._sleeps = not config.urls and self._on_gpu
        if config.urls:
            urls = config.urls[rank::count] or (config.urls[rank % len(config.urls)],)
            self._servers = [VllmServer(url, config.timeout) for url in urls]
            self._tells, self._writes = rank < len(config.urls), rank == 0
        else:
            self._servers = [self._start()]
            self._tells, self._writes = True, self._state.is_local_main_process
        self._names = [server.model() for server in self._servers]
        self._temperature = recipe.rollout.temperature
        for server in self._servers:
            server.call("follow_transformers")
            server.call("draw_at", str(self._temperature))
        name = hashlib.sha256(str(recipe.output_dir.resolve()).encode()).hexdigest()[:12]
        # Of this run folder, so that what a killed run left there is written over and not kept for ever.
        self._folder = (config.weights_folder or Path("/dev/shm")) / f"sbr-weights-{name}"

    def _start(self) -> VllmServer:
        recipe, config, state = self._recipe, self._recipe.rollout.vllm, self._state
        text: Any = self._model.config.text_config
        length = recipe.prompt.max_tokens + recipe.rollout.max_new_tokens
        server = start_server(
            resolve_model_path(recipe.model.path),
            recipe.model.dtype,
            min(length, text.max_position_embeddings),
            pictures=recipe.frames.max_frames + 1,
            gpu=state.local_process_index if self._on_gpu else None,
            gpu_memory=config.gpu_memory,
            eager=config.eager,
            timeout=config.timeout,
            log=recipe.output_dir / f"vllm_process_{state.process_index}.log",
        )
        server.wait()
        if self._sleeps:
            server.post("/sleep", level=2)
        return server

    @contextmanager
    def present(self, whole: Whole) -> Iterator[None]:
        self._version += 1
        if self._sleeps:
            self._each("/wake_up", tags="weights")
        with whole() as model:
            if self._version == 1:
                self._whole = whole
            if self._writes:
                _write(model, self._folder)
        self._state.wait_for_everyone()
        if self._tells:
            for server in self._servers:
                server.call("take_weights", str(self._folder))
                for cache in _CACHES:
                    server.post(f"/reset_{cache}_cache")
        self._state.wait_for_everyone()
        if self._writes:
            shutil.rmtree(self._folder)
        if self._sleeps:
            self._each("/wake_up", tags="kv_cache")
        try:
            yield
        finally:
            if self._sleeps:
                self._each("/sleep", level=2)

    def sample(
        self, questions: Sequence[Question], prompts: Sequence[Prompt], group_size: int, sampling: Sampling
    ) -> list[tuple[Completion, ...]]:
        if sampling.temperature != self._temperature:
            raise ValueError(f"servers draw at temperature {self._temperature}, not {sampling.temperature}")
        with ThreadPoolExecutor(max(1, len(questions)), thread_name_prefix="vllm") as pool:
            places = [place % len(self._servers) for place in range(len(questions))]
            groups = list(
                pool.map(self._ask, places, questions, prompts, [group_size] * len(places), [sampling] * len(places))
            )
        if self._whole is not None:
            self._compare(self._whole, prompts[:CHECKED], groups[:CHECKED])
            self._whole = None
        return groups

    def _ask(
        self, place: int, question: Question, prompt: Prompt, group_size: int, sampling: Sampling
    ) -> tuple[Completion, ...]:
        said = self._servers[place].post("/v1/chat/completions", self._request(place, question, group_size, sampling))
        try:
            found = list(said["prompt_token_ids"])
            completions = tuple(
                self._completion(choice) for choice in sorted(said["choices"], key=lambda choice: choice["index"])
            )
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise EndpointError(
                f"vLLM at {self._servers[place].url} answered without tokens or their log-probabilities ({error!r}); "
                "vLLM 0.32 or newer is needed"
            ) from error
        expected = prompt.input_ids_S.tolist()
        if found != expected:
            at = next((i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), "their end")
            raise EndpointError(
                f"sample {question.sample.sample_id}: vLLM at {self._servers[place].url} reads a prompt of "
                f"{len(found)} tokens, training one of {len(expected)}; they part at {at}: is it the same checkpoint?"
            )
        if len(completions) != group_size:
            raise EndpointError(
                f"vLLM at {self._servers[place].url} gave {len(completions)} of {group_size} completions"
            )
        return completions

    def _request(self, place: int, question: Question, group_size: int, sampling: Sampling) -> dict[str, Any]:
        salt = f"{self._run}-{self._version}"
        messages = openai_messages(question.sample, question.frames, "video_png")
        for turn in messages:
            for number, part in enumerate(turn["content"]):
                if part["type"] != "text":
                    part["uuid"] = f"{salt}-{question.sample.sample_id}-{number}"
        body = {
            "model": self._names[place],
            "messages": messages,
            "n": group_size,
            "temperature": 1.0,  # the worker has divided by that of the recipe (`draw_at`)
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "max_tokens": sampling.max_new_tokens,
            "seed": question.seed % 2**31,
            "stop_token_ids": list(self._rules.ends),
            "logit_bias": self._bias,
            "logprobs": True,
            "top_logprobs": 0,
            "return_token_ids": True,
            "cache_salt": salt,
            "mm_processor_kwargs": AS_THEY_ARE,
        }
        return body | (video_fields(question.frames) if question.frames.video_THWC is not None else {})

    def _completion(self, choice: dict[str, Any]) -> Completion:
        ids = tuple(int(token) for token in choice["token_ids"])
        logprobs = tuple(float(one["logprob"]) for one in choice["logprobs"]["content"])
        if len(logprobs) != len(ids):
            raise ValueError(f"{len(ids)} tokens with {len(logprobs)} log-probabilities")
        text = self._tokenizer.decode(ids, skip_special_tokens=True)
        return Completion(ids, logprobs, text, truncated=ids[-1] not in self._rules.ends)

    def _compare(self, whole: Whole, prompts: Sequence[Prompt], groups: Sequence[tuple[Completion, ...]]) -> None:
        """Raise CheckpointError when vLLM's log-probabilities are not those of the training pass.  All processes call
        it."""
        with whole() as model, torch.no_grad():
            tokens = [[one.token_ids for one in group] for group in groups]
            found = completion_logprobs(model, prompts, tokens, self._temperature)
        drawn = [torch.tensor(one.logprobs) for group in groups for one in group]
        gaps = [(own[: len(row)].cpu().float() - row).abs() for own, row in zip(found.logprobs_BL, drawn, strict=True)]
        mean, largest = float(torch.cat(gaps).mean()), float(torch.cat(gaps).max())
        _log.info("vLLM against the training pass: log-probabilities differ by %.1e, at most %.1e", mean, largest)
        allowed = LARGEST_GAP[self._recipe.model.dtype] / min(1.0, self._temperature)
        if not mean <= allowed:
            worst = max(range(len(gaps)), key=lambda row: float(gaps[row].max()))
            at = int(gaps[worst].argmax())
            raise CheckpointError(
                f"vLLM's log-probabilities differ from those of the training pass by {mean:.2g} a token, and "
                f"{allowed:g} is allowed in {self._recipe.model.dtype}; most at token {at} of completion {worst}: "
                f"{float(drawn[worst][at]):.4f} against {float(found.logprobs_BL[worst, at]):.4f}.  This version of "
                'vLLM computes this family differently: set rollout.sampler to "native"'
            )

    def _each(self, path: str, **parameters: Any) -> None:
        for server in self._servers:
            server.post(path, **parameters)


def open_vllm(model: VisionLanguageModel, processor: Any, recipe: GrpoRecipe) -> VllmSampler:
    """Raises ConfigError for a model that vLLM cannot start from, else as `VllmSampler`."""
    if not recipe.rollout.vllm.urls and is_adapter(resolve_model_path(recipe.model.path)):
        raise ConfigError(
            f"model.path {recipe.model.path} holds an adapter, and vLLM starts from whole models: write adapter and "
            "base as one with `sbr merge`"
        )
    return VllmSampler(model, processor, recipe)


def _write(model: VisionLanguageModel, folder: Path) -> None:
    """One safetensors file; the weights may lie on a GPU."""
    tensors = {name: weight.detach().to("cpu").contiguous() for name, weight in model.named_parameters()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"weights cannot be handed over in {folder}: {error}; rollout.vllm.weights_folder has to hold the model"
        ) from error

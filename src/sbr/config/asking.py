"""Sections of runs that ask questions: evaluation, the engine that answers, distillation."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from sbr.config.section import Control, Level, Rule, Section


class EvalConfig(Section):
    levels: tuple[Level, ...] = ()
    """Which levels, in which order (none named: all of data.source)."""
    protocol: Literal["greedy", "paper"] = "greedy"
    """greedy: one answer by argmax.  paper: sampled at temperature 1 (official infer.py), `samples` times."""
    samples: int = Field(default=1, ge=1)
    max_new_tokens: int = Field(default=256, ge=1)
    rule: Rule = "official"
    batch_size: int = Field(default=8, ge=1)
    """Questions answered at once."""
    compile: bool = False
    """Run the decoding steps through torch.compile with static shapes: for GPUs; the start takes a minute more."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many questions a level."""
    control: Control = "none"
    """blind: ask without video and image.  no_video: with the image only.  The words of the question stay."""
    shuffle_options: bool = False
    """Ask every question once for each rotation of its options."""
    seed: int = 0


class EngineConfig(Section):
    """Where answers come from; `model.path` is then the model's name at the server."""

    kind: str = "native"
    """native: the model in this process.  vllm: vLLM in this process.  endpoint: an OpenAI-compatible server.  The
    table: sbr.rollout.open."""
    url: str | None = None
    """Of the endpoint, such as http://localhost:8000/v1, without a password: it is saved with the answers."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the endpoint's key; unset means none."""
    concurrency: int = Field(default=16, ge=1)
    """Requests under way at the same time."""
    retries: int = Field(default=5, ge=0)
    """How often a request is repeated: after timeouts, lost connections and the statuses 408, 409, 429 and 5xx."""
    timeout: float = Field(default=600.0, gt=0)
    """Seconds without an answer after which a request has failed."""
    media: Literal["frames", "video_jpeg"] = "frames"
    """frames: every frame is a picture (PNG, lossless).  video_jpeg: frames as one video of JPEGs, as vLLM reads it."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request to the endpoint, such as top_k or chat_template_kwargs; in a recipe file only."""
    tensor_parallel: int = Field(default=1, ge=1)
    """Of vllm: GPUs that share the weights."""
    gpu_memory: float = Field(default=0.9, gt=0, le=1)
    """Of vllm: share of a GPU's memory it may use."""
    eager: bool = False
    """Of vllm: no compilation and no CUDA graphs; starts faster, answers slower."""

    @model_validator(mode="after")
    def _url_of_endpoint(self) -> EngineConfig:
        if self.kind == "endpoint" and self.url is None:
            raise ValueError("kind endpoint needs url, the address of the server, such as http://localhost:8000/v1")
        if self.kind != "endpoint" and self.url is not None:
            raise ValueError(f"url is for kind endpoint, and kind is {self.kind}")
        # It is saved beside the answers and shown in messages; this one does not show it either.
        if self.url is not None and "@" in self.url.partition("//")[2].partition("/")[0]:
            raise ValueError("url holds a user or password; leave out what stands before the @ and use api_key_env")
        return self


class DistillConfig(Section):
    """Which answers are asked for, and which are kept.  What only filters may be changed for a finished folder: nothing
    is asked again."""

    samples: int = Field(default=8, ge=1)
    """Answers asked for, a question."""
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    """0 keeps the whole vocabulary."""
    max_new_tokens: int = Field(default=256, ge=1)
    batch_size: int = Field(default=8, ge=1)
    """Questions asked at once, by the engines native and vllm."""
    seed: int = 0
    rule: Rule = "official"
    """How answers are read (filter)."""
    consistent: bool = False
    """Keep an answer only when its reasoning ends at the option it chooses (filter; sbr.reward.consistency is 1)."""
    min_words: int = Field(default=0, ge=0)
    """Fewest words of a reasoning (filter)."""
    max_words: int | None = Field(default=None, ge=1)
    """Most words of a reasoning (filter)."""
    distinct: bool = True
    """Keep one of several answers to a question that read the same (filter)."""
    keep: int | None = Field(default=None, ge=1)
    """Keep at most so many answers to a question, those asked for first (filter; None: all)."""

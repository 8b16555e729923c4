"""Sections of runs that ask questions: evaluation, the engine that answers, distillation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sbr.config.addresses import check_addresses, holds_password
from sbr.config.section import (
    Answers,
    BatchSize,
    Control,
    Count,
    Level,
    NewTokens,
    Plain,
    Rate,
    Rule,
    Section,
    Seed,
    Text,
    TopK,
    printable,
)


class EvalConfig(Section):
    levels: tuple[Level, ...] = ()
    """Which levels, in which order (none named: all of data.source)."""
    protocol: Literal["greedy", "paper"] = "greedy"
    """greedy: one answer by argmax.  paper: sampled at temperature 1 (official infer.py), `samples` times."""
    samples: Answers = 1
    """Answers to every question, in protocol paper."""
    max_new_tokens: NewTokens = 256
    """Longest answer."""
    rule: Rule = "official"
    """How answers are read (sbr.reward.answer)."""
    batch_size: BatchSize = 8
    """Questions answered at once."""
    compile: bool = False
    """Run the decoding steps through torch.compile with static shapes: for GPUs; the start takes a minute more."""
    limit: Count | None = None
    """At most so many questions a level."""
    control: Control = "none"
    """blind: ask without video and image.  no_video: with the image only.  The words of the question stay."""
    shuffle_options: bool = False
    """Ask every question once for each rotation of its options."""
    seed: Seed = 0
    """Of sampled answers."""


class EngineConfig(Section):
    """Where answers come from; `model.path` is then the model's name at the server."""

    kind: Text = "native"
    """native: the model in this process.  vllm: vLLM in this process.  endpoint: an OpenAI-compatible server.  Or a
    function of your own as "module:function" (sbr.rollout.open)."""
    url: str | tuple[str, ...] | None = None
    """Of the endpoint, such as http://localhost:8000/v1, or of several servers of the same model, which share the
    requests; without a password: it is saved with the answers."""
    api_key_env: Text = "OPENAI_API_KEY"
    """Environment variable that holds the endpoint's key; unset means none."""
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 16
    """Requests under way at the same time, at each server."""
    retries: Annotated[int, Field(ge=0, le=100)] = 5
    """How often a request is repeated: after timeouts, lost connections and the statuses 408, 409, 429 and 5xx."""
    timeout: Annotated[float, Field(gt=0, le=86400)] = 600.0
    """Seconds without an answer after which a request has failed."""
    media: Literal["frames", "video_jpeg", "video_png"] = "frames"
    """frames: every frame is a picture (PNG, lossless).  video_jpeg: frames as one video of JPEGs, as vLLM reads it.
    video_png: the same of PNGs, lossless."""
    extra: Plain = Field(default_factory=dict)
    """Further fields of every request to the endpoint, such as top_k; new ones in a recipe file only."""
    prefill: Text | None = None
    """Of native: words that every answer begins with, as if the model had written them, such as "<think> i see"; the
    model goes on from there, and the saved answer has them.  They end with a whole token of the model's vocabulary."""
    tensor_parallel: Annotated[int, Field(ge=1, le=1024)] = 1
    """Of vllm: GPUs that share the weights."""
    gpu_memory: Rate = 0.9
    """Of vllm: share of a GPU's memory it may use."""
    eager: bool = False
    """Of vllm: no compilation and no CUDA graphs; starts faster, answers slower."""

    @property
    def urls(self) -> tuple[str, ...]:
        """`url`, be it one, several or none."""
        return () if self.url is None else (self.url,) if isinstance(self.url, str) else self.url

    @model_validator(mode="before")
    @classmethod
    def _one_or_several(cls, values: Any) -> Any:
        """A list of one address is that address, so that saved recipes compare; a wrong list is told of in one line."""
        url = values.get("url") if isinstance(values, dict) else None
        if url is None or isinstance(url, str):
            return values
        if not isinstance(url, (list, tuple)):
            raise ValueError(f"url is a {type(url).__name__}, expected an address or a list of addresses")
        if strange := [type(one).__name__ for one in url if not isinstance(one, str)]:
            raise ValueError(f"url holds a {strange[0]}, expected addresses such as http://localhost:8000/v1")
        return {**values, "url": url[0] if len(url) == 1 else tuple(url)}

    @field_validator("url")
    @classmethod
    def _printable(cls, url: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for one in (url,) if isinstance(url, str) else url or ():
            printable(one)
        return url

    @model_validator(mode="after")
    def _url_of_endpoint(self) -> EngineConfig:
        if self.prefill is not None and self.kind != "native":
            raise ValueError(f"prefill is for kind native, and kind is {self.kind}")
        if self.kind == "endpoint" and self.url is None:
            raise ValueError("kind endpoint needs url, the address of the server, such as http://localhost:8000/v1")
        if self.kind != "endpoint" and self.url is not None:
            raise ValueError(f"url is for kind endpoint, and kind is {self.kind}")
        # It is saved beside the answers and shown in messages; this one does not show it either.
        if any(holds_password(url) for url in self.urls):
            raise ValueError("url holds a user or password; leave out what stands before the @ and use api_key_env")
        if self.url is not None and not isinstance(self.url, str):
            check_addresses("url", self.url)
        return self


class DistillConfig(Section):
    """Which answers are asked for, and which are kept.  What only filters may be changed for a finished folder: nothing
    is asked again."""

    samples: Answers = 8
    """Answers asked for, a question."""
    temperature: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Logits are divided by it; 0 takes the likeliest token."""
    top_p: Rate = 1.0
    """Draw from the smallest set of likeliest tokens that holds this probability."""
    top_k: TopK = 0
    """Draw from so many of the likeliest tokens; 0 keeps the whole vocabulary."""
    max_new_tokens: NewTokens = 256
    """Longest answer."""
    batch_size: BatchSize = 8
    """Questions asked at once, by the engines native and vllm."""
    seed: Seed = 0
    """Of the answers."""
    rule: Rule = "official"
    """How answers are read (filter)."""
    consistent: bool = False
    """Keep an answer only when its reasoning ends at the option it chooses (filter; sbr.reward.consistency is 1)."""
    min_words: Annotated[int, Field(ge=0, le=10**6)] = 0
    """Fewest words of a reasoning (filter)."""
    max_words: Annotated[int, Field(ge=1, le=10**6)] | None = None
    """Most words of a reasoning (filter)."""
    distinct: bool = True
    """Keep one of several answers to a question that read the same (filter)."""
    keep: Count | None = None
    """Keep at most so many answers to a question, those asked for first (filter; None: all)."""
    reasoning: Literal["own", "another"] = "own"
    """another: a control; every kept answer is written down with the reasoning of another question's (filter)."""

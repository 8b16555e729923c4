"""Which engine answers: `engine.kind` names one of the table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sbr.config.asking import EngineConfig
from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.errors import ConfigError
from sbr.rollout.engine import Engine

OpenEngine = Callable[[ModelConfig, PromptConfig, EngineConfig, bool], Engine]
"""(model, prompt, engine, compiled) -> an engine that is ready to answer; `compiled` is `eval.compile`."""


@dataclass(frozen=True, slots=True)
class EngineKind:
    """How one kind of engine is opened.  Example: EngineKind("sbr.rollout.native_engine:open_native")."""

    opens: str
    """module:function, an `OpenEngine`; imported only when it is asked for."""
    local: bool = True
    """`model.path` is a checkpoint, whose files are fingerprinted; otherwise it is the name of a model elsewhere."""


ENGINES: Mapping[str, EngineKind] = MappingProxyType(
    {
        "native": EngineKind("sbr.rollout.native_engine:open_native"),
        "vllm": EngineKind("sbr.rollout.vllm_engine:open_vllm"),
        "endpoint": EngineKind("sbr.rollout.endpoint_engine:open_endpoint", local=False),
    }
)


def engine_kind(config: EngineConfig) -> EngineKind:
    """Raises ConfigError for a kind that is not in the table."""
    if config.kind not in ENGINES:
        raise ConfigError(f"engine.kind is {config.kind!r}; there is {', '.join(ENGINES)}")
    return ENGINES[config.kind]


def open_engine(model: ModelConfig, prompt: PromptConfig, config: EngineConfig, compiled: bool = False) -> Engine:
    """The engine that `config.kind` names.

    Raises CheckpointError when a model cannot be loaded, EndpointError when a server cannot be asked.
    """
    module, _, name = engine_kind(config).opens.partition(":")
    opens: OpenEngine = getattr(importlib.import_module(module), name)
    return opens(model, prompt, config, compiled)

"""Which engine answers: `engine.kind` names one of the table, or a function of the user's own as "module:function"."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sbr.config.asking import EngineConfig
from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.config.named import call_named
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
    """Raises ConfigError for a kind that is neither in the table nor "module:function"."""
    if config.kind in ENGINES:
        return ENGINES[config.kind]
    if ":" in config.kind:
        return EngineKind(config.kind)
    raise ConfigError(
        f'engine.kind is {config.kind!r}; there is {", ".join(ENGINES)}, or "module:function" of your own'
    )


def open_engine(model: ModelConfig, prompt: PromptConfig, config: EngineConfig, compiled: bool = False) -> Engine:
    """The engine that `config.kind` names.

    Raises CheckpointError when a model cannot be loaded, EndpointError when a server cannot be asked, ConfigError when
    the user's own function cannot be loaded, fails, or makes something else.
    """
    opens = engine_kind(config).opens
    if config.kind not in ENGINES:
        engine = call_named(opens, "engine.kind", model, prompt, config, compiled)
        if not isinstance(engine, Engine):
            made = type(engine).__name__
            raise ConfigError(f"engine.kind is {opens!r}: it returned a {made}, which is no sbr.rollout.engine.Engine")
        return engine
    module, _, name = opens.partition(":")
    ours: OpenEngine = getattr(importlib.import_module(module), name)
    return ours(model, prompt, config, compiled)

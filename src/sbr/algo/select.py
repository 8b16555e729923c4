"""Where the section `algo` becomes functions; the training loop only sees an `Algorithm`."""

from __future__ import annotations

from sbr.algo.algorithm import Algorithm
from sbr.config.algo import AlgoConfig, OwnAlgo
from sbr.config.named import call_named, load_named
from sbr.errors import ConfigError


def select(config: AlgoConfig, max_new_tokens: int) -> Algorithm:
    """Return the functions of `config.name`; `max_new_tokens` is that of the rollouts.

    Raises ConfigError when the user's own algorithm cannot be loaded, fails, or makes something else.
    """
    if not isinstance(config, OwnAlgo):
        return load_named(config.made_by, "algo.name")(config, max_new_tokens)
    made = call_named(config.name, "algo.name", config.options, max_new_tokens)
    if not isinstance(made, Algorithm):
        raise ConfigError(
            f"algo.name is {config.name!r}: it returned a {type(made).__name__}, and an Algorithm is needed "
            '(CONTRIBUTING.md, "Add your own")'
        )
    return made

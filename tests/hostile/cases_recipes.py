"""Recipes that are none, and numbers in them that no run could bear."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cases import Case
from house import Place

VERBS = ("grpo", "sft", "distill", "eval", "plan")


def broken(name: str, make: Callable[[Place], object], *expected: str) -> list[Case]:
    """The same file r.toml for every verb that takes a recipe."""

    def prepare(verb: str) -> Callable[[Place], list[str]]:
        def case(place: Place) -> list[str]:
            make(place)
            return [verb, "r.toml"]

        return case

    return [Case(f"{verb}: recipe {name}", prepare(verb), ("r.toml", *expected)) for verb in VERBS]


def written(content: str | bytes) -> Callable[[Place], object]:
    return lambda place: place.write("r.toml", content)


def number(kind: str, key: str, value: Any, *expected: str) -> Case:
    """A recipe that would run but for one value."""

    def make(place: Place) -> list[str]:
        return [kind, str(place.recipe(kind, **{key: value}))]

    return Case(f"{kind}: {key} = {value}"[:60], make, expected or (key,))


CASES: tuple[Case, ...] = (
    *broken("absent", lambda _: None, "does not exist"),
    *broken("a folder", lambda place: (place.path / "r.toml").mkdir(), "folder"),
    *broken("a loop", lambda place: place.link("r.toml", "r.toml")),
    *broken("a pipe", lambda place: place.pipe("r.toml")),
    *broken("without end", lambda place: place.link("r.toml", "/dev/zero")),
    *broken("not UTF-8", written(b"\xff\xfe\x00"), "not valid TOML"),
    *broken("not TOML", written("[model\n"), "not valid TOML"),
    *broken("with an escape", written("model = '\x1b[31m'\n"), "not valid TOML"),
    *broken("nested without end", written("a = " + "[" * 100_000), "not valid TOML"),
    *broken("of half a GB", lambda place: place.write("r.toml", b"").open("wb").truncate(1 << 29)),
    *broken("empty", written(""), "model is missing"),
    *broken("with unknown keys", written("[modell]\npath = 'a\\u001b[31mb'\n"), "unknown key 'modell'"),
    *broken("that is no table", written("model = 3\ndata = 4\noutput_dir = 5\n"), "model is 3"),
    number("grpo", "train.learning_rate", math.inf),
    number("grpo", "train.learning_rate", math.nan),
    number("grpo", "train.learning_rate", 1e300),
    number("grpo", "train.learning_rate", 0),
    number("grpo", "train.learning_rate", "fast", "train.learning_rate is 'fast'"),
    number("grpo", "train.seed", 10**23),
    number("grpo", "train.seed", -1),
    number("grpo", "train.weight_decay", math.inf),
    number("grpo", "train.weight_decay", -1),
    number("grpo", "train.warmup_ratio", 1.5),
    number("grpo", "train.adam_beta1", 1),
    number("grpo", "train.max_grad_norm", 0),
    number("grpo", "train.max_grad_norm", math.nan),
    number("grpo", "train.prompts_per_step", 10**9),
    number("grpo", "train.prompts_per_step", 0),
    number("grpo", "train.max_steps", 0),
    number("grpo", "train.max_steps", 10**18),
    number("grpo", "train.epochs", 10**18),
    number("grpo", "train.save_every", 0),
    number("grpo", "rollout.group_size", 10**8),
    number("grpo", "rollout.group_size", 0),
    number("grpo", "rollout.max_new_tokens", 10**11),
    number("grpo", "rollout.max_new_tokens", 0),
    number("grpo", "rollout.temperature", math.inf),
    number("grpo", "rollout.temperature", -1),
    number("grpo", "rollout.temperature", math.nan),
    number("grpo", "rollout.top_p", 0),
    number("grpo", "algo.name", "grpoo", "algo.name", "grpoo"),
    number("grpo", "algo.beta", math.inf),
    number("grpo", "algo.clip_low", -1),
    number("grpo", "lora.rank", 0),
    number("grpo", "lora.rank", 10**9),
    number("grpo", "frames.height", 10**6),
    number("grpo", "frames.height", 0),
    number("grpo", "frames.max_frames", 10**7),
    number("grpo", "frames.max_frames", 1),
    number("grpo", "frames.fps", math.inf),
    number("grpo", "frames.fps", 0),
    number("grpo", "data.limit", 0),
    number("grpo", "data.seed", 10**30),
    number("grpo", "data.cache", "maybe", "data.cache is 'maybe'"),
    number("grpo", "model.dtype", "int4", "model.dtype is 'int4'"),
    number("grpo", "reward.noise", 2),
    number("grpo", "reward.rule", "kind", "reward.rule is 'kind'"),
    number("sft", "train.learning_rate", math.inf),
    number("sft", "train.prompts_per_step", 10**9),
    number("sft", "validation.share", 1),
    number("sft", "train.seed", 10**23),
    number("eval", "eval.max_new_tokens", 10**11),
    number("eval", "eval.batch_size", 10**9),
    number("eval", "eval.samples", 10**9),
    number("eval", "eval.seed", 10**23),
    number("eval", "eval.temperature", math.inf),
    number("eval", "eval.levels", ["L9"], "L9"),
    number("eval", "engine.kind", "endpoint", "needs url"),
    number("eval", "engine.kind", "cloud", "engine.kind"),
    number("eval", "engine.url", "http://me:secret@host/v1", "url"),
    number("eval", "engine.url", 3, "engine.url is a int", "an address or a list"),
    number("eval", "engine.url", ["http://host/v1", 3], "engine.url holds a int"),
    number("distill", "distill.samples", 10**9),
    number("distill", "distill.max_new_tokens", 10**11),
    number("distill", "distill.temperature", math.inf),
    number("distill", "distill.seed", 10**23),
    number("distill", "distill.min_words", -1),
)

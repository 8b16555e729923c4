"""What a card says of a training run: everything but the results."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any

from sbr import __version__
from sbr.card.blocks import plain
from sbr.config.recipes import GrpoRecipe, TrainRecipe
from sbr.config.section import Section

END = 10
"""Steps over which the last figures are averaged."""
FIGURES = {
    "reward_mean": "reward",
    "accuracy": "share of right answers in training",
    "format_rate": "share in the asked format",
    "consistency_rate": "share whose reasoning ends at the answer",
    "echo_rate": "share whose reasoning says nothing",
    "tokens_mean": "tokens of a completion",
    "kl": "KL to the reference, nats a token",
    "entropy": "entropy, nats a token",
    "loss": "loss",
    "grad_norm": "gradient norm before clipping",
}
"""Field of metrics.jsonl -> its words, those that a run has."""
UNSAID = re.compile(r"output_dir|model\.path|data\.(root|cache.*)|log\..*|rollout\.vllm\..*|cold_start\.log\..*")
"""Keys that say where things lay on a machine."""
LIBRARIES = ("torch", "transformers", "accelerate", "peft", "torchao", "vllm")
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True, slots=True)
class Trained:
    """What is known of a checkpoint when it is written.

    `metrics` are the lines of metrics.jsonl up to `step`, `inputs` those of inputs.json.
    """

    recipe: TrainRecipe
    step: int
    metrics: Sequence[Mapping[str, Any]]
    inputs: Mapping[str, str]

    @property
    def method(self) -> str:
        return "GRPO" if isinstance(self.recipe, GrpoRecipe) else "SFT"

    @property
    def adapter(self) -> bool:
        return self.recipe.lora is not None

    @property
    def answer_tokens(self) -> int:
        recipe = self.recipe
        return recipe.rollout.max_new_tokens if isinstance(recipe, GrpoRecipe) else recipe.validation.max_new_tokens

    @property
    def questions(self) -> int | None:
        """How many questions the run learns from: its steps have shown `epoch` times as many."""
        last = self.metrics[-1] if self.metrics else {}
        epoch, step = last.get("epoch"), last.get("step")
        if not isinstance(epoch, float) or not isinstance(step, int) or epoch <= 0:
            return None
        return round(step * self.recipe.train.prompts_per_step / epoch)


def base_name(path: str) -> str:
    """How a card names a model: as the recipe does, of a folder its last name."""
    return path if hub_name(path) or path.startswith("sbr:") else Path(path).name or path


def hub_name(path: str) -> str | None:
    """`path` if it is the name of a model on the hub and no folder here."""
    return path if _HUB_NAME.fullmatch(path) and not Path(path).exists() else None


def training_text(trained: Trained) -> str:
    """The block "training" of a card."""
    recipe = trained.recipe
    parts = [
        f"Trained with `sbr {trained.method.lower()}` of seed-bench-r1 {__version__}, "
        "reinforcement-learning post-training of video models and its measurement.",
        "## Training",
        _table(("what", "value"), [(name, plain(value)) for name, value in _facts(trained)]),
        "### Recipe",
        "What differs from the defaults; places of files are left out.",
        "```text\n" + "\n".join(f"{key} = {_value(value)}" for key, value in changed(recipe)) + "\n```",
        "### Data",
        *(
            [f"{trained.questions:,} questions" + (", each with its responses." if trained.method == "SFT" else ".")]
            if trained.questions
            else []
        ),
        _table(
            ("file", "fingerprint (SHA-256 over size and content)"),
            [(plain(_short_name(name)), f"`{plain(digest)}`") for name, digest in trained.inputs.items()],
        ),
    ]
    if trained.metrics:
        ends = list(_ends(trained.metrics[-END:]))
        parts += [
            "### End of the curves",
            _table(("figure", f"mean of the last {min(END, len(trained.metrics))} steps"), ends),
        ]
        if looks := list(_looks(trained.metrics)):
            parts += ["Last look at validation questions:", _table(("what", "value", "after step"), looks)]
    parts += ["### Versions", ", ".join(f"{name} {found}" for name, found in versions()) + "."]
    return "\n\n".join(parts)


def versions() -> Iterator[tuple[str, str]]:
    """Of Python, this package and the libraries that compute, as far as they are installed."""
    yield "seed-bench-r1", __version__
    yield "Python", platform.python_version()
    for name in LIBRARIES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def changed(section: Section, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of a recipe whose values are not the defaults of their section, without `UNSAID`."""
    for name, info in type(section).model_fields.items():
        key, value = prefix + name, getattr(section, name)
        if isinstance(value, Section):
            yield from changed(value, f"{key}.")
        elif not UNSAID.fullmatch(key) and value != info.get_default(call_default_factory=True):
            yield key, value


def _facts(trained: Trained) -> Iterator[tuple[str, str]]:
    recipe, method = trained.recipe, trained.method
    yield "base model", base_name(recipe.model.path)
    if isinstance(recipe, GrpoRecipe):
        method = f"GRPO ({recipe.algo.name})" if recipe.algo.name != "grpo" else method
        method = f"SFT, then {method} from it" if recipe.cold_start else method
    yield "method", method
    lora = recipe.lora
    yield "trained", "all weights" if lora is None else f"adapters (LoRA), rank {lora.rank}, alpha {lora.alpha}"
    yield "steps", f"{trained.step:,}, each of {recipe.train.prompts_per_step} questions"
    if trained.metrics and isinstance(epoch := trained.metrics[-1].get("epoch"), float):
        yield "epochs", f"{epoch:.2f}"
    if isinstance(recipe, GrpoRecipe):
        yield "completions of a question", str(recipe.rollout.group_size)
        yield "rule that reads answers", recipe.reward.rule
    frames = recipe.frames
    shown = f"{frames.fps:g} a second, {frames.min_frames} to {frames.max_frames}, {frames.height} x {frames.width}"
    yield "frames", f"{shown} pixels rounded to visual tokens"
    yield "seeds", f"train.seed {recipe.train.seed}, data.seed {recipe.data.seed}"


def _ends(lines: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for field, words in FIGURES.items():
        values = [line[field] for line in lines if isinstance(line.get(field), (int, float))]
        if values:
            yield words, f"{sum(values) / len(values):.4g}"


def _looks(lines: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for line in reversed(lines):
        if isinstance(loss := line.get("held_out_loss"), float):
            yield "held-out loss, nats a token", f"{loss:.4f}", str(line["step"])
            break
    for line in reversed(lines):
        if found := line.get("validation_accuracy"):
            yield from (
                (f"{level}, % right", f"{100 * share:.1f}", str(line["step"])) for level, share in found.items()
            )
            break


def _value(value: Any) -> str:
    shown = json.dumps(value, default=str, ensure_ascii=False)
    if isinstance(value, PurePath) or (isinstance(value, str) and PurePath(value).is_absolute()):
        shown = json.dumps(PurePath(value).name)
    return shown.replace("```", "'''").replace("<!--", "<! --").replace("-->", "-- >")


def _short_name(name: str) -> str:
    return PurePath(name).name if PurePath(name).is_absolute() else name


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

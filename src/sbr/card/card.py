"""The card of a checkpoint, of the results of its evaluations, and of a merged adapter: text in, text out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sbr.card.blocks import CARD, MOST_BYTES, block, body_of, names_of, plain, put, read_card
from sbr.card.loading import code_in, loading_text, transformers_code
from sbr.card.training import Trained, base_name, hub_name, training_text
from sbr.config.inputs import FramesConfig

TRAINING, RESULTS, LOADING = "training", "results", "loading"
NO_RESULTS = "None yet: `sbr eval` measures this checkpoint, `sbr card` writes the result here."
LIMITS = """\
## Limits

The model answers multiple-choice questions about the next action in egocentric videos, in the words of the benchmark.
Its reasoning need not be what its answer comes from. Nothing else was measured: no safety, no other languages or tasks.

## License

`license: other` stands for what you decide: the weights come from the base model, whose license applies, and the data
have licenses of their own."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of results.  Example: Result("L1", 300, 0.83, 0.783, 0.868)."""

    name: str
    questions: int
    accuracy: float
    low: float
    high: float
    """95 % interval."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation of the checkpoint."""

    setting: str
    """What was asked and how, in words."""
    results: tuple[Result, ...]


def card_of_training(trained: Trained, old: str | None = None) -> str:
    """The card of a checkpoint.  Of an `old` card in its place everything outside of our blocks stays.

    Raises DataError when the marks of `old` do not pair up.
    """
    recipe = trained.recipe
    blocks = {
        TRAINING: training_text(trained),
        RESULTS: NO_RESULTS,
        LOADING: loading_text(transformers_code(recipe.frames, trained.answer_tokens), trained.adapter),
    }
    if old is not None and names_of(old, "the card"):
        for name, body in blocks.items():
            old = put(old, name, body, "the card")
        return old
    title = f"{trained.method} of {plain(base_name(recipe.model.path))}"
    tags = [trained.method.lower(), *(["lora"] if trained.adapter else [])]
    return _page(front(recipe.model.path, tags, trained.adapter), title, blocks)


def card_of_merged(adapter: Path, base: str, dtype: str) -> str:
    """The card of an adapter and its base as one folder: that of the adapter with another front and other loading.

    An adapter whose card is not ours gives a short one, with the official frames.  Results of the adapter are not
    carried over: in 16 bits the sum is not quite the adapter.  Raises DataError when the marks do not pair up.
    """
    old = read_card(adapter)
    names = [] if old is None else names_of(old, str(adapter / CARD))
    code = code_in(body_of(old, LOADING)) if old is not None and LOADING in names else None
    merged = f"This folder holds the adapter `{plain(adapter.name)}` added to its base in float32, as {dtype}."
    heading, mark, rest = loading_text(code or transformers_code(FramesConfig(), 256), adapter=False).partition("\n\n")
    loading = f"{heading}{mark}{merged}{mark}{rest}"
    if old is None or TRAINING not in names:
        title = f"{plain(adapter.name)} merged into {plain(base_name(base))}"
        return _page(front(base, ["lora"], adapter=False), title, {RESULTS: NO_RESULTS, LOADING: loading})
    text = put(put(old, LOADING, loading, str(adapter)), RESULTS, NO_RESULTS, str(adapter))
    head, ends, rest = text.partition("\n---\n")
    head = head.replace("library_name: peft", "library_name: transformers")
    return head.replace("base_model_relation: adapter", "base_model_relation: finetune") + ends + rest


def results_text(evaluations: Sequence[Evaluation]) -> str:
    """The block "results" of a card: share of right answers in %, with 95 % intervals."""
    parts: list[str] = []
    for one in evaluations:
        rows = [
            f"| {plain(result.name)} | {result.questions:,} | {100 * result.accuracy:.1f} "
            f"[{100 * result.low:.1f}, {100 * result.high:.1f}] |"
            for result in one.results
        ]
        parts += [
            plain(one.setting) + ":",
            "\n".join(["| level | questions | % right [95 %] |", "| --- | --- | --- |", *rows]),
        ]
    return "\n\n".join(parts)


def holds_card(folder: Path) -> bool:
    """Whether `folder` has a card with a place for results."""
    return f"<!-- sbr:{RESULTS} -->" in _beginning(folder / CARD)


def front(base: str, tags: Sequence[str], adapter: bool) -> str:
    """The YAML in front, as the hub reads it.  Only names on the hub may stand under base_model: that of a folder's own
    card if it has one."""
    named = hub_name(base) or _base_of_folder(Path(base))
    relation = "adapter" if adapter else "finetune"
    return "\n".join(
        [
            "---",
            f"library_name: {'peft' if adapter else 'transformers'}",
            "pipeline_tag: video-text-to-text",
            "license: other",
            *([f"base_model: {json.dumps(named)}", f"base_model_relation: {relation}"] if named else []),
            "tags:",
            *(f"- {tag}" for tag in ("seed-bench-r1", "video", "reasoning", *tags)),
            "---",
        ]
    )


def _base_of_folder(folder: Path) -> str | None:
    head = _beginning(folder / CARD).partition("\n---\n")[0]
    found = re.search(r"^base_model: *\"?([\w./-]+)\"? *$", head, re.MULTILINE)
    return found[1] if found else None


def _beginning(file: Path) -> str:
    """Of somebody's file, whatever it holds; empty when there is none."""
    if not file.is_file():
        return ""
    with file.open("rb") as stream:
        return stream.read(MOST_BYTES).decode(errors="replace")


def _page(head: str, title: str, blocks: dict[str, str]) -> str:
    shown = {name: block(name, body) for name, body in blocks.items()}
    shown[RESULTS] = f"## Results\n\n{shown[RESULTS]}"
    return "\n\n".join([head, f"# {title}", *shown.values(), LIMITS]) + "\n"

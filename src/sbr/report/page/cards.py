"""What was run: a card for each evaluation, and with what the page was made."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import sbr
from sbr.analysis.arms import WRITING
from sbr.analysis.evaluated import EvaluatedRun
from sbr.analysis.training_metrics import TrainingMetrics
from sbr.report.page.data import RunCard
from sbr.report.page.inputs import PageRuns
from sbr.resume.folder import NO_MATTER, flat
from sbr.train.run_folder import FINAL, step_of

_GIT_SECONDS = 10


def cards_of(runs: PageRuns) -> tuple[RunCard, ...]:
    """One card for each of `runs.asked`, in order.

    Recipes are compared with that of the first evaluation, trainings with the first one of their kind.
    """
    firsts: dict[str, TrainingMetrics] = {}
    cards: list[RunCard] = []
    for run in runs.asked:
        training = runs.trained.get(run.name)
        different = recipe_differences(_values(runs.asked[0]), _values(run), NO_MATTER)
        if training is not None:
            first = firsts.setdefault(training.kind, training)
            changed = recipe_differences(first.recipe, training.recipe, WRITING)
            different += tuple((f"training: {key}", then, now) for key, then, now in changed)
        cards.append(
            RunCard(
                name=run.name,
                folder=str(run.folder),
                model=run.recipe.model.path,
                protocol=run.recipe.eval.protocol,
                rule=", ".join(sorted({record.rule for record in run.records})),
                seed=run.recipe.eval.seed,
                questions=len({(record.level, record.sample_id) for record in run.records}),
                differences=different,
                training=None if training is None else training_words(run, runs),
            )
        )
    return tuple(cards)


def recipe_differences(
    first: Mapping[str, Any], other: Mapping[str, Any], left_out: frozenset[str]
) -> tuple[tuple[str, str, str], ...]:
    """(key, value in `first`, value in `other`), in order of the keys; a section that only one has is one line.

    >>> recipe_differences({"a": {"x": 1, "y": 2}, "b": None}, {"a": {"x": 1, "y": 3}, "b": {"z": 4}}, frozenset())
    (('a.y', '2', '3'), ('b', 'none', 'given'))
    """
    one, two = flat(first), flat(other)
    found: dict[str, tuple[str, str]] = {}
    for key in sorted(one.keys() | two.keys()):
        if key in left_out or one.get(key) == two.get(key):
            continue
        section = _only_in_one(key, one, two)
        if section is None:
            found[key] = (_shown(one.get(key)), _shown(two.get(key)))
        elif section not in found:
            found[section] = (_section_words(first, section), _section_words(other, section))
    return tuple((key, *values) for key, values in found.items())


def training_words(run: EvaluatedRun, runs: PageRuns) -> str | None:
    """ "SFT, 150 steps, then GRPO, 150 steps, seed 0, 6.2 minutes"; None for a model that was not trained by us."""
    training = runs.trained.get(run.name)
    if training is None:
        return None
    if runs.study is not None:
        before = list(runs.study.before[run.name])
    else:
        before = [cold for cold in runs.trainings.values() if _is_cold_start(cold, training)]
    last = {part.folder: part.steps[-1] for part in (*before, training)}
    if (model := Path(run.recipe.model.path)).name != FINAL:
        last[training.folder] = step_of(model)
    words = ", then ".join(f"{method_of(part)}, {last[part.folder]} steps" for part in (*before, training))
    seconds = sum(_seconds(part, last[part.folder]) for part in (*before, training))
    lost = sum(part.missing for part in (*before, training))
    unknown = f" without {lost} steps that are not logged" if lost else ""
    return f"{words}, seed {flat(training.recipe).get('train.seed')}, {seconds / 60:.1f} minutes{unknown}"


def _seconds(training: TrainingMetrics, last: int) -> float:
    """Of all steps up to `last`, validation included."""
    return sum(
        seconds
        for key in ("seconds", "seconds_validation")
        for step, seconds in zip(training.steps, training.values.get(key, ()), strict=False)
        if step <= last and seconds is not None
    )


def method_of(training: TrainingMetrics) -> str:
    """ "SFT", "GRPO", "DAPO": the algorithm of its recipe."""
    if training.kind == "SFT":
        return "SFT"
    name = str(flat(training.recipe).get("algo.name", "grpo"))
    return name if ":" in name else name.replace("_", " ").upper()


def lead_of(runs: PageRuns) -> str:
    """What was run, in a sentence or two."""
    first = runs.asked[0]
    questions = {level: set[str]() for level in first.recipe.eval.levels}
    for record in first.records:
        questions.setdefault(record.level, set()).add(record.sample_id)
    counts = ", ".join(f"{len(ids)} of {level}" for level, ids in questions.items() if ids)
    many = len(runs.asked)
    models = "One model was asked" if many == 1 else f"{many} models were asked"
    protocol = {"greedy": "greedily", "paper": f"{first.recipe.eval.samples} times at temperature 1"}
    how = protocol[first.recipe.eval.protocol]
    same = "" if many == 1 else "the same "
    return f"{models} {same}{sum(map(len, questions.values()))} questions ({counts}) of {_data(first)}, {how}."


def made_of() -> str:
    """ "2026-11-30, sbr 0.4.0 (commit 1a2b3c4), torch 2.14.0, transformers 5.1": when and with what it was made."""
    commit = _commit()
    own = f"sbr {sbr.__version__}" + (f" (commit {commit})" if commit else "")
    return ", ".join([datetime.now(UTC).date().isoformat(), own, *_versions("torch", "transformers")])


def _data(run: EvaluatedRun) -> str:
    return f"{run.recipe.data.source} in {run.recipe.data.root}"


def _is_cold_start(cold: TrainingMetrics, training: TrainingMetrics) -> bool:
    return cold.folder.resolve().parent == training.folder.resolve()


def _values(run: EvaluatedRun) -> dict[str, Any]:
    return run.recipe.model_dump(mode="json")


def _only_in_one(key: str, one: Mapping[str, Any], two: Mapping[str, Any]) -> str | None:
    """The outermost section around `key` that one recipe lacks; None when both have it."""
    parts = key.split(".")
    for depth in range(1, len(parts) + 1):
        section = ".".join(parts[:depth])
        there = [any(known.startswith(f"{section}.") for known in recipe) for recipe in (one, two)]
        if there[0] != there[1]:
            return section
    return None


def _section_words(recipe: Mapping[str, Any], section: str) -> str:
    inside: Any = recipe
    for part in section.split("."):
        inside = inside.get(part) if isinstance(inside, Mapping) else None
    return "given" if isinstance(inside, Mapping) else _shown(inside)


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return ", ".join(map(_shown, value)) if isinstance(value, list | tuple) else str(value)


def _versions(*packages: str) -> list[str]:
    found: list[str] = []
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return found


def _commit() -> str | None:
    """The commit of the checkout that the package is run from; None when it is installed, or git is not."""
    folder = Path(sbr.__file__).parent
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:  # not a file of this checkout
        return None
    commit = _git(folder, "rev-parse", "--short=10", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"{commit} and changes" if commit and changed else commit


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None

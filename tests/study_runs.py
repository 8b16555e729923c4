"""Studies written by hand: evaluations whose answers have seeds and questions of known difficulty, and their trainings.

A question is answered rightly when base + arm + seed + video + question + both is above 0, normal draws of known
standard deviations; so the true accuracy of an arm is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from report_runs import answer, evaluation, sample_of, training

from sbr.analysis.study_runs import StudyRun
from sbr.train.run_folder import METRICS
from sbr.types import Sample


@dataclass(frozen=True)
class Spread:
    """Standard deviations, in the units of the normal draws."""

    seed: float = 0.2
    video: float = 0.4
    question: float = 0.8
    both: float = 0.4
    """Of every answer by itself."""

    @property
    def total(self) -> float:
        return float(np.sqrt(self.seed**2 + self.video**2 + self.question**2 + self.both**2))


@dataclass(frozen=True)
class World:
    """Videos and questions that every arm and seed is asked."""

    cluster_Q: np.ndarray
    ease_Q: np.ndarray

    @staticmethod
    def drawn(rng: np.random.Generator, videos: int, most: int, spread: Spread) -> World:
        """1 to `most` questions a video."""
        cluster_Q = np.repeat(np.arange(videos), rng.integers(1, most + 1, videos))
        ease_Q = spread.video * rng.normal(size=videos)[cluster_Q] + spread.question * rng.normal(size=len(cluster_Q))
        return World(cluster_Q, ease_Q)

    def right(self, rng: np.random.Generator, level: float, seeds: int, spread: Spread) -> np.ndarray:
        """Of `seeds` seeds of an arm, as 0 and 1."""
        seed_S1 = spread.seed * rng.normal(size=(seeds, 1))
        noise_SQ = spread.both * rng.normal(size=(seeds, len(self.ease_Q)))
        return (level + seed_S1 + self.ease_Q + noise_SQ > 0).astype(float)


ARMS: Mapping[str, float] = {"base": -0.3, "SFT": 0.8, "GRPO": 1.1, "SFT, then GRPO": 1.5}


def study(
    folder: Path,
    arms: Mapping[str, float] = ARMS,
    bases: Sequence[str] = ("mini", "mini-late"),
    seeds: int = 5,
    questions: Mapping[str, int] | None = None,
    spread: Spread = Spread(),
) -> list[StudyRun]:
    """The finished runs of a study, written below `folder`; `base` has one evaluation a base and no stages."""
    rng = np.random.default_rng(0)
    worlds = {
        level: World.drawn(rng, count // 2, 3, spread)
        for level, count in (questions or {"L1": 100, "L2": 100, "L3": 100}).items()
    }
    harder = {"L1": 0.0, "L2": -0.2, "L3": -0.9}
    samples = {
        level: [_sample(level, number, int(cluster)) for number, cluster in enumerate(world.cluster_Q)]
        for level, world in worlds.items()
    }
    runs: list[StudyRun] = []
    for number, base in enumerate(bases):
        for arm, ease in arms.items():
            count = 1 if arm == "base" else seeds
            own = Spread(0, 0, 0, 0) if arm == "base" else spread
            right = {
                level: world.right(rng, ease + harder[level] - 0.15 * number, count, own)
                for level, world in worlds.items()
            }
            for seed in range(count):
                place = folder / base / arm.replace(", ", "_").replace(" ", "_") / f"seed_{seed}"
                records = [
                    answer(sample, sample.gold if right[level][seed, q] else "B")
                    for level in worlds
                    for q, sample in enumerate(samples[level])
                ]
                stages = _stages(folder / base, place, arm, seed)
                model = stages[-1] / "final" if stages else "sbr:mini"
                runs.append(StudyRun(arm, base, seed, evaluation(place / "eval", records, model=model), stages))
    return runs


def _sample(level: str, number: int, cluster: int) -> Sample:
    """L3 has two domains."""
    domain = "Hobbies" if level == "L3" and cluster % 2 else "Daily life"
    return replace(sample_of(number, level, domain=domain), video_id=f"{level}_{cluster}")


def _stages(shared: Path, place: Path, arm: str, seed: int) -> tuple[Path, ...]:
    """SFT learns from one distillation for all seeds."""
    stages: list[Path] = []
    if "SFT" in arm:
        stages += [distillation(shared / "distill"), logged(training(place / "sft", "sft", 40, train={"seed": seed}))]
    if "GRPO" in arm:
        stages.append(logged(training(place / "grpo", "grpo", 60, train={"seed": seed})))
    return tuple(stages)


def logged(run: Path) -> Path:
    """The run with the figures that costs are made of: 100 tokens and 2 processes a step."""
    lines = [json.loads(line) for line in (run / METRICS).read_text().splitlines()]
    rng = np.random.default_rng(len(lines) + int(run.parent.name.split("_")[1]))
    for line in lines:
        line |= {"processes": 2, "tokens_per_second": 100 / line["seconds"]}
        line |= {"tokens": 100} if "loss" in line else {"tokens_trained": 90, "replaced_groups": 1}
        line |= {key: line[key] + 0.02 * rng.normal() for key in ("reward_mean", "accuracy", "loss") if key in line}
    (run / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def distillation(folder: Path) -> Path:
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "recipe.json").write_text(json.dumps({"distill": {"samples": 4}}))
        report = {
            **{"teacher": "sbr:mini", "engine": "native", "questions": 50, "samples": 4, "answers": 200, "kept": 120},
            **{"questions_kept": 45, "verdicts": {"kept": 120}, "kept_per_question": [5], "right_per_question": [5]},
            **{"seconds": 30.0, "answers_per_second": 6.7, "tokens": 3000, "tokens_per_second": 100.0, "hardest": []},
        }
        (folder / "report.json").write_text(json.dumps(report))
    return folder

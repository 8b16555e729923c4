"""How often intervals over seeds and questions hold the truth: `python tests/interval_coverage.py` prints the table of
docs/statistics.md.

Answers are drawn as in study_runs.py, so the true accuracy is known.  100 videos with 1 to 5 questions each.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).parent))

from study_runs import Spread, World

from sbr.analysis.crossed import Answers, Crossed

LEVEL, GAIN = 0.8, 0.3
SETTINGS = {
    "accuracy, seeds differ much": (Spread(0.5, 0.3, 0.8, 0.3), None),
    "accuracy, seeds differ little": (Spread(0.15, 0.3, 0.8, 0.5), None),
    "accuracy, seeds do not matter": (Spread(0.0, 0.4, 1.0, 0.3), None),
    "difference, seeds differ much": (Spread(0.4, 0.3, 0.8, 0.5), GAIN),
    "difference, seeds differ little": (Spread(0.1, 0.3, 0.8, 0.5), GAIN),
    "difference, seeds do not matter": (Spread(0.0, 0.3, 0.8, 0.5), GAIN),
    "no difference, seeds differ little": (Spread(0.1, 0.3, 0.8, 0.5), 0.0),
}


@dataclass(frozen=True)
class Coverage:
    """Shares of simulated studies."""

    interval: float
    """The interval holds the truth."""
    bootstrap: float
    significant: float
    """p up to 0.05; of differences."""
    width: float
    """Mean width of the interval, as a fraction."""
    bootstrap_width: float


def coverage(
    spread: Spread, gain: float | None, seeds: int, studies: int, videos: int = 100, resamples: int = 1000
) -> Coverage:
    """Of the accuracy of one arm, or with a `gain` of the difference of two on the same questions."""
    rng = np.random.default_rng(7)
    found: list[Crossed] = []
    for number in range(studies):
        world = World.drawn(rng, videos, 5, spread)
        arms = [world.right(rng, LEVEL + more, seeds, spread) for more in ((0.0,) if gain is None else (0.0, gain))]
        answers = Answers(np.concatenate(arms), world.cluster_Q, resamples, seed=number)
        if gain is None:
            found.append(answers.accuracy([range(seeds)]))
        else:
            found.append(answers.difference([[(seed, seeds + seed) for seed in range(seeds)]]))
    true = norm.cdf(LEVEL / spread.total)
    true = true if gain is None else norm.cdf((LEVEL + gain) / spread.total) - true
    intervals, bootstraps = [f.interval for f in found], [f.bootstrap for f in found]
    assert None not in intervals and None not in bootstraps
    return Coverage(
        interval=float(np.mean([i.low <= true <= i.high for i in intervals if i])),
        bootstrap=float(np.mean([i.low <= true <= i.high for i in bootstraps if i])),
        significant=float(np.mean([f.p_value is not None and f.p_value <= 0.05 for f in found])),
        width=float(np.mean([i.high - i.low for i in intervals if i])),
        bootstrap_width=float(np.mean([i.high - i.low for i in bootstraps if i])),
    )


def main(studies: int = 2000) -> None:
    print(f"{studies} studies each; share that holds the truth (mean width in points)")
    for name, (spread, gain) in SETTINGS.items():
        for seeds in (2, 3, 5, 10):
            found = coverage(spread, gain, seeds, studies)
            print(
                f"| {name} | {seeds} | {100 * found.interval:.1f} ({100 * found.width:.1f}) | "
                f"{100 * found.bootstrap:.1f} ({100 * found.bootstrap_width:.1f}) | {100 * found.significant:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

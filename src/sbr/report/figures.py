"""Pictures of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def training_curves(
    panels: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], file: Path, window: int = 9
) -> None:
    """One panel a title; in it one line a name, its points (step, value) averaged over `window` neighbours.

    Example: training_curves({"nats a token": {"caption": [(1, 6.4), (2, 6.1), ...]}}, Path("loss.png"))
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(4.5 * len(panels), 3), squeeze=False)
    for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for name, points in lines.items():
            steps, values = np.array(points, dtype=float).T
            width = min(window, len(values))
            smooth = np.convolve(values, np.ones(width) / width, "valid")
            axis.plot(steps[width // 2 : width // 2 + len(smooth)], smooth, label=name, linewidth=1)
        axis.set_xlabel("step")
        axis.set_ylabel(title)
        axis.spines[["top", "right"]].set_visible(False)
        if len(lines) > 1:
            axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)

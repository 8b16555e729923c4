"""Pictures of training runs."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sbr.analysis.curves import Curve, Line
from sbr.files import replace_output

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, told apart by colour-blind readers too; without yellow, which white swallows."""
_DASHES = ("-", "--", ":", "-.")
_FEW = 30
"""A line of no more points than these shows them."""


def draw_curves(
    curves: Sequence[Curve], file: Path, shared: Sequence[str] = (), note: str = "", columns: int = 4
) -> None:
    """Write a PNG with one panel a curve; `note` stands below.

    Thick: `Line.values`; thin behind: `Line.raw`; a band from low to high.  The `shared` names of lines have one colour
    in all panels and are explained once, at the top; other names are explained in their panel.  Raises ConfigError when
    another kind of file is there, ValueError without curves.
    """
    if not curves:
        raise ValueError("no curves to draw")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context({"text.parse_math": False}):  # names are strangers' text
        data = _picture(curves, shared, note, min(columns, len(curves)))
    replace_output(file, data, b"\x89PNG\r\n\x1a\n")


def _picture(curves: Sequence[Curve], shared: Sequence[str], note: str, columns: int) -> bytes:
    from matplotlib import pyplot as plt

    rows = math.ceil(len(curves) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.6 * columns, 2.5 * rows + 0.6), squeeze=False)
    figure.set_facecolor("white")
    explained: dict[str, Artist] = {}
    for axis, curve in zip(axes.flat, curves, strict=False):
        own = [line.name for line in curve.lines if line.name not in shared]
        here: dict[str, Artist] = {}
        for line in curve.lines:
            known, order = (here, own) if line.name in own else (explained, shared)
            known[line.name] = _draw(axis, line, order.index(line.name), percent=curve.unit == "%")
        if len(here) > 1:
            bottom, top = axis.get_ylim()  # with room for the legend, which would hide lines
            axis.set_ylim(bottom, top + 0.12 * math.ceil(len(here) / 3) * (top - bottom))
            place = {"loc": "upper left", "ncols": 3, "columnspacing": 1, "handlelength": 1.5}
            axis.legend(here.values(), here, frameon=False, fontsize=7, **place)
        axis.set_title(curve.title, loc="left", fontsize=10)
        axis.set_ylabel(curve.unit, fontsize=8)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#e6e6e6", linewidth=0.6)
        axis.set_axisbelow(True)
    for axis in list(axes.flat)[len(curves) :]:
        axis.set_visible(False)
    height = figure.get_figheight()
    if explained:
        figure.legend(explained.values(), explained, loc="upper left", ncols=4, frameon=False, fontsize=9)
    if note:
        figure.text(0.01, 0.01, note, fontsize=7, color="#555555", verticalalignment="bottom")
    top = 1 - 0.25 * math.ceil(len(explained) / 4) / height - (0.1 / height if explained else 0)
    figure.tight_layout(rect=(0, 0.25 / height if note else 0, 1, top))
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    plt.close(figure)
    return picture.getvalue()


def _draw(axis: Axes, line: Line, number: int, percent: bool) -> Artist:
    """Draw one line in the style with this number; returns what a legend shows of it."""
    scale = 100 if percent else 1
    colour, dashes = PALETTE[number % len(PALETTE)], _DASHES[number // len(PALETTE) % len(_DASHES)]

    def shown(values: Sequence[float | None]) -> list[float]:
        return [math.nan if value is None else scale * value for value in values]

    for values in line.raw:
        axis.plot(line.steps, shown(values), color=colour, linewidth=0.5, alpha=0.35)
    if line.low is not None and line.high is not None:
        axis.fill_between(line.steps, shown(line.low), shown(line.high), color=colour, alpha=0.2, linewidth=0)
    marker = "o" if len(line.steps) <= _FEW else ""
    (drawn,) = axis.plot(
        line.steps, shown(line.values), color=colour, linestyle=dashes, linewidth=1.4, marker=marker, markersize=3
    )
    return drawn

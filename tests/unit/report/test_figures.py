"""The picture of curves, looked at by its pixels."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from sbr.analysis.curves import Curve, Line, line_of
from sbr.errors import ConfigError
from sbr.report.figures import PALETTE, draw_curves

STEPS = tuple(range(1, 41))


def flat(name: str, height: float, **values) -> Line:
    return Line(name, STEPS, (height,) * len(STEPS), **values)


def picture(curves, tmp_path, **values) -> np.ndarray:
    draw_curves(curves, tmp_path / "curves.png", **values)
    return np.asarray(Image.open(io.BytesIO((tmp_path / "curves.png").read_bytes())).convert("RGB")).astype(int)


def near(pixels_HWC: np.ndarray, colour: str) -> np.ndarray:
    """(H, W): where the colour is."""
    return np.abs(pixels_HWC - np.round(255 * np.array(to_rgb(colour)))).max(axis=2) <= 2


def test_shared_names_have_one_colour_in_all_panels(tmp_path):
    curves = [
        Curve("Reward", "", "", (flat("a", 0.2), flat("b", 0.8))),
        Curve("KL", "nats", "", (flat("b", 0.5),)),
    ]
    pixels = picture(curves, tmp_path, shared=["a", "b"], note="a note")
    middle = pixels.shape[1] // 2
    first, second = near(pixels, PALETTE[0]), near(pixels, PALETTE[1])
    assert first[:, :middle].sum() > 200
    below_legend = pixels.shape[0] // 5
    assert not first[below_legend:, middle:].any()
    assert second[below_legend:, :middle].any()
    assert second[below_legend:, middle:].any()
    assert (pixels[0, 0] == 255).all()


def test_a_band_is_drawn_between_low_and_high(tmp_path):
    low, high = (0.4,) * len(STEPS), (0.6,) * len(STEPS)
    plain = picture([Curve("Reward", "", "", (flat("a", 0.5), flat("b", 1.0), flat("c", 0.0)))], tmp_path)
    lines = (flat("a", 0.5, low=low, high=high), flat("b", 1.0), flat("c", 0.0))
    banded = picture([Curve("Reward", "", "", lines)], tmp_path)
    changed = (plain != banded).any(axis=2)
    rows = np.flatnonzero(changed.sum(axis=1) > 20)
    axis = np.flatnonzero((plain < 100).all(axis=2).sum(axis=0) > plain.shape[0] // 3)  # the left spine
    assert axis.size
    # 0.4 to 0.6 of an axis from 0 to 1 that fills some 0.6 of the height
    assert 0.08 < (rows[-1] - rows[0]) / plain.shape[0] < 0.2


def test_percent_is_shown_as_percent(tmp_path):
    fraction = picture([Curve("Accuracy", "%", "", (line_of("a", [(1, 0.1), (2, 0.9)], 1),))], tmp_path)
    number = picture([Curve("Accuracy", "%", "", (line_of("a", [(1, 0.001), (2, 0.009)], 1),))], tmp_path)
    scaled = picture([Curve("Accuracy", "", "", (line_of("a", [(1, 10.0), (2, 90.0)], 1),))], tmp_path)
    assert (fraction != number).any()  # the numbers at the axis
    assert fraction.shape == scaled.shape


def test_more_curves_than_columns_and_gaps_and_single_points(tmp_path):
    curves = [Curve(f"C{i}", "s", "", (Line("a", (1, 2, 3), (0.1, None, float(i))),)) for i in range(6)]
    curves.append(Curve("one", "", "", (line_of("a", [(7, 1.0)], 9),)))
    wide = picture(curves, tmp_path, columns=4)
    narrow = picture(curves, tmp_path, columns=2)
    assert wide.shape[1] > narrow.shape[1]
    assert wide.shape[0] < narrow.shape[0]


def test_more_lines_than_colours_differ_in_their_dashes(tmp_path):
    many = tuple(flat(f"run {i}", i) for i in range(len(PALETTE) + 1))
    pixels = picture([Curve("Reward", "", "", many)], tmp_path)
    lengths = [count for count in near(pixels, PALETTE[0]).sum(axis=1) if count > 20]
    assert len(lengths) >= 2
    assert min(lengths) < 0.8 * max(lengths)


def test_only_a_picture_is_replaced(tmp_path):
    file = tmp_path / "curves.png"
    file.write_text("mine")
    with pytest.raises(ConfigError, match="holds something else"):
        draw_curves([Curve("Reward", "", "", (flat("a", 1),))], file)
    assert file.read_text() == "mine"
    with pytest.raises(ValueError, match="no curves"):
        draw_curves([], file)


def test_names_are_text_and_no_formulas(tmp_path):
    curves = [Curve("$x^{$", "%", "", (flat("_hidden $y_{$", 1), flat("b", 2)))]
    named = picture(curves, tmp_path, shared=["_hidden $y_{$"], note="$_{$")
    assert near(named[: named.shape[0] // 12], PALETTE[0]).any()  # the legend at the top

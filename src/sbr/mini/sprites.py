"""A small antialiased drawing pen, and sprites cut from it.

Drawings are made once, large, in units of a 100 x 100 box (x to the right, y down), and then scaled, turned and
recoloured; every result is kept, so that a frame costs a few pastes only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]
Sprite = Image.Image
"""An RGBA picture."""

INK: Colour = (38, 30, 34)
SCALE = 4
"""Pixels a unit while drawing."""


def rgba(colour: Sequence[int]) -> tuple[int, ...]:
    return (*colour, 255) if len(colour) == 3 else tuple(colour)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """
    >>> mix((0, 0, 0), (100, 200, 50), 0.5)
    (50, 100, 25)
    """
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def smooth(points: Sequence[Point], closed: bool = True, steps: int = 8) -> list[Point]:
    """Catmull-Rom curve through the points."""
    count = len(points)
    out: list[Point] = []
    for i in range(count if closed else count - 1):
        around = [points[(i + k) % count] if closed else points[min(max(i + k, 0), count - 1)] for k in (-1, 0, 1, 2)]
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = around
        for step in range(steps):
            u = step / steps
            a, b, c, d = -u + 2 * u**2 - u**3, 2 - 5 * u**2 + 3 * u**3, u + 4 * u**2 - 3 * u**3, u**3 - u**2
            out.append(((a * x0 + b * x1 + c * x2 + d * x3) / 2, (a * y0 + b * y1 + c * y2 + d * y3) / 2))
    if not closed:
        out.append(points[-1])
    return out


class Pen:
    """Draws outlined shapes; `box` is the size in units."""

    def __init__(self, box: Point = (100, 100), scale: int = SCALE) -> None:
        self.scale = scale
        self.image = Image.new("RGBA", (round(box[0] * scale), round(box[1] * scale)), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.image)

    def _px(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self.scale, y * self.scale) for x, y in points]

    def line(self, points: Sequence[Point], width: float, colour: Sequence[int] = INK) -> None:
        """A line with round ends and corners."""
        pixels, fill = self._px(points), rgba(colour)
        self.draw.line(pixels, fill=fill, width=max(1, round(width * self.scale)), joint="curve")
        radius = width * self.scale / 2
        for x, y in (pixels[0], pixels[-1]):
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    def poly(self, points: Sequence[Point], fill: Sequence[int], edge: float = 2.4, ink: Sequence[int] = INK) -> None:
        self.draw.polygon(self._px(points), fill=rgba(fill))
        if edge:
            self.line([*points, points[0]], edge, ink)

    def blob(self, points: Sequence[Point], fill: Sequence[int], edge: float = 2.4, ink: Sequence[int] = INK) -> None:
        """A smooth closed shape through the points."""
        self.poly(smooth(points), fill, edge, ink)

    def ellipse(
        self, box: tuple[float, float, float, float], fill: Sequence[int], edge: float = 2.4, ink: Sequence[int] = INK
    ) -> None:
        x0, y0, x1, y1 = (value * self.scale for value in box)
        width = round(edge * self.scale)
        self.draw.ellipse((x0, y0, x1, y1), fill=rgba(fill), outline=rgba(ink) if width else None, width=width)

    def rect(
        self,
        box: tuple[float, float, float, float],
        fill: Sequence[int],
        radius: float = 3,
        edge: float = 2.4,
        ink: Sequence[int] = INK,
    ) -> None:
        x0, y0, x1, y1 = (value * self.scale for value in box)
        width = round(edge * self.scale)
        outline = rgba(ink) if width else None
        self.draw.rounded_rectangle((x0, y0, x1, y1), radius * self.scale, rgba(fill), outline, width)

    def limb(self, points: Sequence[Point], width: float, fill: Sequence[int], edge: float = 2.4) -> None:
        """A thick outlined line: handles, fingers, stems."""
        self.line(points, width + 2 * edge, INK)
        self.line(points, width, fill)


def shaded(image: Sprite, left: float = 1.1, right: float = 0.78) -> Sprite:
    """Light from the upper left: colours are multiplied by `left` falling to `right`."""
    values = np.asarray(image).astype(np.float32)
    height, width = values.shape[:2]
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    values[..., :3] *= (left + (right - left) * (0.75 * x + 0.25 * y))[..., None]
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8), "RGBA")


def recoloured(image: Sprite, hue: float = 0.0, saturation: float = 1.0, tint: Colour | None = None) -> Sprite:
    """Turn the hue by `hue` radians, scale the saturation, then blend a quarter of `tint` in."""
    cos, sin = math.cos(hue), math.sin(hue)
    # Rotation about the grey axis (1, 1, 1).
    third, root = (1 - cos) / 3, math.sqrt(1 / 3) * sin
    matrix = np.array(
        [[cos + third, third - root, third + root], [third + root, cos + third, third - root],
         [third - root, third + root, cos + third]], dtype=np.float32,
    )  # fmt: skip
    matrix = matrix * saturation + (1 - saturation) / 3
    values = np.asarray(image).astype(np.float32)
    values[..., :3] = values[..., :3] @ matrix.T
    if tint is not None:
        values[..., :3] = 0.76 * values[..., :3] + 0.24 * np.asarray(tint, dtype=np.float32)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8), "RGBA")


def sliced(image: Sprite, inside: Colour, cuts: int) -> Sprite:
    """The drawing cut upright into `cuts` + 1 pieces that lie apart; the faces show the colour of the inside."""
    width, height = image.size
    alpha = np.asarray(image)[..., 3]
    columns = np.flatnonzero(alpha.any(axis=0))
    first, last = int(columns[0]), int(columns[-1])
    edges = [round(first + (last - first) * k / (cuts + 1)) for k in range(cuts + 2)]
    gap = round(0.075 * width)
    shrink = width / (width + gap * cuts)
    out = Image.new("RGBA", (width + gap * cuts, height), (0, 0, 0, 0))
    pen = ImageDraw.Draw(out)
    for k in range(cuts + 1):
        piece = image.crop((edges[k], 0, edges[k + 1], height))
        left = edges[k] + gap * k
        drop = round(0.02 * height) if k % 2 else 0
        out.paste(piece, (left, drop), piece)
        if k < cuts:
            rows = np.flatnonzero(alpha[:, max(first, edges[k + 1] - 2)])
            if len(rows):
                x, half = left + edges[k + 1] - edges[k], round(0.05 * width)
                box = (x - half, int(rows[0]) + drop, x + half, int(rows[-1]) + drop)
                pen.ellipse(box, fill=rgba(inside), outline=rgba(INK), width=round(0.018 * width))
    size = (width, round(height * shrink))
    small = out.resize(size, Image.Resampling.BICUBIC)
    whole = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    whole.paste(small, (0, height - size[1] - round(0.04 * height)))
    return whole


@lru_cache(maxsize=64)
def soft_disc(width: int, height: int, colour: Colour, strength: int) -> Sprite:
    """An ellipse that fades out to its rim: shadows and glows; `strength` is the alpha of the middle."""
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    fade = np.clip(1.25 - 1.25 * (x**2 + y**2), 0, 1)
    values = np.empty((height, width, 4), dtype=np.uint8)
    values[..., :3] = colour
    values[..., 3] = fade * strength
    return Image.fromarray(values, "RGBA")

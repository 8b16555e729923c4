"""What moves: water, foam, fire, steam, strokes.  Sizes are pixels of the frame; `phase` is the frame number."""

from __future__ import annotations

import math
from functools import lru_cache

from sbr.mini.draw.pen import INK, Colour, Pen, Sprite, mix


@lru_cache(maxsize=128)
def water_fall(height: int, phase: int) -> Sprite:
    """A stream from a tap, 26 wide."""
    pen = Pen((26, height))
    pen.rect((6, -4, 20, height + 4), (70, 170, 250, 235), 2, 1.6, (30, 100, 200))
    for k in range(6):
        y = (k * 19 + phase * 7) % (height + 20) - 10
        pen.line([(9 + k % 3 * 4, y), (9 + k % 3 * 4, y + 9)], 2.2, (230, 246, 255))
    return pen.finished()


@lru_cache(maxsize=8)
def splash(phase: int) -> Sprite:
    """Drops and foam around an object, 124 x 104, middle (62, 52)."""
    pen = Pen((124, 104))
    for k in range(14):
        a, far = 2.4 * k + 0.5 * phase, 36 + (k * 37 + phase * 13) % 22
        x, y, r = 62 + far * math.cos(a), 56 + 0.75 * far * math.sin(a), 2.4 + k % 3
        pen.ellipse((x - r, y - r * 1.3, x + r, y + r * 1.3), (90, 185, 255), 1, (30, 100, 200))
    # Foam lies along the outline, so that one still sees what is washed.
    for k in range(10):
        a, far = 0.628 * k + 0.25 * phase, 31 + (k * 23 + phase * 5) % 9
        x, y, r = 62 + far * math.cos(a), 56 + 0.85 * far * math.sin(a), 4.2 + (k * 5 + phase) % 4
        pen.ellipse((x - r, y - r, x + r, y + r), (245, 252, 255, 235), 1.1, (90, 170, 230))
        pen.ellipse((x - r * 0.5, y - r * 0.6, x, y - r * 0.1), (255, 255, 255), 0)
    return pen.finished()


_DROPS = (
    (16, 20, 3), (34, 12, 2.4), (56, 18, 3.2), (68, 34, 2.6), (26, 40, 3.4), (47, 34, 2.6), (60, 54, 3), (18, 58, 2.6),
    (40, 58, 3.2),
)  # fmt: skip
"""(x, y, radius)"""


@lru_cache(maxsize=8)
def drops() -> Sprite:
    """What washing leaves on an object, 80 x 70."""
    pen = Pen((80, 70))
    for x, y, r in _DROPS:
        pen.ellipse((x - r, y - r * 1.4, x + r, y + r * 1.4), (150, 215, 255), 1, (30, 100, 200))
    return pen.finished()


@lru_cache(maxsize=8)
def flames(phase: int) -> Sprite:
    """A row of flames, 104 x 58, feet on y = 54."""
    pen = Pen((104, 58))
    for colour, size in (((240, 70, 10), 1.0), ((255, 150, 20), 0.72), ((255, 235, 110), 0.42)):
        for k in range(6):
            x = 12 + 16 * k
            high = (34 + 14 * math.sin(2.1 * k + 1.57 * phase)) * size
            lean, wide = 5 * math.sin(1.3 * k + 1.57 * phase), 11 * size
            left, right = (x - wide * 0.6, 50 - high * 0.5), (x + wide * 0.7, 50 - high * 0.45)
            outline = [(x - wide, 50), left, (x + lean, 52 - high), right, (x + wide, 50), (x, 55)]
            pen.blob(outline, colour, 1.6 if size == 1.0 else 0, (150, 30, 0))
    return pen.finished()


@lru_cache(maxsize=8)
def steam(phase: int) -> Sprite:
    """Three wavy clouds, 90 x 62."""
    pen = Pen((90, 62))
    for k in range(3):
        x, rise = 18 + 27 * k, (phase * 4 + k * 5) % 16
        points = [(x + 8 * math.sin(u / 8 + phase * 0.8 + k), 60 - rise / 3 - u) for u in range(0, 46, 6)]
        pen.line(points, 9, (255, 255, 255, 130))
        pen.line(points, 5, (255, 255, 255, 220))
    return pen.finished()


@lru_cache(maxsize=128)
def swirl(phase: int, width: int) -> Sprite:
    """Two bent arrows that go round, `width` x 0.44 width."""
    high = round(width * 0.44)
    pen = Pen((width, high))
    a, b, turn = width / 2 - 6, high / 2 - 6, 2 * math.pi * phase / 8
    for start in (turn, turn + math.pi):
        angles = [start + 2.1 * u / 10 for u in range(11)]
        points = [(width / 2 + a * math.cos(w), high / 2 + b * math.sin(w)) for w in angles]
        pen.line(points, 7, (60, 60, 70))
        pen.line(points, 4.4, (255, 255, 255))
        (x, y), w = points[-1], angles[-1] + 0.45
        tip = (width / 2 + a * math.cos(w), high / 2 + b * math.sin(w))
        dx, dy = tip[0] - x, tip[1] - y
        norm = max(1e-6, math.hypot(dx, dy))
        nx, ny = -dy / norm * 5.5, dx / norm * 5.5
        pen.poly([(x + nx, y + ny), tip, (x - nx, y - ny)], (255, 255, 255), 1.3, (60, 60, 70))
    return pen.finished()


@lru_cache(maxsize=1024)
def poured(width: int, height: int, phase: int, colour: Colour) -> Sprite:
    """The stream between a spout (upper right) and a glass (lower left)."""
    pen = Pen((width + 16, height))
    path = [(8 + width * (1 - u) ** 2, height * u**1.3) for u in [k / 10 for k in range(11)]]
    path.reverse()
    pen.line(path, 10, mix(colour, INK, 0.55))
    pen.line(path, 7, colour)
    pen.line(path[phase % 4 : phase % 4 + 4], 2.4, mix(colour, (255, 255, 255), 0.6))
    return pen.finished()


@lru_cache(maxsize=8)
def pressed() -> Sprite:
    """Strokes of something falling shut, 120 x 40."""
    pen = Pen((120, 40))
    for x0, y0, x1, y1 in ((4, 26, 20, 32), (12, 8, 26, 18), (116, 26, 100, 32), (108, 8, 94, 18)):
        pen.line([(x0, y0), (x1, y1)], 6, (60, 50, 50))
        pen.line([(x0, y0), (x1, y1)], 3.2, (255, 240, 120))
    return pen.finished()


@lru_cache(maxsize=8)
def falling() -> Sprite:
    """Strokes behind something that moves down, 70 x 26."""
    pen = Pen((70, 26))
    for k in range(4):
        x = 8 + 18 * k
        pen.line([(x, 3 + k % 2 * 5), (x, 22)], 3, (255, 255, 255, 220))
    return pen.finished()


@lru_cache(maxsize=8)
def rays() -> Sprite:
    """Light out of an opened thing, 110 x 44, its mouth at the middle of the bottom."""
    pen = Pen((110, 44))
    for x in (6, 30, 55, 80, 104):
        pen.line([(55 + (x - 55) * 0.5, 40), (x, 6 + abs(x - 55) * 0.3)], 4, (255, 250, 200, 220))
    return pen.finished()


@lru_cache(maxsize=8)
def lifted() -> Sprite:
    """The outline left on the table where something stood, 96 x 36."""
    pen = Pen((96, 36))
    for k in range(14):
        a, b = 2 * math.pi * k / 14, 2 * math.pi * (k + 0.55) / 14
        points = [(48 + 44 * math.cos(w), 18 + 14 * math.sin(w)) for w in (a, (a + b) / 2, b)]
        pen.line(points, 4.4, (255, 255, 255))
        pen.line(points, 2.2, (50, 50, 60))
    return pen.finished()

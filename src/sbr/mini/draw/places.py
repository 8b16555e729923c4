"""Backgrounds: a kitchen, a workshop, a studio and a garden, in as many variants as there are seeds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from sbr.mini.draw.pen import INK, Colour, Pen, mix
from sbr.mini.world import Place

MARGIN = 8
"""The background is larger than the frame by so much on each side: the head moves."""
EXTENT = 168 + 2 * MARGIN


def _muted(rng: random.Random, low: int, high: int, spread: int = 26) -> Colour:
    """A colour without much saturation: the objects have to stand out."""
    grey = rng.randint(low, high)
    r, g, b = (max(0, min(255, grey + rng.randint(-spread, spread))) for _ in range(3))
    return (r, g, b)


def _speckles(pen: Pen, rng: random.Random, top: float, colours: tuple[Colour, ...], count: int) -> None:
    for _ in range(count):
        x, y = rng.uniform(0, EXTENT), rng.uniform(top, EXTENT)
        r = rng.uniform(0.4, 1.3)
        pen.ellipse((x - r, y - r, x + r, y + r), rng.choice(colours), 0)


def _planks(pen: Pen, rng: random.Random, top: float, base: Colour, count: int) -> None:
    """Boards that run away from the viewer."""
    middle = EXTENT / 2
    for k in range(count):
        shade = mix(base, (0, 0, 0) if k % 2 else (255, 255, 255), rng.uniform(0.02, 0.12))
        x0, x1 = (middle + (j - count / 2) * EXTENT * 0.8 / count for j in (k, k + 1))
        low0, low1 = (middle + (x - middle) * 2.0 for x in (x0, x1))
        far0, far1 = (middle + (x - middle) * 1.3 for x in (x0, x1))
        pen.poly([(far0, top), (far1, top), (low1, EXTENT), (low0, EXTENT)], shade, 0.9, mix(base, INK, 0.5))
        for _ in range(4):
            u = rng.uniform(0.15, 0.85)
            y = rng.uniform(top, EXTENT - 30)
            v0, v1 = ((w - top) / (EXTENT - top) for w in (y, y + 26))
            points = [
                (far0 + (far1 - far0) * u + (low0 + (low1 - low0) * u - far0 - (far1 - far0) * u) * v, w)
                for v, w in ((v0, y), (v1, y + 26))
            ]
            pen.line(points, 0.7, mix(shade, INK, 0.25))


def _kitchen(pen: Pen, rng: random.Random, top: int) -> None:
    wall, grout = _muted(rng, 165, 235), _muted(rng, 120, 190, 10)
    pen.rect((0, 0, EXTENT, top), grout, 0, 0)
    wide, high = rng.choice(((16, 16), (24, 12), (12, 12), (30, 15)))
    shift = rng.choice((0, 0.5))
    second = mix(wall, _muted(rng, 100, 200, 60), rng.choice((0, 0, 0.5)))
    for row in range(top // high + 1):
        for column in range(-1, EXTENT // wide + 1):
            x, y = (column + shift * (row % 2)) * wide, top - (row + 1) * high
            pen.rect((x + 0.7, y + 0.7, x + wide - 0.7, y + high - 0.7), second if (row + column) % 2 else wall, 1, 0)
    kind, base = rng.randrange(3), _muted(rng, 110, 200, 15)
    if kind == 0:
        _planks(pen, rng, top, mix((190, 150, 104), base, 0.4), rng.randint(5, 8))
    else:
        pen.rect((0, top, EXTENT, EXTENT), base, 0, 0)
        if kind == 1:
            _speckles(pen, rng, top, (mix(base, INK, 0.4), mix(base, (255, 255, 255), 0.5)), 420)
        else:
            for k in range(1, 5):
                pen.line([(0, top + k * k * 9), (EXTENT, top + k * k * 9)], 1, mix(base, INK, 0.3))
    pen.rect((0, top - 3, EXTENT, top + 2), mix(base, INK, 0.35), 0, 0)
    _kitchen_things(pen, rng, top)


def _kitchen_things(pen: Pen, rng: random.Random, top: int) -> None:
    if rng.random() < 0.5:  # a window
        x = rng.uniform(20, 110)
        pen.rect((x, -6, x + 46, top - 14), (176, 214, 236), 1, 2.4, (236, 236, 230))
        pen.line([(x + 23, -6), (x + 23, top - 14)], 2, (236, 236, 230))
    else:  # a rail with ladle, turner and whisk
        x, y = rng.uniform(30, 80), top - rng.uniform(26, 32)
        pen.line([(x - 10, y), (x + 70, y)], 2, (120, 124, 130))
        for k in range(4):
            u = x + 18 * k
            pen.line([(u, y), (u, y + 12)], 1.8, (90, 94, 100))
            pen.ellipse((u - 4, y + 10, u + 4, y + 19), (130, 134, 140), 1)
    if rng.random() < 0.7:  # a hob at the side
        x = rng.choice((2, EXTENT - 44))
        for y in (top + 6, top + 26):
            pen.ellipse((x, y, x + 42, y + 16), (60, 60, 66), 1.4)
            pen.ellipse((x + 10, y + 4, x + 32, y + 12), (90, 90, 98), 1)


def _tool(pen: Pen, kind: int, x: float, y: float) -> None:
    """What hangs on the board: hammer, wrench, saw or screwdriver."""
    grey: Colour = (130, 136, 144)
    if kind == 0:
        pen.line([(x, y), (x, y + 24)], 3, (120, 70, 36))
        pen.rect((x - 8, y - 2, x + 8, y + 5), (90, 94, 100), 1, 1)
    elif kind == 1:
        pen.line([(x, y + 4), (x, y + 24)], 3.4, grey)
        pen.ellipse((x - 5, y - 4, x + 5, y + 6), grey, 1)
    elif kind == 2:
        pen.poly([(x - 4, y), (x + 4, y), (x + 9, y + 26), (x - 2, y + 26)], (176, 182, 188), 1)
    else:
        pen.line([(x, y + 10), (x, y + 26)], 1.8, grey)
        pen.line([(x, y), (x, y + 10)], 4.4, (190, 60, 40))


def _workshop(pen: Pen, rng: random.Random, top: int) -> None:
    wall = mix((170, 140, 104), _muted(rng, 110, 190), 0.5)
    pen.rect((0, 0, EXTENT, top), wall, 0, 0)
    for x in range(4, EXTENT, 9):
        for y in range(4, top - 4, 9):
            pen.ellipse((x - 1, y - 1, x + 1, y + 1), mix(wall, INK, 0.6), 0)
    for k in range(7):
        _tool(pen, rng.randrange(4), 14 + 26 * k + rng.uniform(-4, 4), max(2.0, top - 40.0))
    base = mix((176, 130, 82), _muted(rng, 100, 190), 0.4)
    _planks(pen, rng, top, base, rng.randint(3, 5))
    pen.rect((0, top - 3, EXTENT, top + 4), mix(base, INK, 0.45), 0, 0)
    _speckles(pen, rng, top + 6, ((230, 200, 150), (214, 180, 126)), 90)
    for _ in range(6):
        x, y = rng.uniform(6, EXTENT - 6), rng.uniform(top + 10, EXTENT - 8)
        pen.ellipse((x - 2.4, y - 2.4, x + 2.4, y + 2.4), (150, 154, 160), 0.8)


def _studio(pen: Pen, rng: random.Random, top: int) -> None:
    wall = mix((226, 222, 212), _muted(rng, 150, 230), 0.6)
    pen.rect((0, 0, EXTENT, top), wall, 0, 0)
    for k in range(3):
        x, y = 8 + 60 * k + rng.uniform(0, 12), rng.uniform(-14, 2)
        pen.rect((x, y, x + 44, top - 8), (244, 240, 230), 1, 2, (150, 110, 70))
        for _ in range(5):
            u, v = rng.uniform(x + 6, x + 36), rng.uniform(y + 6, top - 16)
            r = rng.uniform(3, 8)
            pen.blob([(u - r, v), (u, v - r * 0.8), (u + r, v), (u, v + r * 0.7)], _muted(rng, 110, 200, 70), 0)
    cloth = mix((214, 208, 196), _muted(rng, 140, 225, 30), 0.5)
    pen.rect((0, top, EXTENT, EXTENT), cloth, 0, 0)
    for k in range(0, 2 * EXTENT, 7):
        pen.line([(k, top), (k - 40, EXTENT)], 0.6, mix(cloth, INK, 0.12))
    for y in range(top, EXTENT, 6):
        pen.line([(0, y), (EXTENT, y)], 0.5, mix(cloth, INK, 0.1))
    pen.line([(0, top), (EXTENT, top)], 3, mix(cloth, INK, 0.4))
    for _ in range(16):
        x, y, r = rng.uniform(0, EXTENT), rng.uniform(top + 8, EXTENT), rng.uniform(1.5, 6)
        spot = [
            (x + r * rng.uniform(0.7, 1.2) * math.cos(a), y + 0.6 * r * rng.uniform(0.7, 1.2) * math.sin(a))
            for a in range(6)
        ]
        pen.blob(spot, _muted(rng, 120, 200, 70), 0)
    x = rng.choice((8, EXTENT - 34))
    for k in range(3):  # brushes in a jar
        pen.line([(x + 13, top + 6), (x + 4 + 9 * k, top - 22)], 2, (150, 100, 60))
        pen.ellipse((x + 1 + 9 * k, top - 28, x + 7 + 9 * k, top - 20), _muted(rng, 60, 160, 60), 0.8)
    pen.rect((x, top - 8, x + 26, top + 16), (150, 170, 180), 3, 1.4)


def _garden(pen: Pen, rng: random.Random, top: int) -> None:
    sky = mix((180, 214, 236), _muted(rng, 170, 230, 14), 0.4)
    pen.rect((0, 0, EXTENT, top), sky, 0, 0)
    if rng.random() < 0.5:
        fence = mix((190, 160, 120), _muted(rng, 110, 235), 0.5)
        for x in range(-4, EXTENT, 17):
            pen.poly([(x, top), (x, 14), (x + 7, 6), (x + 14, 14), (x + 14, top)], fence, 1.2)
        pen.rect((0, top - 14, EXTENT, top - 9), mix(fence, INK, 0.2), 0, 0.8)
    else:
        hedge = mix((70, 120, 60), _muted(rng, 60, 140), 0.3)
        for _ in range(70):
            x, y = rng.uniform(0, EXTENT), rng.uniform(16, top)
            pen.ellipse((x - 12, y - 8, x + 12, y + 10), mix(hedge, INK, rng.uniform(0, 0.3)), 0)
    grass = mix((120, 160, 84), _muted(rng, 90, 170), 0.35)
    pen.rect((0, top, EXTENT, EXTENT), grass, 0, 0)
    if rng.random() < 0.4:  # a wooden deck
        _planks(pen, rng, top + 14, mix((170, 140, 104), _muted(rng, 110, 190), 0.3), 6)
    for _ in range(260):
        x, y = rng.uniform(0, EXTENT), rng.uniform(top, EXTENT)
        shade = mix(grass, (255, 255, 200) if rng.random() < 0.5 else (0, 40, 0), rng.uniform(0.1, 0.35))
        pen.line([(x, y), (x + rng.uniform(-3, 3), y - rng.uniform(3, 8))], 1, shade)
    for _ in range(10):
        x, y = rng.uniform(0, EXTENT), rng.uniform(top + 4, EXTENT)
        pen.ellipse((x - 2, y - 1.5, x + 2, y + 1.5), rng.choice(((250, 250, 250), (250, 220, 80))), 0)


PLACES: dict[Place, Callable[[Pen, random.Random, int], None]] = {
    "kitchen": _kitchen, "workshop": _workshop, "studio": _studio, "garden": _garden,
}  # fmt: skip
"""How each kind of place is drawn: (pen of EXTENT x EXTENT, its random numbers, row of the horizon)."""

"""How each of the 24 nouns looks: one drawing function a noun, in a box of 100 x 100 units, standing on y = 94."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from PIL import Image

from sbr.mini.sprites import INK, Colour, Pen, Sprite, recoloured, shaded, sliced, smooth

State = Literal["whole", "open", "lid", "slit", "cut"]
"""whole; open (without its lid); the lid alone; slit (one cut); cut (three cuts)."""

WHITE: Colour = (246, 244, 236)
DARK: Colour = (46, 34, 34)

INSIDE: dict[str, Colour] = {
    "tomato": (255, 150, 120), "onion": (250, 226, 240), "potato": (250, 236, 170), "carrot": (255, 196, 110),
    "rope": (250, 240, 205), "wood": (240, 205, 150), "bread": (255, 244, 214), "clay": (196, 200, 206),
    "cloth": (255, 235, 245), "plant": (190, 240, 150), "flower": (190, 240, 150), "fish": (250, 150, 140),
}  # fmt: skip
"""Colour of a cut face."""

LIQUID: dict[str, Colour] = {
    "paint": (150, 50, 190), "glue": (255, 250, 235), "oil": (235, 190, 30), "milk": (255, 255, 255),
    "water": (70, 160, 250),
}  # fmt: skip
"""Colour of what is poured."""


def _cup(pen: Pen, state: State) -> None:
    body: Colour = (250, 200, 30)
    pen.limb(smooth([(70, 40), (92, 42), (92, 70), (68, 74)], closed=False), 7, body)
    pen.poly([(16, 26), (22, 88), (28, 94), (64, 94), (70, 88), (76, 26)], body)
    pen.ellipse((16, 16, 76, 36), mix_white(body))
    pen.ellipse((22, 20, 70, 34), (110, 66, 40))
    pen.line([(19, 56), (73, 56)], 6, WHITE)


def _paint(pen: Pen, state: State) -> None:
    tin: Colour = (176, 182, 190)
    paint: Colour = (150, 50, 190)
    if state == "lid":
        pen.ellipse((14, 40, 86, 66), tin)
        pen.ellipse((24, 44, 76, 62), (205, 210, 216))
        return
    if state != "open":
        pen.line(smooth([(16, 34), (24, 4), (76, 4), (84, 34)], closed=False), 3, (90, 90, 96))
    pen.poly([(14, 28), (14, 86), (24, 94), (76, 94), (86, 86), (86, 28)], tin)
    pen.rect((14, 46, 86, 82), paint, 0)
    pen.ellipse((38, 52, 62, 78), (240, 200, 250), 0)
    pen.ellipse((14, 16, 86, 40), tin)
    pen.ellipse((20, 19, 80, 37), paint if state == "open" else (205, 210, 216))
    if state == "open":
        pen.blob([(24, 36), (36, 37), (34, 58), (30, 66), (26, 58)], paint, 0)


def _glue(pen: Pen, state: State) -> None:
    orange: Colour = (250, 120, 20)
    if state == "lid":
        pen.poly([(43, 18), (57, 18), (70, 62), (30, 62)], orange)
        return
    pen.blob([(24, 46), (50, 36), (76, 46), (83, 66), (80, 88), (50, 95), (20, 88), (17, 66)], WHITE)
    pen.rect((19, 57, 81, 82), orange, 2)
    pen.ellipse((39, 60, 61, 79), WHITE, 0)
    if state == "open":
        pen.rect((40, 28, 60, 42), WHITE, 2)
        pen.ellipse((40, 24, 60, 32), DARK)
    else:
        pen.poly([(46, 4), (54, 4), (64, 40), (36, 40)], orange)


def _oil(pen: Pen, state: State) -> None:
    gold: Colour = (214, 176, 20)
    green: Colour = (40, 90, 30)
    if state == "lid":
        pen.rect((34, 34, 66, 66), green, 5)
        return
    pen.poly(
        smooth([(41, 22), (41, 34), (22, 52), (19, 88), (26, 95), (74, 95), (81, 88), (78, 52), (59, 34), (59, 22)]), gold
    )
    pen.rect((24, 58, 76, 86), (250, 246, 200), 3)
    pen.blob([(50, 60), (61, 72), (50, 83), (39, 72)], (110, 140, 30), 1.5)
    if state == "open":
        pen.rect((40, 12, 60, 26), gold, 2)
        pen.ellipse((40, 8, 60, 16), DARK)
    else:
        pen.rect((38, 3, 62, 25), green, 4)


def _milk(pen: Pen, state: State) -> None:
    blue: Colour = (40, 90, 220)
    if state == "lid":
        pen.rect((32, 36, 68, 64), (240, 60, 60), 5)
        return
    pen.poly([(24, 36), (24, 94), (64, 94), (64, 36)], WHITE)
    pen.poly([(64, 36), (80, 30), (80, 86), (64, 94)], (206, 206, 206))
    pen.poly([(24, 36), (34, 12), (72, 8), (80, 30), (64, 36)], blue)
    pen.poly([(24, 62), (64, 62), (64, 86), (24, 86)], blue, 0)
    pen.poly([(64, 62), (79, 56), (79, 79), (64, 86)], (30, 66, 170), 0)
    pen.ellipse((32, 64, 56, 84), WHITE, 0)
    if state == "open":
        pen.ellipse((34, 14, 62, 32), DARK)
    else:
        pen.rect((38, 8, 60, 26), (240, 60, 60), 4)


def _water(pen: Pen, state: State) -> None:
    glass: Colour = (150, 214, 255)
    pen.limb(smooth([(70, 34), (94, 36), (92, 72), (70, 74)], closed=False), 5, glass)
    pen.poly([(12, 18), (24, 30), (20, 88), (28, 95), (68, 95), (76, 88), (72, 22), (70, 16)], (196, 232, 255))
    pen.poly([(23, 44), (21, 86), (29, 92), (67, 92), (74, 86), (72, 44)], (50, 140, 245), 0)
    pen.ellipse((23, 38, 72, 50), (120, 190, 255), 1.5)
    pen.line([(34, 56), (33, 82)], 5, (190, 225, 255))


def _box(pen: Pen, state: State) -> None:
    card: Colour = (196, 142, 84)
    if state == "lid":
        pen.poly([(4, 44), (20, 32), (96, 32), (84, 44)], (222, 172, 112))
        pen.rect((4, 44, 84, 60), card, 1)
        pen.poly([(84, 44), (96, 32), (96, 48), (84, 60)], (150, 104, 58))
        return
    pen.poly([(78, 40), (96, 26), (96, 78), (78, 94)], (150, 104, 58))
    pen.poly([(4, 40), (78, 40), (78, 94), (4, 94)], card)
    if state == "open":
        pen.poly([(4, 40), (22, 26), (96, 26), (78, 40)], DARK)
        pen.poly([(22, 26), (96, 26), (92, 10), (26, 10)], (222, 172, 112))
        pen.poly([(4, 40), (22, 26), (8, 14), (0, 28)], (222, 172, 112))
    else:
        pen.poly([(4, 40), (22, 26), (96, 26), (78, 40)], (222, 172, 112))
        pen.poly([(36, 40), (53, 26), (63, 26), (47, 40)], (240, 220, 170), 1)
        pen.poly([(36, 40), (47, 40), (47, 54), (36, 54)], (240, 220, 170), 1)
    pen.line([(14, 84), (30, 84)], 3, (110, 74, 40))
    pen.line([(14, 78), (24, 78)], 3, (110, 74, 40))


def _fridge(pen: Pen, state: State) -> None:
    mint: Colour = (150, 216, 200)
    if state == "lid":
        pen.rect((20, 2, 80, 94), mint, 6)
        pen.line([(21, 34), (79, 34)], 2.6)
        pen.rect((26, 42, 32, 64), WHITE, 2, 1.5)
        return
    pen.rect((14, 2, 86, 95), mint, 6)
    if state == "open":
        pen.rect((20, 7, 80, 90), (255, 250, 190), 2)
        for y in (34, 60):
            pen.line([(21, y), (79, y)], 2.4, (150, 170, 180))
        pen.rect((28, 14, 38, 33), (240, 80, 70), 2, 1.2)
        pen.rect((46, 20, 72, 33), (120, 190, 70), 2, 1.2)
        pen.ellipse((28, 43, 46, 59), (250, 170, 40), 1.2)
        pen.rect((56, 39, 66, 59), (90, 130, 230), 2, 1.2)
        pen.rect((28, 69, 72, 86), (190, 225, 235), 2, 1.2)
    else:
        pen.line([(15, 34), (85, 34)], 2.6)
        pen.rect((72, 13, 78, 29), WHITE, 2, 1.5)
        pen.rect((72, 42, 78, 66), WHITE, 2, 1.5)
    pen.rect((20, 93, 30, 98), DARK, 1, 0)
    pen.rect((70, 93, 80, 98), DARK, 1, 0)


def _toolbox(pen: Pen, state: State) -> None:
    red: Colour = (214, 34, 40)
    if state == "lid":
        pen.limb([(36, 40), (36, 28), (64, 28), (64, 40)], 5, (60, 60, 66))
        pen.poly([(6, 62), (12, 40), (88, 40), (94, 62)], red)
        return
    if state == "open":
        pen.poly([(4, 52), (12, 40), (88, 40), (96, 52)], DARK)
        pen.limb([(30, 48), (22, 20)], 5, (250, 200, 40))
        pen.limb([(52, 48), (56, 16)], 4, (170, 176, 186))
        pen.rect((46, 10, 68, 20), (120, 126, 136), 2)
        pen.limb([(74, 48), (80, 26)], 5, (40, 110, 220))
    else:
        pen.limb([(34, 36), (34, 20), (66, 20), (66, 36)], 6, (60, 60, 66))
        pen.poly([(4, 54), (12, 34), (88, 34), (96, 54)], (236, 70, 70))
    pen.rect((4, 52, 96, 94), red, 3)
    pen.line([(6, 68), (94, 68)], 2, (120, 12, 20))
    for x in (20, 68):
        pen.rect((x, 48, x + 12, 62), (225, 225, 230), 2)


def _tomato(pen: Pen, state: State) -> None:
    pen.blob([(50, 26), (76, 24), (94, 44), (92, 72), (72, 93), (50, 95), (28, 93), (8, 72), (6, 44), (24, 24)], (230, 36, 30))
    pen.blob([(20, 44), (30, 36), (32, 44), (24, 54)], (255, 150, 140), 0)
    green: Colour = (60, 150, 40)
    star = [(50 + r * math.cos(a), 28 + 0.55 * r * math.sin(a)) for a, r in _star(5, 30, 9)]
    pen.poly(star, green)
    pen.limb([(50, 26), (54, 10)], 5, green)


def _onion(pen: Pen, state: State) -> None:
    skin: Colour = (176, 60, 120)
    pen.line([(44, 92), (38, 98)], 2.4, (220, 200, 150))
    pen.line([(56, 92), (62, 98)], 2.4, (220, 200, 150))
    pen.blob([(50, 26), (66, 36), (88, 50), (90, 72), (70, 92), (50, 95), (30, 92), (10, 72), (12, 50), (34, 36)], skin)
    for x in (-26, -10, 10, 26):
        pen.line(smooth([(50 + x * 0.2, 30), (50 + x * 1.15, 60), (50 + x * 0.4, 92)], closed=False), 2.6, (226, 130, 180))
    pen.poly([(42, 34), (47, 4), (52, 16), (57, 6), (58, 34)], (226, 190, 110))


def _potato(pen: Pen, state: State) -> None:
    pen.blob([(10, 66), (14, 42), (36, 30), (60, 36), (84, 40), (94, 60), (86, 84), (62, 92), (36, 90), (18, 84)], (200, 160, 90))
    for x, y in ((30, 50), (54, 48), (74, 58), (42, 70), (66, 78), (26, 74)):
        pen.ellipse((x - 3, y - 2, x + 4, y + 2), (120, 86, 44), 0)
    pen.blob([(22, 46), (34, 38), (44, 38), (30, 50)], (228, 194, 128), 0)


def _carrot(pen: Pen, state: State) -> None:
    green: Colour = (50, 160, 50)
    for tip in ((92, 26), (84, 9), (66, 6), (92, 42)):
        pen.limb([(66, 38), tip], 7, green)
    pen.blob([(54, 34), (72, 36), (78, 52), (62, 70), (34, 86), (4, 96), (12, 76), (30, 50)], (250, 120, 20))
    for a, b in (((48, 44), (58, 54)), ((32, 58), (43, 68)), ((54, 72), (46, 66)), ((20, 74), (28, 80))):
        pen.line([a, b], 2.6, (190, 76, 0))


def _rope(pen: Pen, state: State) -> None:
    tan: Colour = (226, 196, 130)
    pen.limb(smooth([(76, 78), (90, 88), (98, 92)], closed=False), 9, tan)
    for k, inset in enumerate((0, 12, 24)):
        pen.ellipse((4 + inset, 34 + inset * 0.62, 90 - inset, 94 - inset * 0.62), tan if k != 1 else (208, 174, 104))
    pen.ellipse((34, 55, 60, 73), (70, 56, 44))
    for k in range(22):
        a = 2 * math.pi * k / 22
        x, y = math.cos(a), math.sin(a)
        pen.line([(47 + 41 * x, 64 + 28 * y), (47 + 33 * math.cos(a + 0.2), 64 + 22 * math.sin(a + 0.2))], 1.8, (150, 112, 60))


def _wood(pen: Pen, state: State) -> None:
    pen.poly([(2, 70), (86, 70), (98, 58), (98, 76), (86, 92), (2, 92)], (140, 84, 40))
    pen.poly([(2, 70), (16, 54), (98, 54), (86, 70)], (206, 142, 76))
    pen.poly([(2, 44), (84, 44), (96, 32), (96, 50), (84, 66), (2, 66)], (150, 92, 44))
    pen.poly([(2, 44), (16, 28), (96, 28), (84, 44)], (222, 158, 88))
    for y, x0, x1 in ((52, 8, 60), (59, 24, 78), (77, 10, 70), (85, 20, 80)):
        pen.line([(x0, y), (x1, y)], 2, (104, 58, 24))
    pen.line([(24, 36), (70, 36)], 2, (170, 110, 54))
    pen.ellipse((36, 52, 48, 60), (104, 58, 24), 0)


def _bowl(pen: Pen, state: State) -> None:
    teal: Colour = (20, 160, 150)
    pen.rect((34, 86, 66, 95), (10, 110, 104), 2)
    pen.poly(smooth([(3, 46), (12, 72), (34, 90), (66, 90), (88, 72), (97, 46)], closed=False), teal)
    pen.line(smooth([(9, 64), (30, 74), (70, 74), (91, 64)], closed=False), 5, WHITE)
    pen.ellipse((3, 32, 97, 60), (90, 210, 200))
    pen.ellipse((12, 37, 88, 57), (240, 228, 180))


def _pot(pen: Pen, state: State) -> None:
    navy: Colour = (36, 60, 140)
    pen.limb([(14, 52), (2, 52), (2, 62), (14, 62)], 5, (30, 30, 34))
    pen.limb([(86, 52), (98, 52), (98, 62), (86, 62)], 5, (30, 30, 34))
    pen.poly([(12, 38), (12, 86), (22, 95), (78, 95), (88, 86), (88, 38)], navy)
    for x, y in ((26, 60), (44, 70), (62, 60), (76, 76), (30, 82), (54, 86)):
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), WHITE, 0)
    pen.ellipse((12, 24, 88, 52), (200, 206, 216))
    pen.ellipse((19, 28, 81, 49), (70, 70, 84))


def _pan(pen: Pen, state: State) -> None:
    pen.limb([(62, 46), (93, 10)], 9, (150, 40, 30))
    pen.poly([(2, 64), (10, 86), (24, 95), (66, 95), (80, 86), (88, 64)], (40, 40, 46))
    pen.ellipse((2, 40, 88, 84), (66, 66, 74))
    pen.ellipse((10, 46, 80, 78), (24, 24, 28))
    pen.line(smooth([(20, 64), (28, 55), (44, 51)], closed=False), 3.4, (120, 120, 130))


def _bread(pen: Pen, state: State) -> None:
    crust: Colour = (214, 138, 50)
    pen.blob([(3, 64), (10, 42), (34, 34), (66, 34), (90, 42), (97, 64), (92, 88), (66, 93), (34, 93), (8, 88)], crust)
    for x in (22, 44, 66):
        pen.blob([(x, 42), (x + 9, 38), (x + 14, 54), (x + 5, 60)], (255, 226, 160), 1.6, (150, 84, 20))
    pen.line(smooth([(10, 80), (40, 87), (88, 80)], closed=False), 3, (160, 90, 26))


def _clay(pen: Pen, state: State) -> None:
    grey: Colour = (150, 156, 164)
    pen.rect((2, 84, 98, 95), (110, 80, 50), 3)
    pen.blob([(14, 84), (14, 60), (26, 40), (40, 30), (58, 36), (74, 34), (86, 54), (88, 84)], grey)
    pen.blob([(28, 54), (36, 46), (42, 54), (34, 62)], (120, 126, 134), 0)
    pen.blob([(54, 60), (64, 52), (70, 62), (60, 70)], (120, 126, 134), 0)
    pen.line(smooth([(46, 42), (54, 46), (62, 42)], closed=False), 2.6, (110, 114, 122))


def _cloth(pen: Pen, state: State) -> None:
    pink: Colour = (250, 140, 180)
    pen.blob([(4, 50), (24, 42), (50, 50), (76, 40), (96, 48), (90, 68), (98, 90), (72, 86), (48, 95), (26, 86), (4, 92), (10, 70)], pink)
    for k in (24, 48, 72):
        pen.line(smooth([(k, 46), (k - 3, 68), (k, 88)], closed=False), 5, WHITE)
    pen.line(smooth([(9, 62), (50, 66), (92, 60)], closed=False), 4, WHITE)
    pen.line(smooth([(8, 80), (50, 82), (94, 78)], closed=False), 4, WHITE)


def _plant(pen: Pen, state: State) -> None:
    leaf: Colour = (50, 140, 50)
    for points in (
        [(50, 62), (20, 56), (4, 30), (34, 38)],
        [(50, 62), (80, 56), (96, 30), (66, 38)],
        [(50, 62), (30, 36), (34, 6), (52, 30)],
        [(50, 62), (50, 30), (70, 8), (66, 38)],
    ):
        pen.blob(points, leaf)
        pen.line([points[0], points[2]], 1.8, (130, 210, 100))
    pen.poly([(26, 64), (74, 64), (67, 95), (33, 95)], (196, 90, 50))
    pen.rect((22, 58, 78, 70), (216, 110, 66), 2)


def _flower(pen: Pen, state: State) -> None:
    green: Colour = (60, 160, 60)
    pen.limb(smooth([(50, 50), (48, 74), (52, 94)], closed=False), 6, green)
    pen.blob([(50, 88), (66, 72), (92, 70), (74, 88)], green)
    pen.blob([(50, 92), (34, 76), (8, 74), (26, 92)], green)
    for k in range(7):
        a = 2 * math.pi * k / 7
        x, y = 50 + 23 * math.cos(a), 38 + 22 * math.sin(a)
        pen.ellipse((x - 15, y - 14, x + 15, y + 14), (250, 70, 200))
    pen.ellipse((35, 23, 65, 53), (255, 220, 40))


def _fish(pen: Pen, state: State) -> None:
    body: Colour = (110, 160, 210)
    pen.blob([(72, 62), (98, 38), (92, 62), (98, 88)], (70, 110, 170))
    pen.blob([(40, 44), (54, 26), (66, 44)], (70, 110, 170))
    pen.blob([(2, 64), (16, 46), (44, 38), (70, 50), (82, 62), (70, 76), (44, 86), (16, 80)], body)
    pen.blob([(10, 72), (40, 72), (70, 70), (44, 82), (18, 78)], (220, 232, 240), 0)
    pen.line(smooth([(28, 48), (34, 62), (28, 78)], closed=False), 2.4)
    for x, y in ((42, 54), (52, 62), (42, 68), (62, 56), (62, 68)):
        pen.line(smooth([(x, y - 4), (x + 4, y), (x, y + 4)], closed=False), 1.8, (50, 80, 130))
    pen.ellipse((12, 52, 24, 64), WHITE, 1.6)
    pen.ellipse((15, 55, 21, 61), INK, 0)


def _generic_lid(pen: Pen) -> None:
    pen.ellipse((44, 26, 56, 38), (60, 60, 66))
    pen.ellipse((12, 36, 88, 62), (170, 176, 186))


def mix_white(colour: Colour) -> Colour:
    return (min(255, colour[0] + 40), min(255, colour[1] + 40), min(255, colour[2] + 40))


def _star(points: int, outer: float, inner: float) -> list[tuple[float, float]]:
    return [(math.pi * k / points - math.pi / 2, outer if k % 2 == 0 else inner) for k in range(2 * points)]


_DRAW: dict[str, Callable[[Pen, State], None]] = {
    "cup": _cup, "paint": _paint, "glue": _glue, "oil": _oil, "milk": _milk, "water": _water, "box": _box,
    "fridge": _fridge, "toolbox": _toolbox, "tomato": _tomato, "onion": _onion, "potato": _potato, "carrot": _carrot,
    "rope": _rope, "wood": _wood, "bowl": _bowl, "pot": _pot, "pan": _pan, "bread": _bread, "clay": _clay,
    "cloth": _cloth, "plant": _plant, "flower": _flower, "fish": _fish,
}  # fmt: skip
LIDDED = ("paint", "glue", "oil", "milk", "box", "fridge", "toolbox")
"""Nouns whose lid, cap or door is drawn on its own."""


@lru_cache(maxsize=256)
def _master(noun: str, state: State) -> Sprite:
    if state in ("slit", "cut"):
        return sliced(_master(noun, "whole"), INSIDE.get(noun, WHITE), 1 if state == "slit" else 3)
    pen = Pen()
    if state == "lid" and noun not in LIDDED:
        _generic_lid(pen)
    else:
        _DRAW[noun](pen, state)
    return shaded(pen.image)


_STYLES = ((0.0, 1.0), (0.16, 0.92), (-0.16, 0.95), (0.06, 0.78), (-0.08, 1.12))
"""(turn of the hue in radians, saturation): no two kitchens buy the same cup."""
STYLES = len(_STYLES)


@lru_cache(maxsize=3000)
def noun_sprite(noun: str, state: State, size: int, angle: int = 0, style: int = 0, hot: bool = False) -> Sprite:
    """A noun `size` pixels wide and high, turned by `angle` degrees against the clock (in steps of 5)."""
    image = _master(noun, state).resize((size, size), Image.Resampling.LANCZOS, reducing_gap=2.0)
    if angle:
        image = image.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    hue, saturation = _STYLES[style]
    if hue or saturation != 1.0 or hot:
        image = recoloured(image, hue, saturation, (255, 70, 20) if hot else None)
    return image

"""Drawings of the nouns that are used whole or in pieces.

One function a noun, in a box of 100 x 100 units, standing on y = 94.
"""

from __future__ import annotations

import math

from sbr.mini.draw.pen import INK, Colour, Pen, smooth

WHITE: Colour = (246, 244, 236)


def tomato(pen: Pen) -> None:
    pen.blob(
        [(50, 26), (76, 24), (94, 44), (92, 72), (72, 93), (50, 95), (28, 93), (8, 72), (6, 44), (24, 24)],
        (230, 36, 30),
    )
    pen.blob([(20, 44), (30, 36), (32, 44), (24, 54)], (255, 150, 140), 0)
    green: Colour = (60, 150, 40)
    star = [(50 + r * math.cos(a), 28 + 0.55 * r * math.sin(a)) for a, r in _star(5, 30, 9)]
    pen.poly(star, green)
    pen.limb([(50, 26), (54, 10)], 5, green)


def onion(pen: Pen) -> None:
    skin: Colour = (176, 60, 120)
    pen.line([(44, 92), (38, 98)], 2.4, (220, 200, 150))
    pen.line([(56, 92), (62, 98)], 2.4, (220, 200, 150))
    pen.blob([(50, 26), (66, 36), (88, 50), (90, 72), (70, 92), (50, 95), (30, 92), (10, 72), (12, 50), (34, 36)], skin)
    for x in (-26, -10, 10, 26):
        pen.line(
            smooth([(50 + x * 0.2, 30), (50 + x * 1.15, 60), (50 + x * 0.4, 92)], closed=False), 2.6, (226, 130, 180)
        )
    pen.poly([(42, 34), (47, 4), (52, 16), (57, 6), (58, 34)], (226, 190, 110))


def potato(pen: Pen) -> None:
    pen.blob(
        [(10, 66), (14, 42), (36, 30), (60, 36), (84, 40), (94, 60), (86, 84), (62, 92), (36, 90), (18, 84)],
        (200, 160, 90),
    )
    for x, y in ((30, 50), (54, 48), (74, 58), (42, 70), (66, 78), (26, 74)):
        pen.ellipse((x - 3, y - 2, x + 4, y + 2), (120, 86, 44), 0)
    pen.blob([(22, 46), (34, 38), (44, 38), (30, 50)], (228, 194, 128), 0)


def carrot(pen: Pen) -> None:
    green: Colour = (50, 160, 50)
    for tip in ((92, 26), (84, 9), (66, 6), (92, 42)):
        pen.limb([(66, 38), tip], 7, green)
    pen.blob([(54, 34), (72, 36), (78, 52), (62, 70), (34, 86), (4, 96), (12, 76), (30, 50)], (250, 120, 20))
    for a, b in (((48, 44), (58, 54)), ((32, 58), (43, 68)), ((54, 72), (46, 66)), ((20, 74), (28, 80))):
        pen.line([a, b], 2.6, (190, 76, 0))


def rope(pen: Pen) -> None:
    tan: Colour = (226, 196, 130)
    pen.limb(smooth([(76, 78), (90, 88), (98, 92)], closed=False), 9, tan)
    for k, inset in enumerate((0, 12, 24)):
        pen.ellipse((4 + inset, 34 + inset * 0.62, 90 - inset, 94 - inset * 0.62), tan if k != 1 else (208, 174, 104))
    pen.ellipse((34, 55, 60, 73), (70, 56, 44))
    for k in range(22):
        a = 2 * math.pi * k / 22
        x, y = math.cos(a), math.sin(a)
        pen.line(
            [(47 + 41 * x, 64 + 28 * y), (47 + 33 * math.cos(a + 0.2), 64 + 22 * math.sin(a + 0.2))],
            1.8,
            (150, 112, 60),
        )


def wood(pen: Pen) -> None:
    pen.poly([(2, 70), (86, 70), (98, 58), (98, 76), (86, 92), (2, 92)], (140, 84, 40))
    pen.poly([(2, 70), (16, 54), (98, 54), (86, 70)], (206, 142, 76))
    pen.poly([(2, 44), (84, 44), (96, 32), (96, 50), (84, 66), (2, 66)], (150, 92, 44))
    pen.poly([(2, 44), (16, 28), (96, 28), (84, 44)], (222, 158, 88))
    for y, x0, x1 in ((52, 8, 60), (59, 24, 78), (77, 10, 70), (85, 20, 80)):
        pen.line([(x0, y), (x1, y)], 2, (104, 58, 24))
    pen.line([(24, 36), (70, 36)], 2, (170, 110, 54))
    pen.ellipse((36, 52, 48, 60), (104, 58, 24), 0)


def bread(pen: Pen) -> None:
    crust: Colour = (214, 138, 50)
    pen.blob([(3, 64), (10, 42), (34, 34), (66, 34), (90, 42), (97, 64), (92, 88), (66, 93), (34, 93), (8, 88)], crust)
    for x in (22, 44, 66):
        pen.blob([(x, 42), (x + 9, 38), (x + 14, 54), (x + 5, 60)], (255, 226, 160), 1.6, (150, 84, 20))
    pen.line(smooth([(10, 80), (40, 87), (88, 80)], closed=False), 3, (160, 90, 26))


def clay(pen: Pen) -> None:
    grey: Colour = (150, 156, 164)
    pen.rect((2, 84, 98, 95), (110, 80, 50), 3)
    pen.blob([(14, 84), (14, 60), (26, 40), (40, 30), (58, 36), (74, 34), (86, 54), (88, 84)], grey)
    pen.blob([(28, 54), (36, 46), (42, 54), (34, 62)], (120, 126, 134), 0)
    pen.blob([(54, 60), (64, 52), (70, 62), (60, 70)], (120, 126, 134), 0)
    pen.line(smooth([(46, 42), (54, 46), (62, 42)], closed=False), 2.6, (110, 114, 122))


def cloth(pen: Pen) -> None:
    pink: Colour = (250, 140, 180)
    pen.blob(
        [
            (4, 50),
            (24, 42),
            (50, 50),
            (76, 40),
            (96, 48),
            (90, 68),
            (98, 90),
            (72, 86),
            (48, 95),
            (26, 86),
            (4, 92),
            (10, 70),
        ],
        pink,
    )
    for k in (24, 48, 72):
        pen.line(smooth([(k, 46), (k - 3, 68), (k, 88)], closed=False), 5, WHITE)
    pen.line(smooth([(9, 62), (50, 66), (92, 60)], closed=False), 4, WHITE)
    pen.line(smooth([(8, 80), (50, 82), (94, 78)], closed=False), 4, WHITE)


def plant(pen: Pen) -> None:
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


def flower(pen: Pen) -> None:
    green: Colour = (60, 160, 60)
    pen.limb(smooth([(50, 50), (48, 74), (52, 94)], closed=False), 6, green)
    pen.blob([(50, 88), (66, 72), (92, 70), (74, 88)], green)
    pen.blob([(50, 92), (34, 76), (8, 74), (26, 92)], green)
    for k in range(7):
        a = 2 * math.pi * k / 7
        x, y = 50 + 23 * math.cos(a), 38 + 22 * math.sin(a)
        pen.ellipse((x - 15, y - 14, x + 15, y + 14), (250, 70, 200))
    pen.ellipse((35, 23, 65, 53), (255, 220, 40))


def fish(pen: Pen) -> None:
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


def _star(points: int, outer: float, inner: float) -> list[tuple[float, float]]:
    return [(math.pi * k / points - math.pi / 2, outer if k % 2 == 0 else inner) for k in range(2 * points)]

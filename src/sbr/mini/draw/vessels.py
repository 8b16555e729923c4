"""Drawings of the nouns that hold something.

One function a noun, in a box of 100 x 100 units, standing on y = 94.
"""

from __future__ import annotations

from typing import Literal

from sbr.mini.draw.pen import Colour, Pen, lighter, smooth

State = Literal["whole", "open", "lid", "slit", "cut"]
"""whole; open (without its lid); the lid alone; slit (one cut); cut (three cuts)."""

WHITE: Colour = (246, 244, 236)
DARK: Colour = (46, 34, 34)


def cup(pen: Pen, state: State) -> None:
    body: Colour = (250, 200, 30)
    pen.limb(smooth([(70, 40), (92, 42), (92, 70), (68, 74)], closed=False), 7, body)
    pen.poly([(16, 26), (22, 88), (28, 94), (64, 94), (70, 88), (76, 26)], body)
    pen.ellipse((16, 16, 76, 36), lighter(body))
    pen.ellipse((22, 20, 70, 34), (110, 66, 40))
    pen.line([(19, 56), (73, 56)], 6, WHITE)


def paint(pen: Pen, state: State) -> None:
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


def glue(pen: Pen, state: State) -> None:
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


def oil(pen: Pen, state: State) -> None:
    gold: Colour = (214, 176, 20)
    green: Colour = (40, 90, 30)
    if state == "lid":
        pen.rect((34, 34, 66, 66), green, 5)
        return
    half = [(41.0, 22.0), (41, 34), (22, 52), (19, 88), (26, 95)]
    pen.blob([*half, *((100 - x, y) for x, y in reversed(half))], gold)
    pen.rect((24, 58, 76, 86), (250, 246, 200), 3)
    pen.blob([(50, 60), (61, 72), (50, 83), (39, 72)], (110, 140, 30), 1.5)
    if state == "open":
        pen.rect((40, 12, 60, 26), gold, 2)
        pen.ellipse((40, 8, 60, 16), DARK)
    else:
        pen.rect((38, 3, 62, 25), green, 4)


def milk(pen: Pen, state: State) -> None:
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


def water(pen: Pen, state: State) -> None:
    glass: Colour = (150, 214, 255)
    pen.limb(smooth([(70, 34), (94, 36), (92, 72), (70, 74)], closed=False), 5, glass)
    pen.poly([(12, 18), (24, 30), (20, 88), (28, 95), (68, 95), (76, 88), (72, 22), (70, 16)], (196, 232, 255))
    pen.poly([(23, 44), (21, 86), (29, 92), (67, 92), (74, 86), (72, 44)], (50, 140, 245), 0)
    pen.ellipse((23, 38, 72, 50), (120, 190, 255), 1.5)
    pen.line([(34, 56), (33, 82)], 5, (190, 225, 255))


def box(pen: Pen, state: State) -> None:
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


def fridge(pen: Pen, state: State) -> None:
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


def toolbox(pen: Pen, state: State) -> None:
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


def bowl(pen: Pen, state: State) -> None:
    teal: Colour = (20, 160, 150)
    pen.rect((34, 86, 66, 95), (10, 110, 104), 2)
    pen.poly(smooth([(3, 46), (12, 72), (34, 90), (66, 90), (88, 72), (97, 46)], closed=False), teal)
    pen.line(smooth([(9, 64), (30, 74), (70, 74), (91, 64)], closed=False), 5, WHITE)
    pen.ellipse((3, 32, 97, 60), (90, 210, 200))
    pen.ellipse((12, 37, 88, 57), (240, 228, 180))


def pot(pen: Pen, state: State) -> None:
    navy: Colour = (36, 60, 140)
    pen.limb([(14, 52), (2, 52), (2, 62), (14, 62)], 5, (30, 30, 34))
    pen.limb([(86, 52), (98, 52), (98, 62), (86, 62)], 5, (30, 30, 34))
    pen.poly([(12, 38), (12, 86), (22, 95), (78, 95), (88, 86), (88, 38)], navy)
    for x, y in ((26, 60), (44, 70), (62, 60), (76, 76), (30, 82), (54, 86)):
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), WHITE, 0)
    pen.ellipse((12, 24, 88, 52), (200, 206, 216))
    pen.ellipse((19, 28, 81, 49), (70, 70, 84))


def pan(pen: Pen, state: State) -> None:
    pen.limb([(62, 46), (93, 10)], 9, (150, 40, 30))
    pen.poly([(2, 64), (10, 86), (24, 95), (66, 95), (80, 86), (88, 64)], (40, 40, 46))
    pen.ellipse((2, 40, 88, 84), (66, 66, 74))
    pen.ellipse((10, 46, 80, 78), (24, 24, 28))
    pen.line(smooth([(20, 64), (28, 55), (44, 51)], closed=False), 3.4, (120, 120, 130))


def generic_lid(pen: Pen) -> None:
    pen.ellipse((44, 26, 56, 38), (60, 60, 66))
    pen.ellipse((12, 36, 88, 62), (170, 176, 186))

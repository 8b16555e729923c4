"""Arm, tools and what stands on the table besides the nouns.  Sizes are pixels of the frame."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from PIL import Image

from sbr.mini.draw.belongings import owned_tool
from sbr.mini.draw.pen import INK, Colour, Pen, Point, Sprite, mix, shaded, smooth

Pose = Literal["grip", "flat", "fist"]
Tool = Literal["basin", "board", "burner", "mat", "spoon", "tap"]

SKINS: tuple[Colour, ...] = ((250, 212, 180), (236, 186, 146), (206, 150, 106), (156, 104, 70), (104, 66, 46))
SLEEVES: tuple[Colour, ...] = (
    (60, 80, 150), (170, 60, 60), (70, 120, 80), (90, 90, 96), (200, 160, 60), (120, 80, 140), (220, 220, 220),
    (40, 120, 130),
)  # fmt: skip
MATS: tuple[Colour, ...] = ((60, 110, 190), (190, 60, 80), (60, 140, 90))
STEEL: Colour = (200, 208, 216)

_ARM_SCALE = 0.9
HAND: Point = (40 * _ARM_SCALE, 40 * _ARM_SCALE)
"""Where in the picture of an arm the hand holds."""


_FINGERS: dict[Pose, tuple[tuple[Point, ...], ...]] = {
    "grip": (
        ((58, 44), (40, 26), (24, 26)), ((56, 50), (34, 36), (16, 38)), ((56, 58), (34, 48), (17, 52)),
        ((60, 66), (40, 60), (24, 65)), ((66, 72), (56, 80), (40, 82)),
    ),
    "flat": (
        ((58, 44), (36, 36), (14, 36)), ((56, 50), (34, 45), (8, 46)), ((56, 57), (36, 54), (12, 57)),
        ((60, 64), (40, 63), (20, 67)), ((62, 42), (52, 26), (42, 20)),
    ),
    "fist": (
        ((60, 42), (38, 32), (30, 40)), ((58, 48), (32, 40), (28, 48)), ((58, 56), (32, 49), (30, 56)),
        ((62, 64), (38, 58), (34, 64)), ((64, 46), (46, 36), (40, 46)),
    ),
}  # fmt: skip


@lru_cache(maxsize=256)
def arm(pose: Pose, skin: int, sleeve: int) -> Sprite:
    """A right arm that comes from the lower right; the hand holds at `HAND`."""
    pen = Pen((210, 230))
    flesh, cloth = SKINS[skin % len(SKINS)], SLEEVES[sleeve % len(SLEEVES)]
    wrist, cuff, elbow = (66.0, 62.0), (92.0, 96.0), (196.0, 232.0)
    pen.line([cuff, elbow], 42)
    pen.line([cuff, elbow], 38, cloth)
    pen.line([(106, 102), (200, 224)], 6, mix(cloth, (0, 0, 0), 0.25))
    limbs = [((wrist, cuff), 22.0), *((finger, 10.0) for finger in _FINGERS[pose])]
    for points, width in limbs:
        pen.line(points, width + 3.2, INK)
    pen.ellipse((46.4, 38.4, 79.6, 77.6), INK, 0)
    for points, width in limbs:
        pen.line(points, width, flesh)
    pen.ellipse((48, 40, 78, 76), flesh, 0)
    for finger in _FINGERS[pose]:
        (x0, y0), (x1, y1), (x2, y2) = finger
        shade = mix(flesh, (60, 20, 10), 0.45)
        pen.line([((x0 + x1) / 2, (y0 + y1) / 2 + 5), (x1, y1 + 5), (x2, y2 + 5)], 1.3, shade)
        pen.ellipse((x2 - 4, y2 - 3, x2 + 1, y2 + 2), mix(flesh, (255, 255, 255), 0.45), 0)
    pen.line([(80, 108), (106, 86)], 12)
    pen.line([(80, 108), (106, 86)], 9, mix(cloth, (255, 255, 255), 0.25))
    return pen.image.resize((round(210 * _ARM_SCALE), round(230 * _ARM_SCALE)), Image.Resampling.LANCZOS)


@lru_cache(maxsize=8)
def knife() -> Sprite:
    """Blade to the left, handle to the upper right; the hand holds at (70, 18)."""
    pen = Pen((92, 50))
    pen.poly([(60, 14), (64, 30), (30, 44), (10, 46), (3, 43)], STEEL, 2)
    pen.line([(62, 26), (24, 42)], 1.6, (250, 252, 255))
    pen.limb([(62, 22), (86, 10)], 8, (70, 44, 30), 2)
    return pen.finished()


@lru_cache(maxsize=8)
def spoon(angle: int) -> Sprite:
    """The part of a wooden spoon that sticks out of a dish, leaning by `angle` degrees against the clock."""
    pen = Pen((32, 104))
    pen.limb([(16, 8), (16, 78)], 5, (206, 150, 84), 2)
    pen.ellipse((5, 70, 27, 102), (206, 150, 84), 2)
    pen.ellipse((9, 76, 23, 97), (170, 116, 60), 0)
    turned = pen.image.rotate(angle, Image.Resampling.BICUBIC, expand=True) if angle else pen.image
    dry = turned.crop((0, 0, turned.width, turned.height - 18 * pen.scale))
    return dry.reduce(pen.scale)


@lru_cache(maxsize=8)
def tap() -> Sprite:
    """Water comes out at (23, 50)."""
    pen = Pen((86, 56))
    pen.limb(smooth([(84, 10), (50, 8), (26, 16), (23, 40)], closed=False), 13, STEEL, 2)
    pen.rect((13, 38, 33, 50), mix(STEEL, (0, 0, 0), 0.2), 2, 2)
    pen.limb([(58, 2), (58, 12)], 5, (214, 50, 50), 2)
    return shaded(pen.finished())


@lru_cache(maxsize=8)
def hose() -> Sprite:
    """Like `tap`, for a garden: the water comes out at (23, 50)."""
    pen = Pen((86, 56))
    pen.limb(smooth([(86, 4), (60, 14), (40, 10), (27, 26)], closed=False), 12, (40, 140, 60), 2)
    pen.poly([(16, 28), (36, 24), (34, 50), (12, 50)], (240, 190, 40), 2)
    return pen.finished()


@lru_cache(maxsize=8)
def basin() -> Sprite:
    """Pool of water below the tap, 134 x 52."""
    pen = Pen((134, 52))
    pen.ellipse((1, 1, 133, 51), (170, 178, 186), 2)
    pen.ellipse((8, 6, 126, 46), (90, 175, 240), 1.6, (30, 100, 200))
    pen.ellipse((26, 14, 108, 40), (130, 205, 255), 0)
    return pen.finished()


@lru_cache(maxsize=8)
def burner() -> Sprite:
    """A camping stove seen from above the front, 116 x 36."""
    pen = Pen((116, 36))
    pen.ellipse((1, 4, 115, 35), (50, 50, 56), 2)
    pen.ellipse((14, 8, 102, 29), (110, 30, 14), 2)
    pen.ellipse((30, 12, 86, 25), (230, 90, 20), 0)
    return pen.finished()


@lru_cache(maxsize=64)
def tumbler(fill: int, colour: Colour) -> Sprite:
    """A glass bowl, 64 x 52, `fill` eighths full."""
    pen = Pen((64, 52))
    pen.blob([(4, 8), (8, 34), (20, 50), (44, 50), (56, 34), (60, 8)], (214, 236, 244, 150), 2)
    top = 44 - 4.2 * fill
    if fill:
        half = 20 + 0.9 * fill
        low, surface = 0.86 * half, (32 - half, top - 4, 32 + half, top + 4)
        pen.blob([(32 - half, top), (32 - low, 38), (22, 48), (42, 48), (32 + low, 38), (32 + half, top)], colour, 0)
        pen.ellipse(surface, mix(colour, (255, 255, 255), 0.3), 1.2, mix(colour, INK, 0.4))
    pen.ellipse((3, 2, 61, 14), (230, 244, 250, 70), 2)
    pen.line([(12, 18), (16, 34)], 2.6, (255, 255, 255, 230))
    return pen.finished()


@lru_cache(maxsize=8)
def mat(kind: int) -> Sprite:
    """The spot where things are put: a round woven mat, 132 x 58."""
    a, b = (246, 240, 226), MATS[kind % len(MATS)]
    pen = Pen((132, 58))
    for k in range(5):
        x, y = 13 * k, 5.6 * k
        pen.ellipse((1 + x, 1 + y, 131 - x, 57 - y), b if k % 2 == 0 else a, 1.6 if k == 0 else 0)
    return pen.finished()


@lru_cache(maxsize=8)
def board() -> Sprite:
    """A cutting board, 146 x 60."""
    pen = Pen((146, 60))
    pen.poly([(20, 2), (126, 2), (144, 46), (144, 54), (2, 54), (2, 46)], (236, 200, 140), 2)
    pen.poly([(2, 46), (144, 46), (144, 56), (2, 56)], (190, 146, 88), 2)
    for x0, x1 in ((38, 26), (74, 73), (108, 120)):
        pen.line([(x0, 6), (x1, 42)], 1.6, (212, 170, 108))
    return pen.finished()


_TOOLS: dict[Tool, Callable[[int], Sprite]] = {
    "basin": lambda _: basin(), "board": lambda _: board(), "burner": lambda _: burner(), "mat": mat, "spoon": spoon,
    "tap": lambda _: tap(),
}  # fmt: skip


@lru_cache(maxsize=256)
def tool(kind: Tool, variant: int, household: int) -> Sprite:
    """A household's tool; `variant` is the kind of a mat and the angle of a spoon."""
    return owned_tool(_TOOLS[kind](variant), kind, household)

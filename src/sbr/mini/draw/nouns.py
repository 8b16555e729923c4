"""Sprites of the 24 nouns in every state, size, angle and variant of colour."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from PIL import Image

from sbr.mini.draw import goods, vessels
from sbr.mini.draw.belongings import belonging, brightened, printed, shaped
from sbr.mini.draw.pen import Colour, Pen, Sprite, recoloured, shaded, sliced
from sbr.mini.draw.vessels import WHITE, State

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

_VESSELS: dict[str, Callable[[Pen, State], None]] = {
    "cup": vessels.cup, "paint": vessels.paint, "glue": vessels.glue, "oil": vessels.oil, "milk": vessels.milk,
    "water": vessels.water, "box": vessels.box, "fridge": vessels.fridge, "toolbox": vessels.toolbox,
    "bowl": vessels.bowl, "pot": vessels.pot, "pan": vessels.pan,
}  # fmt: skip
_GOODS: dict[str, Callable[[Pen], None]] = {
    "tomato": goods.tomato, "onion": goods.onion, "potato": goods.potato, "carrot": goods.carrot, "rope": goods.rope,
    "wood": goods.wood, "bread": goods.bread, "clay": goods.clay, "cloth": goods.cloth, "plant": goods.plant,
    "flower": goods.flower, "fish": goods.fish,
}  # fmt: skip
LIDDED = ("paint", "glue", "oil", "milk", "box", "fridge", "toolbox")
"""Nouns whose lid, cap or door is drawn on its own."""


@lru_cache(maxsize=256)
def _master(noun: str, state: State) -> Sprite:
    if state in ("slit", "cut"):
        return sliced(_master(noun, "whole"), INSIDE.get(noun, WHITE), 1 if state == "slit" else 3)
    pen = Pen()
    if state == "lid" and noun not in LIDDED:
        vessels.generic_lid(pen)
    elif noun in _VESSELS:
        _VESSELS[noun](pen, state)
    else:
        _GOODS[noun](pen)
    return shaded(pen.image)


_STYLES = ((0.0, 1.0), (0.16, 0.92), (-0.16, 0.95), (0.06, 0.78), (-0.08, 1.12))
"""(turn of the hue in radians, saturation): no two kitchens buy the same cup."""
STYLES = len(_STYLES)


@lru_cache(maxsize=512)
def _owned(noun: str, state: State, household: int) -> Sprite:
    return printed(_master(noun, state), noun, household)


@lru_cache(maxsize=8000)
def noun_sprite(
    noun: str,
    state: State,
    size: int,
    angle: int = 0,
    style: int = 0,
    hot: bool = False,
    household: int = 0,
) -> Sprite:
    """A household's noun, `size` pixels wide and high, turned by `angle` degrees against the clock (in steps of 5)."""
    own = belonging(noun, household)
    image = _owned(noun, state, household).resize((size, size), Image.Resampling.LANCZOS, reducing_gap=2.0)
    image = brightened(shaped(image, own), own.brightness)
    if angle:
        image = image.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    hue, saturation = _STYLES[style]
    hue += own.hue
    if hue or saturation != 1.0 or hot:
        image = recoloured(image, hue, saturation, (255, 70, 20) if hot else None)
    return image

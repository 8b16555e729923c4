"""What an environment looks like: hand, colours, background and the things that stand around."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from sbr.mini.draw.nouns import STYLES, noun_sprite
from sbr.mini.draw.pen import Pen, soft_disc
from sbr.mini.draw.places import EXTENT, MARGIN, PLACES
from sbr.mini.draw.props import MATS, SKINS, SLEEVES
from sbr.mini.world import NOUNS, Environment


@dataclass(frozen=True, slots=True)
class Look:
    """What an environment's seed decides besides the background."""

    mirrored: bool
    """The arm comes from the left."""
    skin: int
    sleeve: int
    style: int
    """Variant of the objects' colours."""
    mat: int
    horizon: int
    """Row where the wall ends and the table begins."""
    scale: float
    """Size of the objects: how near the head is."""
    cast: tuple[float, float, float]
    """Colour of the light."""
    household: int
    """Whose belongings; 0: what everybody buys."""


@lru_cache(maxsize=512)
def look(environment: Environment) -> Look:
    rng = random.Random(f"look/{environment.seed}")
    warmth = rng.uniform(-0.07, 0.07)
    return Look(
        mirrored=rng.random() < 0.4,
        skin=rng.randrange(len(SKINS)),
        sleeve=rng.randrange(len(SLEEVES)),
        style=rng.randrange(STYLES),
        mat=rng.randrange(len(MATS)),
        horizon=MARGIN + rng.randint(30, 54),
        scale=rng.uniform(0.92, 1.06),
        cast=(1.0 + warmth, 1.0 + rng.uniform(-0.02, 0.02), 1.0 - warmth),
        household=environment.household,
    )


@lru_cache(maxsize=256)
def _empty(environment: Environment) -> Image.Image:
    """The place without any object, EXTENT x EXTENT, RGB."""
    pen = Pen((EXTENT, EXTENT), scale=2)
    rng = random.Random(f"scene/{environment.seed}")
    PLACES[environment.place](pen, rng, look(environment).horizon)
    image = pen.image.convert("RGB").reduce(2)
    # Light falls off towards one side.
    values = np.asarray(image).astype(np.float32)
    fall = np.linspace(1.06, 0.86, EXTENT, dtype=np.float32)
    values *= (fall if rng.random() < 0.5 else fall[::-1])[None, :, None]
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8), "RGB")


def clutter(environment: Environment, busy: tuple[str, ...]) -> tuple[str, ...]:
    """Nouns that stand around in this environment; those that the task needs (`busy`) are left out."""
    order = list(NOUNS)
    random.Random(f"clutter/{environment.seed}").shuffle(order)
    return tuple(noun for noun in order if noun not in busy)[: environment.clutter]


@lru_cache(maxsize=512)
def background(environment: Environment, around: tuple[str, ...]) -> Image.Image:
    """The place with the distractors `around`, EXTENT x EXTENT, RGB; treat it as read-only."""
    image = _empty(environment).copy()
    rng = random.Random(f"around/{environment.seed}")
    top, style = look(environment).horizon, look(environment).style
    slots = [(26, top + 8), (EXTENT - 26, top + 4), (24, EXTENT - 40), (EXTENT // 2, top - 6)]
    rng.shuffle(slots)
    for noun, (x, y) in zip(around, slots, strict=False):
        size = rng.randint(34, 42)
        left, upper = x + rng.randint(-5, 5) - size // 2, y + rng.randint(-4, 4) - size // 2
        shadow = soft_disc(size, size // 3, (20, 16, 20), 120)
        image.paste(shadow, (left, upper + size - size // 4), shadow)
        sprite = noun_sprite(noun, "whole", size, 0, style, household=environment.household)
        image.paste(sprite, (left, upper), sprite)
    return image

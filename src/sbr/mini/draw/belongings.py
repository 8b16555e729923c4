"""What a household's own things look like: other colours, prints and shapes than those of the ordinary shop.

Every kitchen of training and L1 buys in the same shop (`household` 0).  In L2 each household has its own cup, its own
bowl, its own board.  A thing keeps what it is known by (outline, parts, what is poured out of it, what cutting does to
it); colour, pattern, proportions and the side it faces are its owner's.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from sbr.mini.draw.pen import Sprite, recoloured

MADE = frozenset(
    ("cup", "paint", "glue", "oil", "milk", "water", "box", "fridge", "toolbox", "rope", "bowl", "pot", "pan", "cloth")
)
"""Nouns that come out of a factory; the others grow, and vary less."""

MADE_HUE, GROWN_HUE, TOOL_HUE = 3.0, 0.35, 1.2
"""Largest turn of the hue in radians; a turn is never less than 0.45 of it (tools: 0.4)."""
BRIGHTNESS = 0.5
"""Largest log2 of the gain of made things; grown ones half of it."""
TOOL_BRIGHTNESS = 1.2
ASPECT = 0.2
"""Largest log of how much narrower or lower a thing is; never less than half of it."""
PRINTED = 0.4
"""Share of made things with a pattern."""
PATTERNS = 4
INK_LIMIT = 75
"""Pixels whose brightest channel is below are outlines: no pattern covers them."""


@dataclass(frozen=True, slots=True)
class Belonging:
    """How one household's thing differs from the shop's; the defaults are the shop's."""

    hue: float = 0.0
    """Radians."""
    brightness: float = 1.0
    """Gain of a gamma curve: black and white stay."""
    width: float = 1.0
    height: float = 1.0
    """Factors, at most 1."""
    flipped: bool = False
    pattern: int = 0
    """0: none, or 1 to PATTERNS."""


@lru_cache(maxsize=2000)
def belonging(noun: str, household: int) -> Belonging:
    """A household's `noun`; household 0 owns what the shop sells."""
    if not household:
        return Belonging()
    rng = random.Random(f"belonging/{household}/{noun}")
    made = noun in MADE
    hue = rng.choice((-1, 1)) * rng.uniform(0.45, 1.0) * (MADE_HUE if made else GROWN_HUE)
    brightness = 2.0 ** (rng.uniform(-1, 1) * (BRIGHTNESS if made else 0.5 * BRIGHTNESS))
    ratio = rng.choice((-1, 1)) * rng.uniform(0.5, 1.0) * ASPECT
    flipped = rng.random() < 0.5
    printed = rng.random() < PRINTED and made
    pattern = rng.randint(1, PATTERNS) if printed else 0
    return Belonging(hue, brightness, min(1.0, math.exp(ratio)), min(1.0, math.exp(-ratio)), flipped, pattern)


def printed(image: Sprite, noun: str, household: int) -> Sprite:
    """The drawing with the household's pattern on it, where it has one."""
    pattern = belonging(noun, household).pattern
    if not pattern:
        return image
    width, height = image.size
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    rng = random.Random(f"print/{household}/{noun}")
    colour = (*(rng.choice((30, 60, 180, 240, 250)) for _ in range(3)), 215)
    step = width // rng.randint(5, 7)
    rows = list(enumerate(range(0, height, step)))
    if pattern == 1:
        for _, y in rows:
            pen.rectangle((0, y + step // 2, width, y + step - 1), fill=colour)
    elif pattern == 2:
        for x in range(step // 2, width, step):
            pen.rectangle((x, 0, x + step // 2, height), fill=colour)
    elif pattern == 3:
        for row, y in rows:
            for x in range(-(row % 2) * step // 2, width, step):
                pen.ellipse((x, y, x + step * 0.6, y + step * 0.6), fill=colour)
    else:
        for row, y in rows:
            for x in range((row % 2) * step, width, 2 * step):
                pen.rectangle((x, y, x + step, y + step), fill=colour)
    values = np.asarray(image)
    body = (values[..., 3] > 200) & (values[..., :3].max(axis=-1) > INK_LIMIT)
    layer.putalpha(Image.fromarray(np.where(body, np.asarray(layer)[..., 3], 0).astype(np.uint8)))
    return Image.alpha_composite(image, layer)


def shaped(image: Sprite, own: Belonging) -> Sprite:
    """Narrower or lower, standing on the same line, perhaps facing the other way; the size of the picture stays."""
    width, height = round(image.width * own.width), round(image.height * own.height)
    if own.flipped:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if (width, height) == image.size:
        return image
    out = Image.new("RGBA", image.size, (0, 0, 0, 0))
    small = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    out.paste(small, ((image.width - width) // 2, image.height - height))
    return out


def brightened(image: Sprite, gain: float) -> Sprite:
    """A gamma curve: mid-tones times about `gain`, while outlines stay dark and white stays white."""
    if gain == 1.0:
        return image
    values = np.asarray(image).astype(np.float32)
    values[..., :3] = 255.0 * (values[..., :3] / 255.0) ** (1.0 / gain)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8), "RGBA")


def owned_tool(image: Sprite, kind: str, household: int) -> Sprite:
    """A household's own board, mat, burner, ... from the shop's."""
    if not household:
        return image
    rng = random.Random(f"tool/{household}/{kind}")
    hue = rng.choice((-1, 1)) * rng.uniform(0.4, 1.0) * TOOL_HUE
    gain = 2.0 ** rng.uniform(-TOOL_BRIGHTNESS, TOOL_BRIGHTNESS)
    return recoloured(brightened(image, gain), hue, rng.uniform(0.5, 1.3))

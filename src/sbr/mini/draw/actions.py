"""How each of the nine verbs looks: one function a verb, which puts sprites on a canvas for a moment t in [0, 1].

Every verb has to be readable from its first half alone and from its second half alone: a model sees single frames.
All scenes are drawn right-handed; left-handed places are mirrored as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image

from sbr.mini.draw import effects, props
from sbr.mini.draw.nouns import LIQUID, State, noun_sprite
from sbr.mini.draw.pen import Colour, Sprite, soft_disc
from sbr.mini.draw.scenes import Look

SHADOW: Colour = (20, 16, 20)


@dataclass(frozen=True, slots=True)
class Stage:
    """A canvas and where the object stands on it: (x, y) is its middle, `size` its width and height in pixels."""

    canvas: Image.Image
    noun: str
    look: Look
    x: float
    y: float
    size: int
    outdoors: bool
    phase: int
    """Frame number inside the action; drives what flickers."""

    @property
    def base(self) -> float:
        """Row where the object touches the table."""
        return self.y + 0.44 * self.size

    @property
    def top(self) -> float:
        return self.y - 0.44 * self.size

    def paste(self, sprite: Sprite, x: float, y: float) -> None:
        """Put the middle of a sprite at (x, y)."""
        self.canvas.paste(sprite, (round(x - sprite.width / 2), round(y - sprite.height / 2)), sprite)

    def thing(
        self,
        state: State = "whole",
        dx: float = 0,
        dy: float = 0,
        grow: float = 1.0,
        angle: float = 0,
        hot: bool = False,
    ) -> None:
        size = max(8, 3 * round(self.size * grow / 3))
        sprite = noun_sprite(self.noun, state, size, 5 * round(angle / 5), self.look.style, hot, self.look.household)
        self.paste(sprite, self.x + dx, self.y + dy)

    def tool(self, kind: props.Tool, variant: int = 0) -> Sprite:
        return props.tool(kind, variant, self.look.household)

    def shadow(self, dx: float = 0, grow: float = 1.0, dark: float = 130) -> None:
        wide = 6 * round(self.size * 1.05 * grow / 6)
        self.paste(soft_disc(wide, wide // 3, SHADOW, 10 * round(dark / 10)), self.x + dx, self.base - 1)

    def arm(self, pose: props.Pose, x: float, y: float) -> None:
        """The hand holds at (x, y)."""
        sprite = props.arm(pose, self.look.skin, self.look.sleeve)
        self.canvas.paste(sprite, (round(x - props.HAND[0]), round(y - props.HAND[1])), sprite)


def ease(t: float, start: float, stop: float) -> float:
    """0 before `start`, 1 after `stop`, smooth between.

    >>> ease(0.5, 0.0, 1.0)
    0.5
    """
    u = min(1.0, max(0.0, (t - start) / (stop - start)))
    return u * u * (3 - 2 * u)


def take(s: Stage, t: float, hand: bool) -> None:
    up = ease(t, -0.35, 0.9)
    s.paste(effects.lifted(), s.x, s.base - 4)
    s.shadow(grow=1 - 0.3 * up, dark=120 - 50 * up)
    dy, grow = -26 * up, 1 + 0.2 * up
    s.thing(dy=dy, dx=-4 * up, grow=grow)
    if hand:
        s.arm("grip", s.x + 0.36 * s.size * grow, s.y + dy + 0.1 * s.size)


def put(s: Stage, t: float, hand: bool) -> None:
    down, away = ease(t, -0.2, 0.4), ease(t, 0.45, 1.2)
    s.paste(s.tool("mat", s.look.mat), s.x, s.base - 6)
    dy = -22 * (1 - down)
    s.shadow(grow=0.8 + 0.2 * down, dark=70 + 50 * down)
    s.thing(dy=dy)
    if hand:
        s.arm("grip" if away < 0.05 else "flat", s.x + 0.34 * s.size + 44 * away, s.y - 0.3 * s.size + dy + 40 * away)


_LID_REST: dict[str, tuple[float, float]] = {
    "paint": (0, -0.25), "glue": (0, -0.18), "oil": (0, -0.36), "milk": (-0.01, -0.33), "box": (0, -0.1),
    "fridge": (0, 0), "toolbox": (0, -0.07),
}  # fmt: skip
"""Where the lid of a shut thing sits, as shares of its size from its middle."""
_CAPS = ("glue", "oil", "milk")


def open_(s: Stage, t: float, hand: bool) -> None:
    """The lid tips over and comes off to the side of the hand; light inside."""
    off = ease(t, -0.6, 0.85)
    s = replace(s, x=s.x - 12)
    rest_x, rest_y = (share * s.size for share in _LID_REST.get(s.noun, (0, -0.36)))
    s.shadow()
    s.thing("open")
    if s.noun == "fridge":
        dx, dy, angle, reach = 0.66 * s.size * off, 0.06 * s.size * off, -5 * off, 0.3
    elif s.noun in _CAPS:
        dx, dy, angle, reach = rest_x + 0.4 * s.size * off, rest_y - 0.12 * s.size * off, -35 * off, 0.24
    else:
        dx, dy, angle, reach = rest_x + 0.34 * s.size * off, rest_y - 0.3 * s.size * off, -40 * off, 0.34
    s.paste(effects.rays(), s.x, s.top - 4)
    if hand:
        s.arm("grip", s.x + dx + (reach + 0.12) * s.size, s.y + dy + 0.12 * s.size)
    s.thing("lid", dx, dy, 0.92, angle)


def close(s: Stage, t: float, hand: bool) -> None:
    """A flat hand presses the lid down from straight above (a door: from the side) until it snaps shut."""
    on = ease(t, 0.1, 0.66)
    shut = on > 0.97
    rest_x, rest_y = (share * s.size for share in _LID_REST.get(s.noun, (0, -0.36)))
    s.shadow()
    s.thing("whole" if shut else "open")
    if s.noun == "fridge":
        dx, dy = 0.5 * s.size * (1 - on), 0.0
        hand_x, hand_y = s.x + dx + 0.34 * s.size, s.y + 0.05 * s.size
    else:
        dx, dy = rest_x, rest_y - 0.38 * s.size * (1 - on)
        hand_x, hand_y = s.x + dx + 12, s.y + dy - 0.14 * s.size - 14
    if shut:
        s.paste(effects.pressed(), s.x, s.top + 6)
    else:
        s.thing("lid", dx, dy)
        if s.noun != "fridge":
            s.paste(effects.falling(), s.x - 0.42 * s.size, s.y + dy - 0.3 * s.size)
    if hand:
        s.arm("flat", hand_x, hand_y)


def wash(s: Stage, t: float, hand: bool) -> None:
    rub = 4 * math.sin(2 * math.pi * 1.5 * t)
    s.paste(s.tool("basin"), s.x, s.base - 4)
    s.thing(dx=rub, grow=0.96)
    mouth = 44
    fall = max(16, 8 * round((s.y - 0.22 * s.size - mouth) / 8))
    s.paste(effects.water_fall(fall, s.phase), s.x, mouth + fall / 2)
    s.paste(props.hose() if s.outdoors else s.tool("tap"), s.x + 20, 22)
    s.paste(effects.splash(s.phase), s.x, s.y - 2)
    if hand:
        s.arm("grip", s.x + rub + 0.4 * s.size, s.y + 0.24 * s.size)


def cut(s: Stage, t: float, hand: bool) -> None:
    s.paste(s.tool("board"), s.x, s.base - 10)
    s.shadow(dark=90)
    s.thing("slit" if t < 0.45 else "cut")
    if hand:
        chop = abs(math.sin(math.pi * (2 * t + 0.35)))
        x = s.x + (-0.04 + 0.3 * ease(t, 0.3, 0.8)) * s.size
        y = s.y - 0.28 * s.size - 12 * chop
        s.arm("fist", x + 56, y - 12)
        s.paste(props.knife(), x + 20, y + 4)


_CAPPED = ("paint", "glue", "oil", "milk")
"""What has to be open to be poured."""
_OTHER_LIQUID = (120, 170, 220)


def pour(s: Stage, t: float, hand: bool) -> None:
    tilt = 5 * round((55 + 45 * ease(t, -0.2, 0.8)) / 5)
    colour = LIQUID.get(s.noun, _OTHER_LIQUID)
    gx, gy = s.x - 44, s.base + 4
    s.paste(soft_disc(72, 24, SHADOW, 120), gx, gy + 10)
    dx, dy = 14, -16
    a = math.radians(tilt)
    mx, my = s.x + dx - 0.44 * s.size * math.sin(a), s.y + dy - 0.44 * s.size * math.cos(a)
    long = max(12, 4 * round((gy - my) / 4))
    wide = max(4, 4 * round((mx - gx) / 4))
    s.paste(effects.poured(wide, long, s.phase, colour), gx + wide / 2, my + long / 2)
    s.paste(props.tumbler(1 + round(6 * t), colour), gx, gy - 12)
    s.thing("open" if s.noun in _CAPPED else "whole", dx, dy, 1.0, tilt)
    if hand:
        s.arm("grip", s.x + dx + 0.46 * s.size * math.sin(a), s.y + dy + 0.4 * s.size * math.cos(a) + 6)


def heat(s: Stage, t: float, hand: bool) -> None:
    s.paste(soft_disc(156, 124, (255, 120, 20), 150), s.x, s.y + 14)
    s.paste(s.tool("burner"), s.x, s.base + 2)
    s.thing(dy=-6, hot=t > 0.4)
    s.paste(effects.flames(s.phase % 4), s.x, s.base - 8)
    s.paste(effects.steam(s.phase), s.x, s.top - 22)
    if hand and t < 0.7:
        away = ease(t, 0.1, 0.8)
        s.arm("fist", s.x + 0.62 * s.size + 40 * away, s.base - 2 + 36 * away)


_RIMS: dict[str, tuple[float, float]] = {
    "cup": (-0.04, -0.24), "paint": (0, -0.22), "bowl": (0, -0.04), "pot": (0, -0.12), "pan": (-0.05, 0.12),
}  # fmt: skip
"""Middle of the opening of what is stirred, as shares of the size from the middle."""


def _rim(s: Stage) -> tuple[float, float]:
    dx, dy = _RIMS.get(s.noun, (0, -0.2))
    return s.x + dx * s.size, s.y + 6 + dy * s.size


def stir(s: Stage, t: float, hand: bool) -> None:
    s.shadow()
    s.thing("open" if s.noun == "paint" else "whole", dy=6)
    turn = 2 * math.pi * (1.5 * t + 0.1)
    rim_x, rim_y = _rim(s)
    x, y = rim_x + 0.2 * s.size * math.cos(turn), rim_y + 3 * math.sin(turn)
    s.paste(effects.swirl(s.phase, 6 * round(s.size * 1.1 / 6)), rim_x, rim_y)
    spoon = s.tool("spoon")
    s.paste(spoon, x, y + 2 - spoon.height / 2)
    if hand:
        s.arm("fist", x + 2, y - 64)


VERBS: dict[str, Callable[[Stage, float, bool], None]] = {
    "take": take, "put": put, "open": open_, "close": close, "wash": wash, "cut": cut, "pour": pour, "heat": heat,
    "stir": stir,
}  # fmt: skip


def result(s: Stage, verb: str) -> None:
    """What the action left behind, hand withdrawn."""
    if verb == "take":
        s.shadow(grow=0.8)
        s.thing(grow=1.16)
    elif verb == "put":
        put(s, 1.0, hand=False)
    elif verb == "open":
        s.shadow()
        s.thing("open")
        s.paste(soft_disc(42, 14, SHADOW, 120), s.x + 0.7 * s.size, s.base)
        s.thing("lid", 0.66 * s.size, 0.3 * s.size, 0.6, -20)
    elif verb == "close":
        s.shadow()
        s.thing("whole")
    elif verb == "wash":
        s.paste(s.tool("basin"), s.x, s.base - 4)
        s.thing()
        s.paste(effects.drops(), s.x, s.y)
    elif verb == "cut":
        s.paste(s.tool("board"), s.x, s.base - 10)
        s.thing("cut")
    elif verb == "pour":
        s.shadow(dx=22)
        s.thing("open" if s.noun in _CAPPED else "whole", 22, 0)
        s.paste(soft_disc(72, 24, SHADOW, 120), s.x - 44, s.base + 14)
        s.paste(props.tumbler(7, LIQUID.get(s.noun, _OTHER_LIQUID)), s.x - 44, s.base - 6)
    elif verb == "heat":
        s.paste(s.tool("burner"), s.x, s.base + 2)
        s.thing(dy=-6, hot=True)
        s.paste(effects.steam(3), s.x, s.top - 22)
    elif verb == "stir":
        s.shadow()
        s.thing("open" if s.noun == "paint" else "whole", dy=6)
        spoon, (rim_x, rim_y) = s.tool("spoon", -25), _rim(s)
        s.paste(spoon, rim_x + 16, rim_y + 4 - spoon.height / 2)
    else:
        raise ValueError(f"unknown verb {verb!r}")

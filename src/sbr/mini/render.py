"""Pictures of the miniature world: an egocentric view, 168 x 168, of somebody doing one thing after the other.

Everything is a function of (episode, action, frame number): no state is carried from frame to frame.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageOps

from sbr.mini.draw import actions
from sbr.mini.draw.nouns import noun_sprite
from sbr.mini.draw.pen import soft_disc
from sbr.mini.draw.scenes import MARGIN, background, clutter, look
from sbr.mini.world import FRAMES_PER_ACTION, Action, Environment, Episode

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE = 168
"""Width and height of a frame in pixels."""
OBJECT = 90
"""Usual width and height of the object that is handled."""


def render_action(
    episode: Episode, action: Action, frames: Sequence[int] = range(FRAMES_PER_ACTION)
) -> NDArray[np.uint8]:
    """Frames (numbers 0-7 inside the one-second action) of an action -> frames_THWC (len(frames), 168, 168, 3)."""
    frames_THWC = np.empty((len(frames), SIZE, SIZE, 3), dtype=np.uint8)
    for row, frame in enumerate(frames):
        if not 0 <= frame < FRAMES_PER_ACTION:
            raise ValueError(f"frame {frame} is not inside an action of {FRAMES_PER_ACTION} frames")
        stage = _stage(episode, action, frame)
        actions.VERBS[action.verb](stage, frame / (FRAMES_PER_ACTION - 1), True)
        frames_THWC[row] = _exposed(episode, stage, f"{action}/{frame}")
    return frames_THWC


def render_clip(episode: Episode, done: int, first: int = 0) -> NDArray[np.uint8]:
    """Actions `first` to `done` - 1 one after the other -> frames_THWC (8 * (done - first), 168, 168, 3)."""
    if not 0 <= first <= done <= len(episode.task.steps):
        raise ValueError(f"first is {first}, done is {done}, expected 0 <= first <= done <= {len(episode.task.steps)}")
    parts = [render_action(episode, step) for step in episode.task.steps[first:done]]
    return np.concatenate(parts) if parts else np.empty((0, SIZE, SIZE, 3), dtype=np.uint8)


def render_observation(episode: Episode, done: int) -> NDArray[np.uint8]:
    """What is seen after the first `done` actions, the hand withdrawn -> (168, 168, 3).

    With done = 0 nothing has been touched: the things that the task needs stand in a row.
    """
    if not 0 <= done <= len(episode.task.steps):
        raise ValueError(f"done is {done}, expected 0 to {len(episode.task.steps)}")
    if done:
        action = episode.task.steps[done - 1]
        stage = _stage(episode, action, FRAMES_PER_ACTION - 1)
        actions.result(stage, action.verb)
        return _exposed(episode, stage, f"{action}/after")
    stage = _stage(episode, episode.task.steps[0], 0)
    _set_out(episode, stage)
    return _exposed(episode, stage, "untouched")


def _stage(episode: Episode, action: Action, frame: int) -> actions.Stage:
    """An empty scene and the place of the object on it."""
    environment = episode.environment
    seen = look(environment)
    rng = random.Random(f"{environment.seed}/{episode.seed}/{action}")
    # The head rests somewhere else in every recording and drifts a little during an action.
    home = random.Random(f"{environment.seed}/{episode.seed}")
    drift_x, drift_y = rng.uniform(-0.35, 0.35), rng.uniform(-0.25, 0.25)
    left = MARGIN + home.uniform(-4, 4) + drift_x * (frame - 3.5)
    upper = MARGIN + home.uniform(-4, 4) + drift_y * (frame - 3.5)
    scale = seen.scale * home.uniform(0.96, 1.04)
    box = (round(left), round(upper), round(left) + SIZE, round(upper) + SIZE)
    canvas = background(environment, clutter(environment, episode.task.nouns)).crop(box)
    return actions.Stage(
        canvas=canvas,
        noun=action.noun,
        look=seen,
        x=SIZE / 2 - 2 + rng.uniform(-9, 9) - drift_x * frame,
        y=97 + rng.uniform(-5, 5) - drift_y * frame,
        size=round(OBJECT * scale),
        outdoors=environment.place == "garden",
        phase=frame,
    )


def _set_out(episode: Episode, stage: actions.Stage) -> None:
    """The task's things in one or two rows."""
    nouns = list(episode.task.nouns)
    random.Random(f"set out/{episode.seed}").shuffle(nouns)
    rows = [nouns[0::2], nouns[1::2]] if len(nouns) > 3 else [nouns]
    for row, members in enumerate(rows):
        y = (stage.y - 8 if len(rows) == 1 else 80) + 46 * row
        for k, noun in enumerate(members):
            x = SIZE * (k + 0.5) / len(members) + ((-5 if row else 5) if len(rows) > 1 else 0)
            stage.paste(soft_disc(48, 16, (20, 16, 20), 130), x, y + 22)
            stage.paste(noun_sprite(noun, "whole", 54, 0, stage.look.style, household=stage.look.household), x, y)


@lru_cache(maxsize=64)
def _noise_field(level: int) -> NDArray[np.int16]:
    """Sensor noise of `level` half grey levels, larger than a frame (256, 256, 3)."""
    rng = np.random.default_rng(level)
    luma = rng.normal(0.0, 0.45 * level, (256, 256, 1))
    chroma = rng.normal(0.0, 0.25 * level, (256, 256, 3))
    return np.round(luma + chroma).astype(np.int16)


@lru_cache(maxsize=512)
def _response(environment: Environment) -> list[int]:
    """Table of the camera: brightness and colour of the light, 3 x 256 values."""
    return [
        max(0, min(255, round(value * environment.light * gain)))
        for gain in look(environment).cast
        for value in range(256)
    ]


def _exposed(episode: Episode, stage: actions.Stage, moment: str) -> NDArray[np.uint8]:
    """Light, handedness and sensor noise."""
    canvas = stage.canvas.point(_response(episode.environment))
    if stage.look.mirrored:
        canvas = ImageOps.mirror(canvas)
    rng = random.Random(f"noise/{episode.environment.seed}/{episode.seed}/{moment}")
    x, y = rng.randrange(256 - SIZE), rng.randrange(256 - SIZE)
    values = np.asarray(canvas).astype(np.int16)
    values += _noise_field(round(2 * episode.environment.noise))[y : y + SIZE, x : x + SIZE]
    return np.clip(values, 0, 255, out=values).astype(np.uint8)

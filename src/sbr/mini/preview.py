"""A contact sheet of the miniature world for people."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sbr.files import replace_output
from sbr.mini.render import render_action, render_observation
from sbr.mini.world import L3_TASKS, TRAIN_TASKS, Episode, Task, environments

CELL = 132
MARGIN = 6
CAPTION = 18
COLUMNS = 7
MOMENT = 3
"""Frame of each action that is shown."""
INK = (30, 30, 34)
_LEVELS = {"P": "training and L1", "K": "L2", "E": "L3"}


def write_preview(file: Path) -> None:
    """Write a PNG with one episode for each kind of place: what there is at first, then every action."""
    strips = [_strip(episode) for episode in _episodes()]
    width = MARGIN + COLUMNS * (CELL + MARGIN)
    sheet = Image.new("RGB", (width, sum(strip.height for strip in strips) + MARGIN), "white")
    y = 0
    for strip in strips:
        sheet.paste(strip, (0, y))
        y += strip.height
    png = io.BytesIO()
    palette = sheet.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette.save(png, "PNG", optimize=True)
    replace_output(file, png.getvalue(), b"\x89PNG")


def _episodes() -> list[Episode]:
    """A training kitchen, the same task in an unseen one, and an unseen workshop, studio and garden."""
    fry = _task(TRAIN_TASKS, "fry fish")
    chosen = [Episode(fry, environments("train")[3], 12), Episode(fry, environments("L2")[1], 12)]
    for goal in ("glue wood frame", "paint clay figure", "cook at camp"):
        task = _task(L3_TASKS, goal)
        place = next(place for place in environments("L3") if place.place == task.place)
        chosen.append(Episode(task, place, 12))
    return chosen


def _task(tasks: tuple[Task, ...], goal: str) -> Task:
    return next(task for task in tasks if task.goal == goal)


def _strip(episode: Episode) -> Image.Image:
    steps = episode.task.steps[: COLUMNS - 1]
    level = _LEVELS[episode.environment.env_id[0]]
    title = f"{level}, {episode.environment.place}: {episode.task.goal}  ({episode.task.domain})"
    frames = [render_observation(episode, 0), *(render_action(episode, step, [MOMENT])[0] for step in steps)]
    captions = ["before", *map(str, steps)]
    strip = Image.new("RGB", (MARGIN + COLUMNS * (CELL + MARGIN), CELL + 2 * CAPTION + 2 * MARGIN), "white")
    pen = ImageDraw.Draw(strip)
    pen.text((MARGIN, MARGIN), title, INK, ImageFont.load_default(14))
    for k, (frame, caption) in enumerate(zip(frames, captions, strict=True)):
        x, y = MARGIN + k * (CELL + MARGIN), MARGIN + CAPTION
        strip.paste(Image.fromarray(frame).resize((CELL, CELL), Image.Resampling.LANCZOS), (x, y))
        pen.text((x + CELL / 2, y + CELL + 2), caption, INK, ImageFont.load_default(12), anchor="ma")
    return strip

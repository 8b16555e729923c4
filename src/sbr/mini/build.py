"""Writes SBR-Mini in exactly the layout of the benchmark: annotations/, videos/, images/.

The media come first and the annotations last, so a folder with annotations is complete.  Every file is written under a
temporary name and renamed: after a kill the same command continues, and files that are there are kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import av
from PIL import Image

from sbr import __version__
from sbr.data.rows.annotations import write_rows
from sbr.data.rows.layout import ANNOTATIONS, IMAGES, VIDEOS
from sbr.data.sources.seed_bench_r1 import LEVELS
from sbr.errors import ConfigError, DataError
from sbr.files import read_file, replace_file
from sbr.frames.workers import spawn_pool
from sbr.mini import world
from sbr.mini.questions import LEAST, MOST, SHIFTS, SPLITS, Question, Shift, Split, plan, training_row, validation_row
from sbr.mini.render import render_action, render_clip, render_observation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Splits: TypeAlias = dict[Split, list[Question]]

TRAIN_FILE = "training_6k.jsonl"
MANIFEST = "mini.json"
CRF = 20
"""Quality of H.264: the pictures stay as they are, the finest sensor noise goes."""
_CODEC = {"crf": str(CRF), "preset": "veryfast", "x264-params": "cpu-independent=1"}
# Without cpu-independent, x264's fastest machine code (its macroblock tree) gives other bytes from run to run.
CHUNK = 8
"""Questions a process draws at once."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a build depends on, as kept in mini.json; a folder holds one build."""

    train: int
    """Questions for training."""
    val: int
    """Questions of each of L1, L2 and L3."""
    seed: int
    shift: str
    """What L2 brings, e.g. "belongings, camera"."""
    pictures: str
    """Fingerprint of the world and of how it is drawn."""


@dataclass(frozen=True, slots=True)
class Built:
    """What a call of `build` did."""

    questions: int
    drawn: int
    """Questions whose media were written now; the others were there already."""


def build(
    directory: Path,
    train: int,
    val: int,
    seed: int,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    shifts: Set[Shift] = frozenset(SHIFTS),
) -> Built:
    """Write `train` training questions and `val` questions of each level to `directory`; `shifts` says what L2 brings.

    `workers` processes draw (None: one per core); the result does not depend on their number.  `on_progress` is told
    (questions finished, questions in all).  Raises ConfigError for impossible counts, DataError if `directory` holds
    something else or a build with other parameters, or cannot be written.
    """
    if not (1 <= train <= MOST and 1 <= val <= MOST and seed >= 0):
        raise ConfigError(
            f"train is {train}, val is {val}, seed is {seed}: counts lie between 1 and {MOST}, a seed is 0 or more"
        )
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}; give 1 or more")
    parameters = Parameters(train, val, seed, ", ".join(sorted(shifts)) or "none", fingerprint())
    splits: Splits = {split: plan(split, train if split == "train" else val, seed, shifts) for split in SPLITS}
    questions = [question for split in SPLITS for question in splits[split]]
    try:
        _claim(directory, parameters)
        drawn = 0
        for done, made in _draw_all(directory, questions, workers or os.cpu_count() or 1):
            drawn += made
            on_progress(done, len(questions))
        _write_annotations(directory, splits, seed)
        replace_file(directory / "README.md", _readme(parameters).encode())
    except OSError as error:
        raise DataError(
            f"the miniature cannot be written to {directory}: {error}; correct that and run the same command again, it "
            "goes on where it stopped"
        ) from None
    return Built(len(questions), drawn)


def fingerprint() -> str:
    """Changes when the tasks, the environments, the pictures or the coding of the clips change."""
    environments = [world.environments(role) for role in ("train", "L2", "L3")]
    digest = hashlib.sha256(repr((world.ALL_TASKS, environments, _CODEC)).encode())
    for role in ("L3", "L2"):
        places = world.environments(role)
        for k, noun in enumerate(world.NOUNS):
            episode = world.Episode(world.L3_TASKS[k % len(world.L3_TASKS)], places[k % len(places)], k)
            action = world.Action(world.VERBS[k % len(world.VERBS)], noun)
            digest.update(render_action(episode, action, [k % world.FRAMES_PER_ACTION]).tobytes())
            digest.update(render_observation(episode, k % (len(episode.task.steps) + 1)).tobytes())
    return digest.hexdigest()[:16]


def encode_clip(frames_THWC: NDArray[np.uint8], fps: int = world.FPS) -> bytes:
    """Frames (uint8, RGB) as an MP4 file, H.264, yuv420p; the bytes are the same every time."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=_CODEC)
        stream.height, stream.width = frames_THWC.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for frame_HWC in frames_THWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def draw_media(directory: Path, questions: Sequence[Question]) -> int:
    """Write the videos and images of these questions that are not there yet; returns for how many it wrote any."""
    drawn = 0
    for question in questions:
        image = directory / IMAGES / question.source / question.image_name
        video = None if question.video_name is None else directory / VIDEOS / question.source / question.video_name
        missing = [file for file in (image, video) if file is not None and not _is_there(file)]
        if video is not None and video in missing:
            _place(video, encode_clip(render_clip(question.episode, question.done, question.first)))
        if image in missing:
            png = io.BytesIO()
            Image.fromarray(render_observation(question.episode, question.done)).save(png, "PNG")
            _place(image, png.getvalue())
        drawn += bool(missing)
    return drawn


def _is_there(file: Path) -> bool:
    # A power failure, unlike a kill, can leave the name of a file without its content.
    return file.exists() and file.stat().st_size > 0


def _place(file: Path, data: bytes) -> None:
    """As `replace_file`, without waiting for the disk: that would take longer than drawing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(file)


def _draw_all(directory: Path, questions: Sequence[Question], workers: int) -> Iterator[tuple[int, int]]:
    """Yields (questions finished so far, how many of the last ones were drawn)."""
    chunks = [questions[k : k + CHUNK] for k in range(0, len(questions), CHUNK)]
    done = 0
    if workers == 1:
        for chunk in chunks:
            done += len(chunk)
            yield done, draw_media(directory, chunk)
        return
    pool = spawn_pool(min(workers, len(chunks)))
    try:
        sizes = {pool.submit(draw_media, directory, chunk): len(chunk) for chunk in chunks}
        for future in as_completed(sizes):
            done += sizes[future]
            yield done, future.result()
    except BrokenProcessPool:
        raise DataError(
            "a process that draws the miniature was killed (out of memory?); run the same command again, with fewer "
            "--workers: it goes on where it stopped"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _claim(directory: Path, parameters: Parameters) -> None:
    """Make sure that `directory` is free or holds this very build; mark it."""
    file = directory / MANIFEST
    if file.exists():
        found = _read_manifest(file)
        different = [name for name in asdict(parameters) if found.get(name) != getattr(parameters, name)]
        if different:
            was = ", ".join(f"{name} {found.get(name)!r}, not {getattr(parameters, name)!r}" for name in different)
            raise DataError(
                f"{directory} holds another build of the miniature ({was}); give another folder, or delete this one"
            )
        return
    if directory.exists() and not directory.is_dir():
        raise DataError(f"{directory} is a file; give a folder")
    if directory.exists() and any(directory.iterdir()):
        raise DataError(f"{directory} holds files that are no build of the miniature; give an empty or a new folder")
    manifest = {"what": "SBR-Mini, a miniature of SEED-Bench-R1", "sbr": __version__, **asdict(parameters)}
    replace_file(file, (json.dumps(manifest, indent=2) + "\n").encode())


def _read_manifest(file: Path) -> dict[str, object]:
    try:
        values = json.loads(read_file(file, 1 << 20, "delete its folder and build again"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is damaged ({error}); delete its folder and build again") from None
    if not isinstance(values, dict):
        raise DataError(f"{file} is damaged (no JSON object); delete its folder and build again")
    return values


def _write_annotations(directory: Path, splits: Splits, seed: int) -> None:
    folder = directory / ANNOTATIONS
    for level, about in LEVELS.items():
        write_rows(folder / about.file, [validation_row(q, seed) for s in SPLITS if s == level for q in splits[s]])
    # The training file last: with it the build is complete.
    write_rows(folder / TRAIN_FILE, [training_row(question) for question in splits["train"]])


def _readme(parameters: Parameters) -> str:
    return f"""\
# SBR-Mini

A miniature of SEED-Bench-R1 in the layout of the benchmark, to try out software and methods. Everything here was drawn
by a program: `sbr mini build`, version {__version__}, seed {parameters.seed}, pictures {parameters.pictures}.

| file | questions | tasks | places |
|---|---|---|---|
| annotations/{TRAIN_FILE} | {parameters.train} | training tasks | 4 kitchens |
| annotations/{LEVELS["L1"].file} | {parameters.val} | the same | the same kitchens, other recordings |
| annotations/{LEVELS["L2"].file} | {parameters.val} | the same | 12 unseen kitchens, darker and fuller (*) |
| annotations/{LEVELS["L3"].file} | {parameters.val} | unseen tasks of 4 domains | 12 other unseen places |

One action takes one second: 8 frames of 168 x 168 pixels. A clip ends at the current observation; one row of 20 has an
image and no video. `sbr data check` reads this folder like the real one.

(*) Question n of L2 is question n of L1 in another kitchen. What else differs there: {parameters.shift}.
(belongings: the household owns other things; camera: it may have been switched on late, but the clip has the last
{LEAST} actions.)
"""

"""Reading a sample from the frame cache against decoding it: a clip of 30 s at 720p and its image.

    python benchmarks/frame_cache.py                                        # a minute on an idle machine
    python benchmarks/frame_cache.py --seconds 2 --runs 1 --out /tmp/frame_cache.json

The clip is written here by PyAV: a textured picture that pans and zooms, with noise, H.264 at crf 23.  Both sides are
`load_frames` with the official settings (16 frames and an image of 252 x 252), alternating; medians of all runs.
CPU time is that of the process; on a machine with other work it is the fairer figure.
`cold`: the entries are dropped from the page cache before every reading (Linux; the disk may have caches of its own).
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import av
import numpy as np
import torch
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

from sbr.config.inputs import FramesConfig
from sbr.frames.cache import FrameCache
from sbr.frames.load import load_frames
from sbr.types import Frames, Sample

ROOT = Path(__file__).resolve().parent.parent
CLIP, IMAGE = "clip.mp4", "now.png"


@dataclass(frozen=True)
class Args:
    seconds: int = 30
    width: int = 1280
    height: int = 720
    rate: int = 30
    """Frames a second of the clip."""
    runs: int = 7
    out: Path = ROOT / "benchmarks" / "results" / "frame_cache.json"


def main(args: Args) -> None:
    torch.set_num_threads(1)  # as in the benchmark of training: the frames come from threads beside the model
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sample = write_sample(root, args)
        seconds, cpu_seconds, sizes = measure(root, sample, args.runs)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {name: medians["decode"] / medians[name] for name in medians if name != "decode"}
    cpu_medians = {name: statistics.median(values) for name, values in cpu_seconds.items()}
    result = {
        "settings": {name: value for name, value in asdict(args).items() if name != "out"},
        "versions": {name: version(name) for name in ("av", "pillow", "torch", "torchvision", "seed-bench-r1")},
        "machine": {"system": platform.machine(), "cores": os.cpu_count()},
        "bytes": sizes,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "median_seconds": medians,
        "decode_over": ratios,
        "median_cpu_seconds": cpu_medians,
        "cpu_decode_over": {name: cpu_medians["decode"] / cpu_medians[name] for name in ratios},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    table = Table("", "median ms", "decode / this", "median ms of CPU", "decode / this")
    for name, value in medians.items():
        cpu = cpu_medians[name]
        figures = (1000 * value, medians["decode"] / value, 1000 * cpu, cpu_medians["decode"] / cpu)
        table.add_row(name, *(f"{figure:.1f}" for figure in figures))
    console = Console()
    console.print(table)
    console.print(f"clip {sizes[CLIP] / 1e6:.1f} MB, entries {sizes['entries'] / 1e6:.1f} MB; raw times: {args.out}")


def measure(
    root: Path, sample: Sample, runs: int
) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, int]]:
    """Seconds and CPU seconds of every way to get the same frames, and sizes; checks that the frames are the same."""
    config, folder = FramesConfig(), root / "cache"
    plain = load_frames(sample, config)
    require_equal(load_frames(sample, config, cache=FrameCache(root, folder, adds=True)), plain)
    cache = FrameCache(root, folder, adds=False)
    entries = [file for file in folder.rglob("*.frames")]
    ways: dict[str, Callable[[], Frames]] = {
        "decode": lambda: load_frames(sample, config),
        "decode, all cores": lambda: load_frames(sample, config, threads=0),
        "cache": lambda: load_frames(sample, config, cache=cache),
        "cache, cold": lambda: load_frames(sample, config, cache=cache),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, load in ways.items():
            if name == "cache, cold":
                drop(entries)
            start, cpu_start = time.perf_counter(), time.process_time()
            found = load()
            cpu_seconds[name].append(time.process_time() - cpu_start)
            seconds[name].append(time.perf_counter() - start)
            require_equal(found, plain)
    if cache.counts.hits != 4 * runs:
        raise RuntimeError(f"{cache.counts.hits} hits, expected {4 * runs}: the frames were not read from the cache")
    sizes = {name: (root / name).stat().st_size for name in (CLIP, IMAGE)}
    return seconds, cpu_seconds, sizes | {"entries": sum(file.stat().st_size for file in entries)}


def require_equal(found: Frames, plain: Frames) -> None:
    same = np.array_equal(found.image_HWC, plain.image_HWC) and found.indices == plain.indices
    if found.video_THWC is None or plain.video_THWC is None or not same:
        raise RuntimeError("the frames differ")
    if not np.array_equal(found.video_THWC, plain.video_THWC):
        raise RuntimeError("the frames differ")


def drop(files: list[Path]) -> None:
    """Out of the page cache, so that the next reading goes to the disk."""
    for file in files:
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write_sample(root: Path, args: Args) -> Sample:
    """A clip and the picture after it."""
    draw = np.random.default_rng(0)
    texture = Image.fromarray(draw.integers(0, 256, (args.height // 8, args.width // 8, 3), dtype=np.uint8))
    scene = texture.resize((2 * args.width, 2 * args.height), Image.Resampling.BICUBIC)
    noise = draw.normal(0, 4, (8, args.height, args.width, 3))
    frames = args.seconds * args.rate
    video, image = root / CLIP, root / IMAGE
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(args.rate), options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = args.width, args.height, "yuv420p"
        pictures: list[np.ndarray] = []
        for i in range(48):
            zoom, turn = 1 + 0.5 * np.sin(i / 45), i / 60
            size = (args.width / zoom, args.height / zoom)
            left = (scene.width - size[0]) * (0.5 + 0.4 * np.sin(turn))
            top = (scene.height - size[1]) * (0.5 + 0.4 * np.cos(0.7 * turn))
            left, top = max(0.0, left), max(0.0, top)
            box = (left, top, min(scene.width, left + size[0]), min(scene.height, top + size[1]))
            view = scene.resize((args.width, args.height), Image.Resampling.BILINEAR, box=box)
            pictures.append(np.clip(np.asarray(view) + noise[i % len(noise)], 0, 255).astype(np.uint8))
        pictures += pictures[-2:0:-1]  # there and back
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(pictures[i % len(pictures)], format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    Image.fromarray(pictures[0]).save(image)
    return Sample(
        sample_id="0",
        split="train",
        domain="Daily life",
        scenario=None,
        video_source="-",
        video_id="-",
        video=video,
        image=image,
        task_goal="-",
        question="-",
        options=("a", "b", "c", "d"),
        gold="A",
    )


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

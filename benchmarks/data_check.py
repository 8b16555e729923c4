"""How long `sbr data check` takes: synthetic rows, nine of ten for training as in the benchmark, and synthetic clips.

    python benchmarks/data_check.py                                  # 50,000 rows; 200 clips of 30 s at each size
    python benchmarks/data_check.py --rows 5000 --clips 40 --seconds 2 --out /tmp/data_check.json

The rows are distinct and valid and their media exist (copies of a small PNG and a small clip), but only their names are
looked up.  Opening media is timed apart, on `clips` links to one clip of 30 frames a second, for 512 x 288 (Ego4D's
v1_288p) and 1280 x 720: they are the same bytes, so the disk is not measured.  CPU seconds are those of the workers,
less what starting them takes; they say what a machine with free cores needs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import av
import numpy as np
from PIL import Image

from sbr.data.audit.root import audit_root
from sbr.data.rows.annotations import TrainingRow, ValidationRow, write_rows
from sbr.data.sources.named_media import NamedMedium
from sbr.frames.probe import probe_media, probe_medium
from sbr.types import ProgressStep

DOMAINS = ("Daily life", "Hobbies", "Recreation", "Work")
ACTIONS = ("open tap", "take cup", "close tap", "pour water", "grab knife", "slice onion", "wash plate", "open drawer")
CLIPS_PER_VIDEO = 80
SIZES = ((512, 288), (1280, 720))
RESULT = Path(__file__).resolve().parent / "results" / "data_check.json"


def write_root(root: Path, rows: int) -> None:
    """A data root of `rows` valid rows: nine of ten for training, the others for L1, L2 and L3."""
    each = rows // 30
    seeds = root / "seed.png", root / "seed.mp4"
    root.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(seeds[0])
    write_clip(seeds[1], seconds=1, width=64, height=48)
    contents = [seed.read_bytes() for seed in seeds]
    training = [TrainingRow(**_common("train", i), negative_answers=_others(i)) for i in range(rows - 3 * each)]
    write_rows(root / "annotations" / "training_6k.jsonl", training)
    for level in ("L1", "L2", "L3"):
        write_rows(root / "annotations" / f"validation_{level}.jsonl", [_question(level, i) for i in range(each)])
    for level, count in (("train", len(training)), *((level, each) for level in ("L1", "L2", "L3"))):
        for i in range(count):
            row = _common(level, i)
            for kind, name, seed in (("images", "current_observation_basename", 0), ("videos", "video_basename", 1)):
                file = root / kind / row["video_source"] / row[name]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(contents[seed])


def write_clip(file: Path, seconds: int, width: int, height: int, fps: int = 30) -> None:
    """H.264 with x264's own spacing of key frames (250): a moving pattern over noise."""
    noise = np.random.default_rng(0).integers(0, 64, (height, width, 3), dtype=np.uint8)
    ramp = np.arange(width)[None, :, None]
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(seconds * fps):
            picture = noise + ((ramp + 4 * i) % 192).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=30, help="length of a clip")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        write_root(root, args.rows)
        started = time.perf_counter()
        audit = audit_root(root)
        rows_s = time.perf_counter() - started
        clips = [measure_clips(Path(folder), size, args) for size in SIZES]
    figures = {
        "versions": {name: version(name) for name in ("av", "pillow", "seed-bench-r1")},
        "machine": {"system": platform.machine(), "cores": os.cpu_count()},
        "workers": args.workers,
        "rows": sum(split.rows for split in audit.splits),
        "rows_ok": audit.ok,
        "rows_seconds": round(rows_s, 2),
        "clips": clips,
    }
    text = json.dumps(figures, indent=1)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text + "\n", encoding="utf-8")
    print(text)


def measure_clips(folder: Path, size: tuple[int, int], args: argparse.Namespace) -> dict[str, object]:
    """Time of opening `args.clips` links to one clip of that size, and of decoding all of it once."""
    clip = folder / f"clip_{size[1]}.mp4"
    write_clip(clip, args.seconds, *size)
    links = [clip.with_name(f"{clip.stem}_{i}.mp4") for i in range(args.clips)]
    for link in links:
        os.link(clip, link)
    list(probe_media([NamedMedium(clip, True, ())] * args.workers, False, args.workers))  # into the page cache
    start_s = cpu_of_children()
    list(probe_media([NamedMedium(clip, True, ())], False, 1))
    start_s = (cpu_of_children() - start_s) * args.workers  # what starting takes, and one clip each
    before, started = cpu_of_children(), time.perf_counter()
    probes = list(probe_media([NamedMedium(link, True, ()) for link in links], False, args.workers))
    wall_s, cpu_s = time.perf_counter() - started, cpu_of_children() - before
    started = time.process_time()
    decoded = probe_medium(clip, True, full=True)
    full_s = time.process_time() - started
    return {
        "size": size,
        "seconds": args.seconds,
        "megabytes": round(clip.stat().st_size / 1e6, 1),
        "number": args.clips,
        "ok": not any(probe.fault for probe in [*probes, decoded]),
        "wall_seconds": round(wall_s, 2),
        "cpu_seconds_a_clip": round((cpu_s - start_s) / (args.clips - args.workers), 4),
        "full_decode_cpu_seconds_a_clip": round(full_s, 2),
    }


def cpu_of_children() -> float:
    """CPU seconds of all processes that were started from here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _common(level: str, i: int) -> dict:
    video, moment = divmod(i, CLIPS_PER_VIDEO)
    kitchen = level in ("train", "L1")
    source = "EpicKitchens" if kitchen else "Ego4D"
    name = f"P{video % 32 + 1:02d}_{video + (1000 if level == 'L1' else 0)}" if kitchen else f"{level}-{video:06d}"
    frame = 300 * (moment + 1)
    return {
        "sample_id": str(i),
        "video_source": source,
        "video_id": name,
        "video_basename": f"{name}/{frame}.mp4",
        "current_observation_basename": f"{name}/{frame}.png",
        "current_observation_frame": frame,
        "task_goal": f"make tea {video}",
        "question": f"what action should I take next in order to make tea {video}?",
        "answer": ACTIONS[i % len(ACTIONS)],
        "task_progress_metadata": tuple(ProgressStep(ACTIONS[k], frame - 60, frame - 10) for k in range(5)),
    }


def _others(i: int) -> tuple[str, ...]:
    return tuple(action for k, action in enumerate(ACTIONS) if k != i % len(ACTIONS))


def _question(level: str, i: int) -> ValidationRow:
    gold = i % 4
    options = list(_others(i)[:3])
    options.insert(gold, ACTIONS[i % len(ACTIONS)])
    return ValidationRow(
        **_common(level, i),
        **dict(zip(("choice_a", "choice_b", "choice_c", "choice_d"), options, strict=True)),
        golden_choice_idx="ABCD"[gold],
        domain=DOMAINS[i % 4] if level == "L3" else None,
    )


if __name__ == "__main__":
    main()

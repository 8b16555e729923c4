"""Questions as rows of verl's parquet files, and its reward in a file beside them.  verl itself is not imported.

    train.parquet, val_<level>.parquet   one row a question (verl 0.9.1, `verl.utils.dataset.rl_dataset.RLHFDataset`)
    reward.py                            `compute_score` (`sbr.integrations.verl_reward`), needs no other package
    export.json                          what was exported from what

verl decodes with qwen_vl_utils, whose rule of frames is ours, so rows name the media files and the rule.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbr import __version__
from sbr.config.inputs import DataConfig, FramesConfig
from sbr.data.sources.select import SOURCES, load_questions, load_training, training_path
from sbr.errors import ConfigError, DataError
from sbr.files import replace_file
from sbr.integrations.standalone import standalone
from sbr.prompt.template import question_text
from sbr.resume.folder import fingerprints
from sbr.types import Sample

TRAIN = "train"
REWARD, MANIFEST = "reward.py", "export.json"
PLACEHOLDERS = ("<image>", "<video>", "<audio>")
"""Where verl puts media into a text; a question must not hold them."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What a folder holds."""

    rows: Mapping[str, int]
    """File -> rows."""
    left_out: tuple[str, ...]
    """Splits whose annotation files are not there."""


def splits_there(data: DataConfig) -> tuple[list[str], list[str]]:
    """Splits of the source ("train" first) whose annotation files are there, and those whose are not."""
    source = SOURCES[data.source]
    files = {TRAIN: training_path(data)} if source.load_training else {}
    files |= {level: data.root / names[0] for level, names in source.levels.items()}
    there = [split for split, file in files.items() if file.is_file()]
    return there, [split for split in files if split not in there]


def export_verl(out: Path, data: DataConfig, frames: FramesConfig, splits: Sequence[str] | None = None) -> Exported:
    """Write the questions of `splits` (None: all that are there) and the reward into `out`.

    A training question has the options that training draws with `data.seed`.  Raises ConfigError when `out` holds
    something else, when pyarrow is missing, or for a source whose clips are no files of their own; DataError when a
    split or a medium is not there, or a question holds a placeholder; AnnotationError for bad rows.
    """
    write_table = _parquet()
    _check_folder(out)
    there, absent = splits_there(data)
    if unknown := [split for split in splits or () if split not in (*there, *absent)]:
        raise ConfigError(f"there is no split {unknown[0]!r}; {data.source} has {', '.join((*there, *absent))}")
    if missing := [split for split in splits or () if split in absent] or ([] if there else absent):
        raise DataError(f"{data.root} has no annotation file of {', '.join(missing)}; correct --data, or download it")
    rows = {split: _rows(data, frames, split) for split in (splits or there)}
    tables = {file_of(split): write_table(of_split) for split, of_split in rows.items()}
    inputs = {split: training_path(data) if split == TRAIN else _annotations(data, split) for split in rows}
    manifest = {
        "kind": "verl",
        "version": __version__,
        "source": data.source,
        "seed": data.seed,
        "frames": frames.model_dump(),
        "rows": {split: len(of_split) for split, of_split in rows.items()},
        "annotations": fingerprints(inputs),
    }
    replace_file(out / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())  # first: it says whose folder it is
    for name, content in tables.items():
        replace_file(out / name, content)
    about = "The reward of SEED-Bench-R1 questions for verl: reward.custom_reward_function."
    replace_file(out / REWARD, standalone(about, ["sbr.integrations.verl_reward:compute_score"]).encode())
    return Exported(
        {file_of(split): len(of_split) for split, of_split in rows.items()}, () if splits else tuple(absent)
    )


def verl_words(out: Path, exported: Exported, prompt_tokens: int = 2048, patch_size: int = 14) -> list[str]:
    """Words of `python -m verl.trainer.main_ppo` that name the export, for verl 0.9.1.

    Without do_resize=False the processors of Qwen2-VL and Qwen2.5-VL enlarge every frame once more (252 pixels to 336).
    `patch_size` is 16 for Qwen3-VL; verl's own setting is 14 whatever the model.
    """
    folder = out.absolute()
    validation = [str(folder / name) for name in exported.rows if name != file_of(TRAIN)]
    training = [f"data.train_files={folder / file_of(TRAIN)}"] if file_of(TRAIN) in exported.rows else []
    return [
        *training,
        *([f"data.val_files=[{','.join(validation)}]"] if validation else []),
        f"data.max_prompt_length={prompt_tokens}",
        f"data.image_patch_size={patch_size}",
        "+data.mm_processor_kwargs.do_resize=False",
        f"reward.custom_reward_function.path={folder / REWARD}",
        "reward.custom_reward_function.name=compute_score",
        "+reward.custom_reward_function.reward_kwargs.rule=official",
    ]


def file_of(split: str) -> str:
    """
    >>> file_of("train"), file_of("L3")
    ('train.parquet', 'val_L3.parquet')
    """
    return f"{TRAIN if split == TRAIN else f'val_{split}'}.parquet"


def row_of(sample: Sample, index: int, source: str, frames: FramesConfig) -> dict[str, Any]:
    """One row: the same keys for every question, since parquet has one schema.

    `data_source` is "seed_bench_r1_L3" and the like: verl reports the accuracy of each by itself.
    Raises ConfigError for a clip that is no file of its own, DataError for a question with a placeholder.
    """
    size = {"resized_height": frames.height, "resized_width": frames.width}
    rule = {"fps": frames.fps, "min_frames": frames.min_frames, "max_frames": frames.max_frames}
    text = question_text(sample)
    if found := [word for word in PLACEHOLDERS if word in text]:
        raise DataError(f"sample {sample.sample_id} holds {found[0]} in its text, where verl would put a medium")
    videos = [] if sample.video is None else [{"video": _file(sample, sample.video), **rule, **size}]
    images = [] if sample.image is None else [{"image": _file(sample, sample.image), **size}]
    return {
        "data_source": f"{source}_{sample.split}",
        "prompt": [{"role": "user", "content": "<video>" * len(videos) + "<image>" * len(images) + text}],
        "videos": videos,
        "images": images,
        "ability": "video_question",
        "reward_model": {"style": "rule", "ground_truth": sample.gold},
        "extra_info": {
            "index": index,
            "split": sample.split,
            "sample_id": sample.sample_id,
            "level": sample.split,
            "domain": sample.domain,
            "video_id": sample.video_id,
            "options": list(sample.options),
        },
    }


def _rows(data: DataConfig, frames: FramesConfig, split: str) -> list[dict[str, Any]]:
    samples = load_training(data) if split == TRAIN else load_questions(data, split, data.limit)
    rows = [row_of(sample, number, data.source, frames) for number, sample in enumerate(samples)]
    named = [medium[key] for row in rows for key in ("video", "image") for medium in row[f"{key}s"]]
    if gone := [file for file in dict.fromkeys(named) if not Path(file).is_file()]:
        raise DataError(
            f"{len(gone)} of the media of {split} are not there, the first is {gone[0]}; verl would leave these "
            "questions out: bring them, or see `sbr data check`"
        )
    return rows


def _file(sample: Sample, medium: object) -> str:
    if not isinstance(medium, Path):
        raise ConfigError(
            f"sample {sample.sample_id} shows {type(medium).__name__} {medium}, a part of a recording; verl takes "
            "media that are files of their own, as those of seed_bench_r1 are"
        )
    return str(medium.absolute())


def _annotations(data: DataConfig, level: str) -> Path:
    return data.root / SOURCES[data.source].levels[level][0]


def _parquet() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigError(
            f"parquet files are written with pyarrow, which cannot be imported here ({error}); install it with "
            "`pip install 'seed-bench-r1[verl]'`"
        ) from None

    text, number = pa.string(), pa.int64()
    size = [("resized_height", number), ("resized_width", number)]
    rule = [("fps", pa.float64()), ("min_frames", number), ("max_frames", number)]
    names = [(name, text) for name in ("split", "sample_id", "level", "domain", "video_id")]
    schema = pa.schema(
        [
            ("data_source", text),
            ("prompt", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("videos", pa.list_(pa.struct([("video", text), *rule, *size]))),
            ("images", pa.list_(pa.struct([("image", text), *size]))),
            ("ability", text),
            ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
            ("extra_info", pa.struct([("index", number), *names, ("options", pa.list_(text))])),
        ]
    )

    def write(rows: list[dict[str, Any]]) -> bytes:
        stream = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema), stream)
        return stream.getvalue()

    return write


def _check_folder(out: Path) -> None:
    """Raise ConfigError unless `out` is new, empty, or an export of this kind."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"{out} is a file; name a folder")
    if any(out.iterdir()):
        try:
            kind = json.loads((out / MANIFEST).read_bytes())["kind"]
        except (OSError, ValueError, LookupError, TypeError):
            kind = None
        if kind != "verl":
            raise ConfigError(f"{out} holds something else than an export for verl; it is left as it is, name another")

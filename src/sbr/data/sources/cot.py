"""CoT files as training examples: each question with its own chat, its media and all its responses to learn.

The prompt is what the row says, message by message; it is never rebuilt from a question's fields.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sbr.config.inputs import DataConfig
from sbr.data.rows.annotations import ChatMessage, CotRow, read_cot_rows, read_training_rows
from sbr.data.rows.layout import DataRoot
from sbr.data.rows.lines import require_readable
from sbr.data.sources.held_out import held_out_videos
from sbr.data.sources.named_media import media_of
from sbr.errors import AnnotationError, DataError, RowProblem

ADVICE = "SFT cannot learn from these rows: correct them, or write the file again."


@dataclass(frozen=True, slots=True)
class CotQuestion:
    """One prompt and what to answer.  Rows of equal prompts are one question; its responses keep their order.

    Example: sample_id "1500", where ".../training_with_cot_6k.jsonl:12", messages one user turn of a video, an image
    and a text, video ROOT/videos/EpicKitchens/P01_13_760.mp4, image ROOT/images/EpicKitchens/P01_13_760.png,
    responses ("<think>...</think><answer>B</answer>",), video_id "P01_13".
    """

    sample_id: str
    """That of its first row, or "line <number>" where the row has none."""
    where: str
    """File and line of its first row, for messages."""
    messages: tuple[ChatMessage, ...]
    video: Path | None
    image: Path | None
    responses: tuple[str, ...]
    video_id: str | None
    """Name of the uncut video, if the row gives it."""


def load_cot_questions(config: DataConfig) -> list[CotQuestion]:
    """The questions of `config.cot_file` in the order of their first rows; `limit` keeps the first rows.

    Raises DataError if `root` is no data root or the file is not there, AnnotationError with every row that cannot be
    learned from: a chat that does not end with the user's turn, holds no picture, or more than one video and one image.
    """
    data = DataRoot(config.root)
    file = cot_path(data, config.cot_file)
    questions: dict[tuple[ChatMessage, ...], CotQuestion] = {}
    problems: list[RowProblem] = []
    for line, row in enumerate(read_cot_rows(file)[: config.limit], start=1):
        if row.prompt in questions:
            known = questions[row.prompt]
            questions[row.prompt] = replace(known, responses=(*known.responses, row.response))
        else:
            problems += chat_problems(data, row, file, line)
            questions[row.prompt] = _question(data, row, f"{file}:{line}", line)
    if problems:
        raise AnnotationError(file, problems, ADVICE)
    return list(questions.values())


def cot_path(data: DataRoot, name: str) -> Path:
    """Where `data.cot_file` lies: a name in annotations/, a path with a "/" where it says.  DataError if it is not."""
    if "/" not in name:
        return data.annotation_file(name)
    file = Path(name).expanduser()
    if not os.path.lexists(file):
        raise DataError(f"data.cot_file {file} does not exist; write it first, or name another")
    require_readable(file)
    return file


def chat_problems(data: DataRoot, row: CotRow, file: Path, line: int) -> list[RowProblem]:
    """Why SFT cannot learn from a row that is well formed: what its chat lacks or has too often, media that escape."""
    media = list(media_of(data, row))
    videos = sum(is_video for _, _, is_video in media)
    images = len(media) - videos
    problems = []
    if row.prompt[-1].role != "user":
        problems.append(RowProblem(file, line, "prompt", "a chat that ends with the user's turn", "one that does not"))
    if videos > 1 or images > 1 or not media:
        found = f"a chat with {videos} videos and {images} images"
        problems.append(RowProblem(file, line, "prompt", "one video, one image or both", found))
    escapes = (data.escape(path, file, line, field) for field, path, _ in media)
    return problems + [problem for problem in escapes if problem is not None]


def hold_out(
    questions: Sequence[CotQuestion], config: DataConfig, share: float, seed: int
) -> tuple[list[CotQuestion], list[CotQuestion]]:
    """Split into (to train on, held out): whole uncut videos are held out until they make `share` of the questions.

    The video of a row without `video_id` is that of the row of `config.train_file` with the same image or video.
    Raises DataError when a video is not known, ConfigError when nothing would be left.
    """
    if share == 0:
        return list(questions), []
    videos = _video_ids(questions, config)
    held = held_out_videos(videos, share, seed)
    train = [question for question, video in zip(questions, videos, strict=True) if video not in held]
    return train, [question for question, video in zip(questions, videos, strict=True) if video in held]


def _question(data: DataRoot, row: CotRow, where: str, line: int) -> CotQuestion:
    media = list(media_of(data, row))
    videos = [path for _, path, is_video in media if is_video]
    images = [path for _, path, is_video in media if not is_video]
    return CotQuestion(
        sample_id=row.sample_id or f"line {line}",
        where=where,
        messages=row.prompt,
        video=videos[0] if videos else None,
        image=images[0] if images else None,
        responses=(row.response,),
        video_id=row.video_id,
    )


def _video_ids(questions: Sequence[CotQuestion], config: DataConfig) -> list[str]:
    """The uncut video of every question."""
    if all(question.video_id for question in questions):
        return [question.video_id or "" for question in questions]
    data = DataRoot(config.root)
    file = data.annotation_file(config.train_file)
    known = {path: row.video_id for row in read_training_rows(file) for _, path, _ in media_of(data, row)}
    found = [_known_video(question, known) for question in questions]
    missing = [question.where for question, video in zip(questions, found, strict=True) if video is None]
    if missing:
        raise DataError(
            f"validation.share holds out whole uncut videos, and for {len(missing)} questions the video is not known, "
            f"the first at {missing[0]}: give the rows a video_id, name in data.train_file the annotation file that "
            f"has their pictures (now {file}), or set validation.share to 0"
        )
    return [video or "" for video in found]


def _known_video(question: CotQuestion, known: Mapping[Path, str]) -> str | None:
    media = [path for path in (question.image, question.video) if path is not None]
    return question.video_id or next((known[path] for path in media if path in known), None)

"""The annotation files of SEED-Bench-R1 as typed rows: reading with all problems at once, and writing.

Schema: docs/formats.md.  It is that of the dataset TencentARC/SEED-Bench-R1, whose rows are EgoPlan's (training, L1,
L2) and EgoPlan-Bench2's (L3: also domain, scenario, task_start_frame) with the names of the cut media added.
Fields that are not listed here are allowed and ignored.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from sbr.data.rows.fields import RowFields
from sbr.data.rows.jsonl import parse_lines, shown
from sbr.data.rows.lines import file_lines
from sbr.data.rows.options import NEGATIVES, distinct_negatives
from sbr.errors import AnnotationError, DataError, RowProblem
from sbr.files import replace_file
from sbr.types import ProgressStep

CHOICE_LETTERS = "ABCD"
ROLES = ("system", "user", "assistant")
PARTS = ("text", "image", "video")


@dataclass(frozen=True, slots=True, kw_only=True)
class EgoPlanRow:
    """What every question has.  Frame numbers count in the uncut video; -1 is "before its first frame".

    `video_basename` and `current_observation_basename` are paths below videos/<video_source> and
    images/<video_source>.  An empty `task_progress_metadata` means: an image and no video; `video_basename` may then
    be None and is not used.
    """

    sample_id: str
    video_source: str
    video_id: str
    video_basename: str | None
    current_observation_basename: str
    current_observation_frame: int
    task_goal: str
    question: str
    answer: str
    task_progress_metadata: tuple[ProgressStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRow(EgoPlanRow):
    """One line of training_6k.jsonl: three of `negative_answers` become the wrong options.

    Example: sample_id "39", video_source "EpicKitchens", video_id "P07_113", task_goal "Cut and peel the onion",
    answer "grab onion", negative_answers ("open drawer", "grab knife", "close drawer", "slice onion").
    """

    negative_answers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRow(EgoPlanRow):
    """One line of validation_L1/L2/L3.jsonl: the four options are given; `answer` is the text of the golden one.

    Example: sample_id "115", choice_a "put cereal box into cupboard", ..., golden_choice_idx "A".
    """

    choice_a: str
    choice_b: str
    choice_c: str
    choice_d: str
    golden_choice_idx: str
    domain: str | None = None
    scenario: str | None = None
    task_start_frame: int | None = None

    @property
    def choices(self) -> tuple[str, str, str, str]:
        return (self.choice_a, self.choice_b, self.choice_c, self.choice_d)


@dataclass(frozen=True, slots=True)
class ChatPart:
    """One piece of a message: `value` is a text, or the path of a medium relative to the data root.

    On disk {"type": "image", "image": "images/EpicKitchens/P01_13_760.png"}.
    """

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    role: str
    content: tuple[ChatPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CotRow:
    """One line of training_with_cot_6k.jsonl: chat messages and the response to learn.

    Several rows may belong to one question: then they have the same prompt, and the same `sample_id` if any.
    """

    prompt: tuple[ChatMessage, ...]
    response: str
    sample_id: str | None = None
    video_id: str | None = None
    """Name of the uncut video."""


Row: TypeAlias = TrainingRow | ValidationRow | CotRow
RowT = TypeVar("RowT", bound=Row)


@dataclass(frozen=True, slots=True)
class ScannedLine(Generic[RowT]):
    """One line of a file: `row` is None exactly when `problems` says why."""

    number: int
    size: int
    row: RowT | None
    problems: tuple[RowProblem, ...]


def read_training_rows(file: Path) -> list[TrainingRow]:
    """Row i is line i + 1.  Raises AnnotationError with all problems of the file, DataError if it cannot be opened."""
    return _read(file, TrainingRow)


def read_validation_rows(file: Path) -> list[ValidationRow]:
    """As `read_training_rows`."""
    return _read(file, ValidationRow)


def read_cot_rows(file: Path) -> list[CotRow]:
    """As `read_training_rows`."""
    return _read(file, CotRow)


def scan_rows(file: Path, kind: type[RowT]) -> Iterator[ScannedLine[RowT]]:
    """Every line of `file`, good or bad, as it is read; DataError if the file cannot be opened."""
    yield from _scan(file, file_lines(file), kind)


def write_rows(file: Path, rows: Sequence[Row], beside: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write the rows in exactly the schema the readers accept, atomically.  Fields that are None are left out.

    `beside` holds further fields, one mapping a row, which readers ignore; those of the row itself win.  All rows must
    be of one kind.  Raises AnnotationError when a reader would refuse them; nothing is written then.
    """
    if not rows:
        raise DataError(f"there are no rows to write to {file}; readers refuse an empty file")
    values = [dict(further) | _to_json(row) for row, further in zip(rows, beside or [{}] * len(rows), strict=True)]
    lines = [(json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass") for value in values]
    problems = [problem for line in _scan(file, lines, type(rows[0])) for problem in line.problems]
    if problems:
        raise AnnotationError(file, problems)
    replace_file(file, b"".join(lines))


def _read(file: Path, kind: type[RowT]) -> list[RowT]:
    lines = list(scan_rows(file, kind))
    problems = [problem for line in lines for problem in line.problems]
    if problems:
        raise AnnotationError(file, problems)
    return [line.row for line in lines if line.row is not None]


def _scan(file: Path, lines: Iterable[bytes], kind: type[RowT]) -> Iterator[ScannedLine[RowT]]:
    parse: Callable[[RowFields], Any] = _PARSERS[kind]
    first_line_of: dict[str, int] = {}
    number = 0
    for line in parse_lines(file, lines):
        number = line.number
        if line.values is None:
            yield ScannedLine(number, line.size, None, (line.problem,) if line.problem else ())
            continue
        fields = RowFields(file, number, line.values)
        row: RowT = parse(fields)
        unique = None if isinstance(row, CotRow) else row.sample_id  # a question may have several responses
        if unique and (first := first_line_of.setdefault(unique, number)) != number:
            fields.problem("sample_id", "a new one", f"{shown(unique)}, as on line {first}")
        yield ScannedLine(number, line.size, None if fields.problems else row, tuple(fields.problems))
    if number == 0:
        yield ScannedLine(1, 0, None, (RowProblem(file, 1, "file", "one row or more", "empty"),))


def _common(fields: RowFields) -> dict[str, Any]:
    progress = fields.progress("task_progress_metadata")
    # Without progress there is no clip to name; with it the name is needed.
    unnamed = not progress and fields.values.get("video_basename") in (None, "")
    return {
        "sample_id": fields.identifier("sample_id"),
        "video_source": fields.folder("video_source"),
        "video_id": fields.text("video_id"),
        "video_basename": None if unnamed else fields.path("video_basename"),
        "current_observation_basename": fields.path("current_observation_basename"),
        "current_observation_frame": fields.frame("current_observation_frame"),
        "task_goal": fields.text("task_goal"),
        "question": fields.text("question"),
        "answer": fields.text("answer"),
        "task_progress_metadata": progress,
    }


def _training(fields: RowFields) -> TrainingRow:
    row = TrainingRow(**_common(fields), negative_answers=fields.texts("negative_answers", NEGATIVES))
    usable = len(distinct_negatives(row.answer, row.negative_answers))
    if usable < NEGATIVES <= len(row.negative_answers):
        wanted = f"{NEGATIVES} or more that differ from the answer and from each other"
        fields.problem("negative_answers", wanted, f"a list of {len(row.negative_answers)} with {usable} such")
    return row


def _validation(fields: RowFields) -> ValidationRow:
    row = ValidationRow(
        **_common(fields),
        choice_a=fields.text("choice_a"),
        choice_b=fields.text("choice_b"),
        choice_c=fields.text("choice_c"),
        choice_d=fields.text("choice_d"),
        golden_choice_idx=fields.letter("golden_choice_idx", CHOICE_LETTERS),
        domain=fields.optional_text("domain"),
        scenario=fields.optional_text("scenario"),
        task_start_frame=fields.optional_frame("task_start_frame"),
    )
    gold = row.choices[CHOICE_LETTERS.index(row.golden_choice_idx)]
    if row.golden_choice_idx == fields.values.get("golden_choice_idx") and row.answer and gold and row.answer != gold:
        fields.problem("answer", f"the text of choice {row.golden_choice_idx}, {shown(gold)}", shown(row.answer))
    return row


def _cot(fields: RowFields) -> CotRow:
    items = fields.items("prompt", 1, "a list of one chat message or more")
    return CotRow(
        prompt=tuple(_message(fields, f"prompt[{i}]", item) for i, item in enumerate(items)),
        response=fields.text("response"),
        sample_id=None if fields.absent("sample_id") else fields.identifier("sample_id"),
        video_id=fields.optional_text("video_id"),
    )


def _message(fields: RowFields, name: str, item: object) -> ChatMessage:
    if not isinstance(item, dict) or item.get("role") not in ROLES:
        fields.problem(name, f"a message with a role of {', '.join(ROLES)}", shown(item))
        return ChatMessage("user", ())
    content = item.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        fields.problem(f"{name}.content", "a text or a list of parts", shown(content))
        content = []
    parts = tuple(_part(fields, f"{name}.content[{i}]", part) for i, part in enumerate(content))
    return ChatMessage(item["role"], parts)


def _part(fields: RowFields, name: str, item: object) -> ChatPart:
    kind = item.get("type") if isinstance(item, dict) else None
    if not isinstance(item, dict) or kind not in PARTS:
        fields.problem(name, f"a part with a type of {', '.join(PARTS)}", shown(item))
        return ChatPart("text", "")
    # Keys of the other kinds are often there with null: exporters give all parts the same columns.
    inner = RowFields(fields.file, fields.line, {f"{name}.{kind}": item[kind]} if kind in item else {})
    value = inner.text(f"{name}.{kind}") if kind == "text" else inner.path(f"{name}.{kind}")
    fields.problems += inner.problems
    return ChatPart(kind, value)


_PARSERS: dict[type[Row], Callable[[RowFields], Row]] = {
    TrainingRow: _training,
    ValidationRow: _validation,
    CotRow: _cot,
}


def _to_json(row: Row) -> dict[str, Any]:
    if isinstance(row, CotRow):
        prompt = [
            {"role": message.role, "content": [{"type": part.type, part.type: part.value} for part in message.content]}
            for message in row.prompt
        ]
        values: dict[str, Any] = {
            "sample_id": row.sample_id,
            "video_id": row.video_id,
            "prompt": prompt,
            "response": row.response,
        }
    else:
        values = dataclasses.asdict(row)
    return {name: value for name, value in values.items() if value is not None}

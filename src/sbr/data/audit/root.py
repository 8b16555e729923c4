"""`sbr data check`: what a data root holds, and everything that is wrong with it, without opening the media.

The media that are there are listed with the rows that name them; `sbr.frames.probe` opens them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sbr.data.audit.leakage import Content, Shared, find_shared
from sbr.data.audit.split import MissingMedium, SplitAudit, SplitFile, Tally
from sbr.data.rows.annotations import CotRow, TrainingRow, ValidationRow
from sbr.data.rows.layout import DataRoot
from sbr.data.sources.named_media import MediaIndex, NamedMedium
from sbr.data.sources.seed_bench_r1 import LEVELS
from sbr.errors import RowProblem

Progress = Callable[[int, int], None]
"""Called with (bytes of annotations checked, bytes in all)."""

FULL_TRAINING_ROWS = 50_269
"""The whole training set of the paper (arXiv 2503.24376, Table 1); it trains on 6,000 of them."""

FILES = (
    SplitFile("train", "training_6k.jsonl", TrainingRow, True, 6000),
    SplitFile("train (CoT)", "training_with_cot_6k.jsonl", CotRow, False, 0),
    *(SplitFile(level.name, level.file, ValidationRow, True, level.official_rows, level) for level in LEVELS.values()),
)


@dataclass(frozen=True, slots=True)
class Miscount:
    """A number of rows that is not the paper's."""

    file: Path
    what: str
    expected: int
    found: int

    def __str__(self) -> str:
        return f"{self.file.name}: {self.found} {self.what}, expected {self.expected}"


@dataclass(frozen=True, slots=True)
class Audit:
    root: Path
    splits: tuple[SplitAudit, ...]
    absent: tuple[str, ...]
    """Annotation files without which a split cannot be used."""
    not_checked: tuple[str, ...]
    """Files in annotations/ under names that no split has."""
    shared: tuple[Shared, ...]
    """Every level against every file of training or CoT rows."""
    miscounts: tuple[Miscount, ...]
    """Differences from the paper's counts; empty unless they were asked for."""
    named: tuple[NamedMedium, ...]
    """Media that are there and inside the root, in the order in which rows name them."""

    @property
    def ok(self) -> bool:
        wrong = self.absent or self.miscounts or self.problems or self.missing or self.leaks
        return not wrong

    @property
    def problems(self) -> tuple[RowProblem, ...]:
        return tuple(problem for split in self.splits for problem in split.problems)

    @property
    def missing(self) -> tuple[MissingMedium, ...]:
        return tuple(medium for split in self.splits for medium in split.missing)

    @property
    def leaks(self) -> tuple[Shared, ...]:
        return tuple(shared for shared in self.shared if shared.is_leak)


def audit_root(
    root: Path,
    progress: Progress = lambda done, total: None,
    expect_paper: bool = False,
    look_for_media: bool = True,
    levels: Sequence[str] = tuple(LEVELS),
) -> Audit:
    """Check every row of every known annotation file and look for the media they name.

    Files of levels that are not among `levels` may be absent.  Without `look_for_media` none is missing.

    Other files called training*.jsonl are checked as training rows.  With `expect_paper` the numbers of rows must be
    those of the paper: nothing in the files says which data set they are, so only the caller can ask for it.
    Raises DataError if `root` is not a data root.
    """
    data = DataRoot(root)
    there = data.annotation_names()
    known = {known.name for known in FILES}
    others = [SplitFile(name, name, TrainingRow, False, 0) for name in there if _is_other_training(name, known)]
    files = [known for known in (*FILES, *others) if known.name in there]
    total = sum(data.annotation_file(known.name).stat().st_size for known in files)
    done = 0
    media = MediaIndex()
    splits, contents = [], []
    for known_file in files:
        content = Content(data.annotation_file(known_file.name), known_file.level.name if known_file.level else None)
        tally = Tally(data, known_file, media if look_for_media else None, content)
        for size in tally.lines():
            done += size
            progress(done, total)
        splits.append(tally.result())
        contents.append(content)
    return Audit(
        root=data.path,
        splits=tuple(splits),
        absent=tuple(known.name for known in FILES if _is_needed(known, levels) and known.name not in there),
        not_checked=tuple(name for name in there if name not in {file.name for file in files}),
        shared=tuple(find_shared(contents)),
        miscounts=tuple(wrong for split in splits for wrong in _miscounts(split)) if expect_paper else (),
        named=media.named(),
    )


def _is_needed(file: SplitFile, levels: Sequence[str]) -> bool:
    return file.required and (file.level is None or file.level.name in levels)


def _is_other_training(name: str, known: set[str]) -> bool:
    return name not in known and name.startswith("training") and "cot" not in name


def _miscounts(split: SplitAudit) -> list[Miscount]:
    """Bad rows count too: they are problems already, not missing."""
    rows = split.rows + split.bad_rows
    wrong = []
    if split.official_rows is not None and rows != split.official_rows:
        wrong.append(Miscount(split.file, "rows", split.official_rows, rows))
    if not split.bad_rows:  # the domain of a bad row is not known
        wrong += [
            Miscount(split.file, f"rows of domain {count.domain}", count.official or 0, count.rows)
            for count in split.domains
            if split.official_rows is not None and split.split in LEVELS and count.rows != (count.official or 0)
        ]
    return wrong

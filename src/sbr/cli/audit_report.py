"""The report of `sbr data check`: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from sbr.data.audit.root import FULL_TRAINING_ROWS

if TYPE_CHECKING:
    from rich.console import Console

    from sbr.data.audit.leakage import Shared
    from sbr.data.audit.root import Audit
    from sbr.data.audit.split import SplitAudit
    from sbr.frames.probe import MediaReport, Spread

SHOWN = 20
"""Lines of every list shown on the screen; the JSON report has all."""

UNEVEN = 0.001
"""p-value below which the balance of the right letters is remarked on."""

_PLAIN: dict[str, Any] = {"box": None, "padding": (0, 1, 0, 0), "pad_edge": False, "title_justify": "left"}


def report_json(audit: Audit, media: MediaReport | None) -> str:
    """Everything, as one JSON object; `media` is null when they were not opened."""
    values = dataclasses.asdict(dataclasses.replace(audit, named=()))  # `named` is the work list of the probe
    del values["named"]
    for shared, found in zip(audit.shared, values["shared"], strict=True):
        found["is_leak"] = shared.is_leak
    report = {"ok": audit.ok and (media is None or media.ok), **values, "media": media and dataclasses.asdict(media)}
    return json.dumps(report, indent=1, default=str) + "\n"


def show(audit: Audit, media: MediaReport | None, console: Console) -> None:
    """What is there, then what is wrong (red), then what is only worth knowing (yellow)."""
    _tables(audit, media, console)
    duplicates = sum(split.duplicate_ids for split in audit.splits)
    repeated = f" ({duplicates} rows repeat a sample_id)" if duplicates else ""
    _list(console, "red", f"problems of rows{repeated}", audit.problems)
    _list(console, "red", "missing media", audit.missing)
    _list(console, "red", "media that cannot be used", media.broken if media else ())
    _list(console, "red", "leaks from training into validation", [leak for s in audit.leaks for leak in _leaks(s)])
    _list(console, "red", "counts that are not the paper's", audit.miscounts)
    _list(console, "red", "absent annotation files", audit.absent)
    gold = sum(split.repeated_gold for split in audit.splits)
    notes = [note for split in audit.splits for note in split.notes]
    also = f"; in {gold} of them a wrong option reads as the right one" if gold else ""
    _list(console, "yellow", f"repeated options or questions (rows kept as they are{also})", notes)
    uneven = [_uneven(split) for split in audit.splits if split.gold_p is not None and split.gold_p < UNEVEN]
    _list(console, "yellow", "uneven answer letters", uneven)
    _list(console, "yellow", "files not checked, since no split has their names", audit.not_checked)
    uncounted = [split for split in audit.splits if split.split.startswith("training")]
    if uncounted:
        names = ", ".join(split.file.name for split in uncounted)
        console.print(f"no count is known for {names}; the paper's whole training set has {FULL_TRAINING_ROWS:,} rows")
    good = audit.ok and (media is None or media.ok)
    console.print("nothing is wrong" if good else "something is wrong, see above", style="green" if good else "red")
    if media is None:
        console.print("media were not opened (--quick looks for them, --no-media does not)")


def _tables(audit: Audit, media: MediaReport | None, console: Console) -> None:
    # The first table fits 80 columns with its longest file name.
    rows = _table(f"Data root {audit.root}", 1, "file", "rows", "paper", "bad", "no video", "missing")
    letters = _table("\nRight letters and repetitions", 1, "file", "A B C D %", "p if even", "options", "questions")
    domains = _table("\nDomains", 2, "split", "domain", "rows", "paper")
    shared = _table("\nShared with training", 2, "level", "training file", "videos", "rows", "kitchens", "questions")
    for split in audit.splits:
        name = split.file.name
        missing = _red(len(split.missing))
        rows.add_row(name, str(split.rows), _or_dash(split.official_rows), _red(split.bad_rows), _empty(split), missing)
        if split.gold_letters:
            letters.add_row(name, *_letters(split), str(split.repeated_options), str(split.repeated_questions))
        for count in split.domains:
            domains.add_row(split.split, count.domain, str(count.rows), _or_dash(count.official))
    for name in audit.absent:
        rows.add_row(name, Text("absent", "red"))
    for pair in audit.shared:
        shared.add_row(pair.level, pair.training_file.name, *_shared(pair))
    for table in (rows, letters, domains, shared):
        console.print(table)
    if media:
        how = "every frame decoded" if media.full else "images and key frames decoded"
        found = _table(
            f"\nMedia, each once a file; {how}", 1, "file", "videos", "images", "broken", "seconds", "frames"
        )
        for split in media.splits:
            found.add_row(
                split.file.name,
                *(str(split.videos), str(split.images), _red(split.broken)),
                *(_range(split.seconds, 1), _range(split.frames, 0)),
            )
        console.print(found)
    console.print()


def _table(title: str, left: int, *columns: str) -> Table:
    """The first `left` columns hold names."""
    table = Table(title=title, **_PLAIN)
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i < left else "right", no_wrap=True)
    return table


def _empty(split: SplitAudit) -> str:
    return f"{split.without_video} ({100 * split.without_video / max(split.rows + split.bad_rows, 1):.0f} %)"


def _letters(split: SplitAudit) -> tuple[str, str]:
    counts = dict(split.gold_letters)
    shares = " ".join(f"{100 * counts.get(letter, 0) / max(split.rows, 1):.0f}" for letter in "ABCD")
    return shares, "-" if split.gold_p is None else f"{split.gold_p:.2g}"


def _uneven(split: SplitAudit) -> str:
    shares, p = _letters(split)
    return f"{split.file.name}: A B C D are right in {shares} % of {split.rows} rows (chi-square, p = {p})"


def _shared(pair: Shared) -> tuple[Text, ...]:
    kitchens = f"{len(pair.kitchens)} of {pair.kitchens_of_level}" if pair.kitchens_of_level else "-"
    numbers = (str(len(pair.videos)), str(pair.rows), kitchens, str(len(pair.questions)))
    return tuple(Text(number, "red" if pair.is_leak else "") for number in numbers)


def _leaks(pair: Shared) -> list[str]:
    """One line for everything a level may not share."""
    where = f"{pair.level_file.name} and {pair.training_file.name}"
    lines = [f"{where}, lines {a} and {b}: the same question" for a, b in pair.questions]
    if not pair.allowed:
        lines += [f"{where}: video {video}" for video in pair.videos]
        lines += [f"{where}: medium {medium}" for medium in pair.media]
        lines += [f"{where}: kitchen of {kitchen}" for kitchen in pair.kitchens]
    return lines


def _range(spread: Spread | None, digits: int) -> str:
    return "-" if spread is None else " ".join(f"{x:.{digits}f}" for x in (spread.low, spread.median, spread.high))


def _red(number: int) -> Text:
    return Text(str(number), "red" if number else "")


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)


def _list(console: Console, colour: str, title: str, lines: Any) -> None:
    if not lines:
        return
    console.print(f"{title}: {len(lines)}", style=colour)
    for line in lines[:SHOWN]:
        console.print(f"  {line}", soft_wrap=True)
    if len(lines) > SHOWN:
        console.print(f"  ... and {len(lines) - SHOWN} more (all of them with --json FILE)")

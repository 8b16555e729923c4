"""CSV files with a header as rows of fields."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from sbr.data.rows.fields import RowFields
from sbr.data.rows.lines import file_lines
from sbr.errors import DataError


def csv_rows(file: Path, columns: Sequence[str], expected: str) -> Iterator[RowFields]:
    """Every row; the values are texts, and columns that a short row lacks are absent.

    Raises DataError if `file` cannot be read (`file_lines`), is no CSV in UTF-8, or lacks one of the `columns`:
    `expected` then says what file it should be.
    """
    reader = csv.DictReader(_texts(file))
    try:
        if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
            raise DataError(f"{file}:1: no column {', '.join(missing)}; expected {expected}")
        for row in reader:
            # A row with too few columns has None in the last ones, one with too many has them under None.
            fields = RowFields(file, reader.line_num, {k: v for k, v in row.items() if k and v is not None})
            if None in row:
                fields.problem("line", f"{len(reader.fieldnames or ())} columns", "one with more")
            yield fields
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is not a CSV file in UTF-8: {error}") from None


def _texts(file: Path) -> Iterator[str]:
    for number, line in enumerate(file_lines(file)):
        yield line.decode("utf-8" if number else "utf-8-sig")

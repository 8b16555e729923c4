"""The fields of a TOML table: every problem is noted, with its place, and reading goes on."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sbr.data.rows.jsonl import shown


class TomlFields:
    """Reads the fields of one table.  After a problem a method returns a stand-in and the file is refused."""

    def __init__(self, values: Mapping[str, Any], where: str, problems: list[str]) -> None:
        self.values, self.where, self.problems = values, where, problems

    def problem(self, key: str, expected: str) -> None:
        found = shown(_plain(self.values[key])) if key in self.values else "missing"
        self.note(f"{key} is {found}, expected {expected}")

    def note(self, text: str) -> None:
        self.problems.append(f"{self.where}: {text}" if self.where else text)

    def only(self, *keys: str) -> None:
        for key in self.values.keys() - set(keys):
            near = difflib.get_close_matches(key, keys, 1)
            self.note(f"{key} is no field of it" + (f"; did you mean {near[0]}?" if near else f" ({', '.join(keys)})"))

    def text(self, key: str, default: str | None = None) -> str:
        value = self.values.get(key, default)
        if isinstance(value, str) and (value.strip() or value == default) and value.isprintable():
            return value
        self.problem(key, "a text of one line")
        return ""

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key)
        if isinstance(value, list) and value and all(isinstance(item, str) and item for item in value):
            return tuple(value)
        self.problem(key, "a list of texts")
        return ()

    def lists(self, key: str, least: int, expected: str) -> list[list[str]]:
        """Lists of at least `least` texts; none when there is no such field."""
        value = self.values.get(key, [])
        if isinstance(value, list) and all(
            isinstance(row, list) and len(row) >= least and all(isinstance(name, str) for name in row) for row in value
        ):
            return value
        self.problem(key, expected)
        return []

    def whole(self, key: str, default: int) -> int:
        value = self.values.get(key, default)
        if type(value) is int and value > 0:
            return value
        self.problem(key, "a whole number from 1 on")
        return default

    def percents(self, key: str, count: int) -> list[Decimal]:
        """`count` numbers of 0 to 100; none when something is wrong."""
        value = self.values.get(key)
        expected = f"{count} numbers from 0 to 100, one a column"
        if not isinstance(value, list) or len(value) != count:
            self.problem(key, expected)
            return []
        wrong = [place for place, item in enumerate(value) if not _is_percent(item)]
        for place in wrong:
            self.note(f"{key}[{place}] is {shown(_plain(value[place]))}, expected a number from 0 to 100")
        return [] if wrong else [Decimal(item) for item in value]

    def each(self, key: str) -> list[TomlFields]:
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.problem(key, f"tables, each under [[{key}]]")
            return []
        where = f"{self.where}, " if self.where else ""
        return [
            TomlFields(item, f"{where}{key.removesuffix('s')} {number}{_named(item)}", self.problems)
            for number, item in enumerate(value, start=1)
        ]


def _is_percent(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return False
    return Decimal(value).is_finite() and 0 <= value <= 100


def _named(item: Mapping[str, Any]) -> str:
    """What a person knows it by: " (arXiv 2503.24376, Table 2)", " (Qwen2-VL-7B, GRPO)"."""
    values = [item.get(key) for key in ("source", "place", "model", "method", "name")]
    names = [value for value in values if isinstance(value, str) and value and value.isprintable()]
    return f" ({', '.join(names)[:200]})" if names else ""


def _plain(value: Any) -> Any:
    """Decimals as they were written."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value

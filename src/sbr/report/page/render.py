"""PageData -> the report page: one HTML file with everything inside, for any browser of the last two years, offline.

What is text and tables is written here by Jinja2 and can be read without JavaScript.  The scripts add the charts and
the case explorer.  Their data stand in the file in two kinds: one gzip block with everything but pictures and maps,
which is read when the page opens, and for every case its picture and a gzip block of its maps, which are read when it
is shown.

Nothing can leave the page: its content security policy allows the scripts written here, by their hash, no other, and
no connection.  Strings of data and models are text everywhere: Jinja2 escapes them, the data are base64, and the
scripts make text nodes of them (the policy forbids innerHTML).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sbr.report.page.data import Bars, Fraction, PageData

START = "<!doctype html>\n<!-- sbr report -->\n"
"""The first characters of every page: what may be replaced by a new one."""
FOLDER = Path(__file__).parent / "web"
LIBRARIES = ("preact.min.js", "preact-hooks.min.js", "htm.min.js", "d3.min.js", "plot.min.js")
"""In vendor/, in the order in which they need one another."""
SCRIPTS = (
    "read",
    "state",
    "filters",
    "look",
    "charts",
    "flows",
    "maps",
    "frames",
    "response",
    "case",
    "explorer",
    "main",
)
"""Files of the page that make up its own script, in order."""
PICTURE = re.compile(r"data:image/(?:webp|png|jpeg|avif);base64,[A-Za-z0-9+/]+={0,2}")
MINUS, NONE = "\N{MINUS SIGN}", "\N{EN DASH}"
HALVES = dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)
"""Halves of characters, which UTF-8 and addresses do not have, become U+FFFD."""
VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
VISIBLE |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD) | HALVES
"""Control characters as their pictures, as `visible` of read.js shows them."""


def render(data: PageData) -> str:
    """The whole page; it begins with START and can be encoded as UTF-8.

    Raises ValueError for what a page cannot show: a figure that is not finite, a sprite that is no data: URI, answers
    that are not one a run.
    """
    for case in data.cases:
        if len(case.answers) != len(data.runs):
            raise ValueError(f"case {case.id} has {len(case.answers)} answers for {len(data.runs)} runs")
    head = _plain(data, "page")
    blocks = [_heavy(case) for case in head["cases"]]
    scripts = [_script(FOLDER / "vendor" / name) for name in LIBRARIES]
    own = "\n".join((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    scripts.append(Markup(f'\n(() => {{\n"use strict";\n{own}}})();\n'))
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value.translate(VISIBLE) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": _percent,
        "interval": _interval,
        "points": _points,
        "rows": _bar_rows,
        "height": _height,
        "probability": _probability,
    }
    page = environment.get_template("template.html.j2").render(
        page=data,
        names=[run.name for run in data.runs],
        style=Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
        policy="; ".join(_policy(scripts)),
        scripts=scripts,
        head=Markup(_packed(head)),
        blocks=blocks,
    )
    return START + page


def _plain(value: Any, place: str) -> Any:
    """Dataclasses as dicts, tuples as lists, all the way down."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name), f"{place}.{field.name}") for field in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item, f"{place}[{number}]") for number, item in enumerate(value)]
    if isinstance(value, str) and not value.isascii():
        return value.translate(HALVES)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is {value}; a figure that is missing is None")
    return value


def _heavy(case: dict[str, Any]) -> tuple[Markup, Markup]:
    """Take the sprite and the maps out of `case`: (data: URI or nothing, packed maps or nothing)."""
    sprite = case["frames"].pop("sprite") if case["frames"] else ""
    if sprite and not PICTURE.fullmatch(sprite):
        raise ValueError(f"the sprite of case {case['id']} is not a data: URI of a picture: {sprite[:40]!r}")
    maps = [answer["attention"] for answer in case["answers"]]
    for answer in case["answers"]:
        answer["attention"] = answer["attention"] is not None
    return Markup(sprite), Markup(_packed(maps) if any(maps) else "")


def _packed(value: Any) -> str:
    """base64 of gzip of JSON in ASCII."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("ascii"), mtime=0)).decode("ascii")


def _script(file: Path) -> Markup:
    """A script as it may stand in a page; what refers to another file is left out."""
    text = re.sub(r"^//# sourceMappingURL=.*$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return Markup(text)


def _policy(scripts: list[Markup]) -> Iterator[str]:
    hashes = []
    for text in scripts:
        if re.search(r"</script|<!--|\r", text, flags=re.IGNORECASE):
            raise ValueError(f"a script that begins with {text[:60]!r} cannot stand inside HTML")
        hashes.append(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'")
    yield "default-src 'none'"
    yield f"script-src {' '.join(hashes)}"
    yield "style-src 'unsafe-inline'"
    yield "img-src data: blob:"
    yield "base-uri 'none'"
    yield "form-action 'none'"
    yield "require-trusted-types-for 'script'"
    yield "trusted-types 'none'"


def _percent(value: float | None, unit: str = "%") -> str:
    """0.883 -> "88.3"; of other units 0.0123 -> "0.0123"."""
    if value is None:
        return NONE
    return (f"{100 * value:.1f}" if unit == "%" else f"{value:.3g}").replace("-", MINUS)


def _interval(value: Fraction, unit: str = "%") -> str:
    """[84.2, 91.5], or nothing when there is none."""
    return (
        ""
        if value.low is None or value.high is None
        else f"[{_percent(value.low, unit)}, {_percent(value.high, unit)}]"
    )


def _points(value: float | None) -> str:
    """0.423 -> "+42.3"."""
    return NONE if value is None else f"{100 * value:+.1f}".replace("-", MINUS)


def _probability(value: float | None) -> str:
    """0.0123 -> "0.012"."""
    return NONE if value is None else "< 0.0001" if value < 0.0001 else f"{value:.2g}"


def _bar_rows(figure: Bars) -> list[tuple[str, str, Fraction]]:
    """The rows of a figure's table; a group is named once."""
    return [
        ("" if number else group, bar.series, bar.value)
        for group, bars in groupby(figure.bars, key=lambda bar: bar.group)
        for number, bar in enumerate(bars)
    ]


def _height(figure: Bars) -> int:
    """Pixels that charts.js needs for the figure and its legend."""
    groups = {bar.group for bar in figure.bars}
    series = {bar.series for bar in figure.bars}
    return 264 if len(groups) > 8 and figure.span is None else len(groups) * (14 * len(series) + 14) + 68

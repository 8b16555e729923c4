"""`sbr published`, `sbr compare --published`: files that hold no results, and places that cannot be written."""

from __future__ import annotations

from cases import Case, words
from full_disk import full_disk
from house import Place

TABLE = """
[[table]]
benchmark = "SEED-Bench-R1"
source = "me"
place = "a notebook"
checked = "itself"
columns = ["L1 Daily life"]
rows = [{ model = "M", method = "RLOO", percent = [46.01] }]
"""


def rows(name: str, content: str | bytes, *expected: str) -> Case:
    def make(place: Place) -> list[str]:
        place.write("rows.toml", content)
        return ["published", "rows.toml"]

    return Case(f"published: {name}", make, expected)


def beside(name: str, content: str, *expected: str) -> Case:
    def make(place: Place) -> list[str]:
        place.copy("eval", "a")
        place.write("rows.toml", content)
        return ["compare", "a", "--published", "rows.toml"]

    return Case(f"compare: {name}", make, expected)


def note(place: Place) -> list[str]:
    place.write("out.md", "my notes\n")
    return ["published", "--out", "out.md"]


CASES: tuple[Case, ...] = (
    words("published: a file that is not there", "published nowhere.toml", "nowhere.toml does not exist"),
    words("published: a device", "published /dev/zero", "/dev/zero is no ordinary file"),
    words("published: out is a device", "published --out /dev/full", "/dev/full is no ordinary file"),
    words("published: out in /proc", "published --out /proc/published.md", "/proc/published.md"),
    Case("published: out is a note", note, ("out.md", "left as it is")),
    Case("published: disk full", lambda _: ["published", "--out", "out.md"], ("File too large",), around=full_disk),
    rows("no TOML", '{"table": []}', "rows.toml: not valid TOML"),
    rows("bytes", b"\x00\xff", "rows.toml is not UTF-8"),
    rows("empty", "", "rows.toml holds no result"),
    rows("deep", "x = " + "[" * 100_000, "rows.toml: not valid TOML"),
    rows("large", "#" * 2_000_000, "rows.toml holds more than 1,048,576 bytes"),
    rows("an escape", TABLE.replace('"M"', '"\\u001b[31mM"'), "model is", "expected a text of one line"),
    rows("an escape in a key", TABLE + '\n["\\u001b[31m"]\n', "is no field of it"),
    rows("a number with many digits", TABLE.replace("46.01", "9" * 10_000), "rows.toml: not valid TOML"),
    rows("no number", TABLE.replace("46.01", "nan"), "row 1 (M, RLOO): percent[0] is nan"),
    rows("more than all", TABLE.replace("46.01", "1e999"), "percent[0] is", "0 to 100"),
    rows("a table that is a text", 'table = "x"', "table is 'x'"),
    beside("a bad row", TABLE.replace("46.01", "460.1"), "row 1 (M, RLOO): percent[0] is 460.1"),
    beside("another benchmark", TABLE.replace("SEED-Bench-R1", "X"), "benchmark is 'X', expected one of SEED-Bench-R1"),
)

"""docs/published.md, made of the published results and a few words on how to read them and how to add to them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sbr.report.published.rows import Published
from sbr.report.published.tables import (
    MARKS,
    claim_table,
    disagreement_table,
    misfit_table,
    protocol_table,
    result_tables,
    total_table,
)
from sbr.report.tables import TextTable, markdown_table

START = "# Published results\n"
"""How the file begins; nothing else is overwritten."""

OWN = "SBR-Mini"
"""How the names of this project's own benchmarks begin: they have a chapter of their own."""

_READING = """\
<!-- Made by `sbr published --out docs/published.md` from the TOML files in src/sbr/report/published; edit those. -->

Every accuracy that was found published on SEED-Bench-R1, as printed, and those on LongVideoBench of the same papers.
All figures are per cent of right answers; chance is 25 % on SEED-Bench-R1.

- **Compare figures within one source.** Two sources differ in frames, sampling, prompt and rule of scoring; the letter
  under "protocol" leads to [what each states](#protocols). They disagree on the same model before any training
  ([the list](#two-sources-on-one-model-and-method)).
- **The intervals are ours.** The sources print none. A printed percentage and the number of questions imply the count
  of right answers, and the count gives a Wilson interval. It counts questions only: another seed of training, or
  another draw of answers at temperature 1, moves a figure further, and questions of one video are not independent.
- **No interval** where no count follows, and for one figure over several levels, of which papers do not say whether it
  is a mean of levels or of questions.
{marks}
- "base" is the model as released, asked with the prompt of the source.
"""

_CONTRADICTIONS = """\
## Contradictions

Computed from the printed figures. A total is compared with its parts, each weighted by its questions. The weights of
LongVideoBench are those that the figures of arXiv 2503.24376 imply; a source whose figures are no shares of them (†)
may have had other questions, and its totals are then no evidence of an error.
"""

_OWN = """\
## Our own results: another benchmark

SBR-Mini is a drawn world with a model of 2 million parameters. Its figures say how methods compare there. They must not
be held against any figure above. On SEED-Bench-R1 itself nothing was run here yet.
"""

_ADDING = """\
## Add a row

Write a `[[table]]` into a TOML file, one for each table of a source:

    [[table]]
    benchmark = "SEED-Bench-R1"          # or LongVideoBench, or one of your own, see below
    source = "arXiv 2506.16141"          # or whose results they are
    place = "Table 2"
    checked = "the paper's text"         # or "not checked: as reported in ..."
    frames = "16, and the observation"   # frames, pixels, temperature, rule: leave out what the source does not state
    columns = ["L1 Daily life", "L2 Daily life", "L3 Overall"]
    rows = [
        { model = "Qwen2.5-VL-7B", method = "GRPO", percent = [52.3, 53.2, 46.7] },
    ]

`sbr published FILE` checks it and shows its rows among the others; `sbr compare RUN --published FILE` puts them below a
run. Problems are told with table, row and field. For the package, add the table to
`src/sbr/report/published/published.toml` and run `sbr published --out docs/published.md`.

| field | what it is |
|---|---|
| `percent` | one figure a column, with the printed decimals: 57.0, not 57 |
| `decimals` | of a table: `{ "Overall" = 1 }` where fewer decimals mean something than are printed |
| `runs`, `sd` | of a row: the figures are means of so many runs; their standard deviations in points |
| `low`, `high` | of a row: 95 % limits that the source gives, in per cent; the table's `limits` says what they count |
| `command` | of a table: what makes the figures again |
| `note` | of a row: a few words that stand beside the source |

Name models and methods as the other rows do: figures of one model and method are compared with each other. A benchmark
of your own is a `[[benchmark]]` with `name`, `about` and `questions` (columns with their numbers of questions, 0 for a
mean over columns), and if you like `totals` (a column, then those that make it up) and `views` (a title, then the
columns of one table). A figure in circulation that no source bears out is a `[[claim]]` with `figure`, `about`,
`found` and `why`.
"""


def document(published: Published) -> str:
    """The whole file, as Markdown."""
    own = [name for name in published.benchmarks if name.startswith(OWN)]
    others = [name for name in published.benchmarks if name not in own]
    parts = [START, _READING.format(marks="\n".join(f"- {mark}" for mark in MARKS))]
    for name in others:
        parts += _chapter(published, name)
    parts.append(_CONTRADICTIONS)
    checks = (
        disagreement_table(published, within=False),
        disagreement_table(published, within=True),
        total_table(published),
        misfit_table(published),
        claim_table(published),
    )
    parts += [_markdown(table) for table in checks if table.rows]
    parts += ["## Protocols\n", _protocols(published, others)]
    if own:
        parts.append(_OWN)
        for name in own:
            parts += _chapter(published, name, "###")
            parts += ["".join(f"- {t.place}: `{t.command}`\n" for t in published.of(name) if t.command)]
        parts.append(_protocols(published, own))
    parts.append(_ADDING)
    return "\n".join(parts)


def _chapter(published: Published, benchmark: str, level: str = "##") -> list[str]:
    tables = result_tables(published, benchmark)
    if not tables:
        return []
    about = published.benchmarks[benchmark]
    named = len(about.views) > 1  # one table needs no title below the chapter's
    return [
        f"{level} {benchmark}\n",
        _linked(f"{about.about[:1].upper()}{about.about[1:]}.\n"),
        *(_markdown(table, named) for table in tables),
    ]


def _protocols(published: Published, benchmarks: Sequence[str]) -> str:
    return _markdown(protocol_table(published, benchmarks), heading=False)


def _markdown(table: TextTable, heading: bool = True) -> str:
    """With links to the papers, and "<" as a letter."""
    text = markdown_table(table).replace("<", "&lt;").rstrip("\n") + "\n"
    return _linked(text if heading else text.split("\n", 2)[2])


def _linked(text: str) -> str:
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)

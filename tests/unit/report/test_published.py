"""Published results: the file that ships, what follows from it, the document, and what the reader refuses."""

import json
import re
import tomllib
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import pytest
from scipy.stats import binomtest

from sbr.data.sources.seed_bench_r1 import LEVELS
from sbr.errors import DataError
from sbr.eval.stats import difference_interval
from sbr.report.published.check import disagreements, marked, wrong_totals
from sbr.report.published.document import document
from sbr.report.published.read import packaged, parse, read_published
from sbr.report.published.rows import Published
from sbr.report.published.tables import result_tables

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT.parent / "shared" / "reference" / "paper_tables.json"
SBR, LONG = "SEED-Bench-R1", "LongVideoBench"


def figures(published=None):
    for table in (published or packaged()).tables:
        for row in table.rows:
            for column, figure in row.figures.items():
                yield table, row, column, figure


def printed():
    """(benchmark, source, place, model, method, column) -> the figure, and half a unit of its last decimal, exactly."""
    found = {}
    for name in ("published.toml", "own.toml"):
        text = (files("sbr.report.published") / name).read_text(encoding="utf-8")
        for table in tomllib.loads(text, parse_float=Decimal)["table"]:
            for row in table["rows"]:
                for column, percent in zip(table["columns"], row["percent"], strict=True):
                    decimals = min(-percent.as_tuple().exponent, table.get("decimals", {}).get(column, 9))
                    key = (table["benchmark"], table["source"], table["place"], row["model"], row["method"], column)
                    found[key] = (Fraction(percent), Fraction(1, 2 * 10**decimals))
    return found


def key(table, row, column):
    return (table.benchmark, table.source, table.place, row.model, row.method, column)


def test_the_document_is_what_the_files_make():
    made = document(packaged())
    assert (ROOT / "docs" / "published.md").read_text("utf-8") == made, "run `sbr published --out docs/published.md`"


def test_every_figure_of_the_files_is_read_and_stands_in_the_document():
    read = {key(t, r, c): (f.percent, f.half) for t, r, c, f in figures()}
    assert {k: (float(p), float(half)) for k, (p, half) in printed().items()} == read
    lines = document(packaged()).replace("&lt;", "<").splitlines()
    for table, row, _, figure in figures():
        plain = re.sub(r"\[(arXiv [\d.]+)\]\(\S+?\)", r"\1", "\n".join(lines))
        assert any(
            line.startswith(f"| {row.model}, {row.method} |") and table.title in line and figure.text in line
            for line in plain.splitlines()
        )


def test_every_row_has_a_source_a_place_and_says_against_what_it_was_checked():
    for table in packaged().tables:
        assert re.fullmatch(r"arXiv \d{4}\.\d{5}|this project, version \S+", table.source)
        assert table.place
        assert table.checked in ("the paper's text", "the log") or table.checked.startswith(
            "not checked: as reported in"
        )
        assert all(row.model and row.method for row in table.rows)
        assert all(part for part in table.protocol)


def test_questions_are_those_of_the_benchmarks():
    questions = packaged().benchmarks[SBR].questions
    for level in LEVELS.values():
        for domain, count in level.official_domains.items():
            assert questions[f"{level.name} {domain}"] == count
    assert questions["L3 Overall"] == LEVELS["L3"].official_rows
    assert questions["All levels"] is None
    long = packaged().benchmarks[LONG].questions
    assert sum(list(long.values())[:4]) == sum(list(long.values())[4:6]) == long["Overall"] == 1337


def test_counts_are_the_nearest_that_round_to_the_printed_figure_and_intervals_are_scipys():
    exact = printed()
    counted = 0
    for table, row, column, figure in figures():
        percent, half = exact[key(table, row, column)]
        if figure.questions is None or figure.runs > 1:
            assert figure.correct is None
            assert figure.interval is figure.given  # limits that the source states, of several runs
            continue
        n = figure.questions
        fitting = [k for k in range(n + 1) if abs(Fraction(100 * k, n) - percent) <= half]
        assert figure.misfit is (not fitting)
        if not fitting:
            assert figure.interval is None
            continue
        assert figure.correct == min(fitting, key=lambda k: abs(Fraction(100 * k, n) - percent))
        limits = binomtest(figure.correct, n).proportion_ci(method="wilson")
        assert figure.interval.low == pytest.approx(limits.low, abs=1e-12)
        assert figure.interval.high == pytest.approx(limits.high, abs=1e-12)
        counted += 1
    assert counted > 300


def test_the_papers_tables_are_the_reference_unchanged():
    if not REFERENCE.exists():
        pytest.skip(f"{REFERENCE} is not on this machine")
    reference = json.loads(REFERENCE.read_text("utf-8"))
    keys = {"base": "base", "SFT": "sft", "GRPO": "grpo"}
    for benchmark, name in ((SBR, "table2_accuracy_percent"), (LONG, "table3_longvideobench_percent")):
        (table,) = [t for t in packaged().of(benchmark) if t.source == "arXiv 2503.24376"]
        for row in table.rows:
            columns = [column.replace("/", " ") for column in reference[name]["columns"]]
            assert {c: f.percent for c, f in row.figures.items()} == dict(
                zip(columns, reference[name][keys[row.method]], strict=True)
            )


def test_totals_are_recomputed_from_their_parts():
    """In exact fractions, by the definition: weights are questions; rounding of total and parts is allowed for."""
    exact, off = printed(), set()
    for table in packaged().tables:
        benchmark = packaged().benchmarks[table.benchmark]
        for row in table.rows:
            for total in benchmark.totals:
                cells = [exact.get(key(table, row, column)) for column in (total.column, *total.parts)]
                if None in cells:
                    continue
                (whole, half), *parts = cells
                sizes = [benchmark.questions[part] for part in total.parts]
                weighted = sum(p * n for (p, _), n in zip(parts, sizes, strict=True)) / sum(sizes)
                if abs(weighted - whole) > half + max(h for _, h in parts):
                    off.add(key(table, row, total.column))
    found = {key(wrong.table, wrong.row, wrong.column): wrong for wrong in wrong_totals(packaged())}
    assert found.keys() == off
    assert sum(k[0] == SBR for k in off) == 7
    deep = found[SBR, "arXiv 2506.07464", "Table 1", "Qwen2-VL-7B", "DeepVideo-R1", "L3 Overall"]
    assert (round(deep.weighted, 2), round(deep.plain, 3), deep.is_plain_mean) == (54.67, 53.825, True)
    grpo = found[SBR, "arXiv 2506.07464", "Table 1", "Qwen2-VL-2B", "GRPO", "L3 Overall"]
    assert (round(grpo.weighted, 2), grpo.is_plain_mean) == (38.47, False)
    assert not any(source == "arXiv 2506.16141" for _, source, *_ in off), "GRPO-CARE's table adds up"


def test_two_tables_of_one_source_that_differ_are_found_and_marked():
    found = {
        (d.model, d.method, d.column, d.one[1].percent, d.other[1].percent) for d in disagreements(packaged(), True)
    }
    assert found == {
        ("Qwen2.5-VL-3B", "base", "L3 Overall", 28.2, 27.0),
        ("Qwen2.5-VL-3B", "Reg-GRPO", "L3 Overall", 39.5, 36.3),
    }
    marks = marked(packaged())
    place = "arXiv 2506.07464, Tables 4 and 5"
    assert marks[SBR, place, "Qwen2.5-VL-3B", "Reg-GRPO", "L3 Overall"] == "‡"
    assert (SBR, place, "Qwen2.5-VL-3B", "DPO", "L3 Overall") not in marks
    assert marks[SBR, "arXiv 2503.24376, Table 2", "Qwen2-VL-7B", "base", "L3 Hobbies"] == "†"


def test_two_sources_are_compared_and_copies_are_not_contradictions():
    found = {(d.model, d.method, d.column): d for d in disagreements(packaged(), False)}
    assert {model for model, _, _ in found} == {"Qwen2.5-VL-7B"}
    base = found["Qwen2.5-VL-7B", "base", "L1 Daily life"]
    assert base.difference == pytest.approx(33.4 - 38.4)
    assert base.interval == difference_interval(812, 2432, 934, 2432)
    assert base.interval.high < 0
    (paper,) = [t for t in packaged().of(SBR) if t.source == "arXiv 2503.24376"]
    of_paper = {row.method: row.figures for row in paper.rows}
    copies = [
        row for t in packaged().of(SBR) for row in t.rows if row.note == "the figures of arXiv 2503.24376, rounded"
    ]
    assert len(copies) == 3
    assert all(row.model == "Qwen2-VL-7B" for row in copies)
    assert all(f.agrees(of_paper[row.method][c]) for row in copies for c, f in row.figures.items())


def test_the_claims_are_not_in_the_tables():
    tables = [t for t in packaged().of(SBR) if t.source == "arXiv 2506.07464" and t.place == "Table 1"]
    deep = [f.percent for t in tables for row in t.rows if row.method == "DeepVideo-R1" for f in row.figures.values()]
    assert max(deep) == 59.8
    assert packaged().claims[0].figure == "65.9"
    assert "59.8" in packaged().claims[0].why
    assert not any(f.percent == 65.9 for t, _, _, f in figures() if t.benchmark == SBR)


def test_our_own_rows_are_of_a_benchmark_of_their_own():
    own = [table for table in packaged().tables if table.source.startswith("this project")]
    assert own
    assert all(table.command for table in own)
    assert {table.benchmark for table in own} == {"SBR-Mini, version 0.1", "SBR-Mini, version 0.2"}
    log = (ROOT / "docs" / "log.md").read_text("utf-8")
    for table, _, _, figure in figures():
        if table.checked == "the log":
            assert (figure.text if figure.sd is None else f"{figure.text}, {figure.sd:.{figure.decimals}f}") in log
    before, after = document(packaged()).split("## Our own results: another benchmark")
    assert "sbr:mini" not in before
    assert "arXiv 2506" not in after.split("## Add a row")[0]


ROWS = """
[[table]]
benchmark = "SEED-Bench-R1"
source = "arXiv 2600.00001"
place = "Table 9"
checked = "the paper's text"
columns = ["L1 Daily life", "L3 Overall"]
rows = [
    { model = "M", method = "GRPO", percent = [50.00, 57.0] },
    { model = "M", method = "SFT", percent = [40.0, 41] },
]
"""


def test_a_row_of_ones_own_stands_among_the_others(tmp_path):
    file = tmp_path / "rows.toml"
    file.write_text(ROWS, "utf-8")
    found = read_published(file, packaged())
    assert len(found.tables) == len(packaged().tables) + 1
    grpo, sft = found.tables[-1].rows
    assert (grpo.figures["L1 Daily life"].correct, grpo.figures["L1 Daily life"].text) == (1216, "50.00")
    assert sft.figures["L3 Overall"].text == "41"
    levels = result_tables(found, SBR)[0]
    row = next(row for row in levels.rows if row[0] == "M, GRPO")
    assert row[1].startswith("50.00 [48.0")
    assert row[2] == "-"
    assert row[-1] == "arXiv 2600.00001, Table 9"


def test_runs_spreads_and_limits_of_a_benchmark_of_ones_own():
    text = """
[[benchmark]]
name = "mine"
about = "a test"
totals = [["all", "a", "b"]]
[benchmark.questions]
a = 100
b = 300
all = 0
[[table]]
benchmark = "mine"
source = "me"
place = "a notebook"
checked = "itself"
limits = "seeds and questions"
columns = ["a", "b", "all"]
rows = [
    { model = "m", method = "x", runs = 5, percent = [50.0, 60.0, 57.5], sd = [1.5, 2.0, 1.0], LIMITS },
    { model = "m", method = "y", percent = [50.0, 60.0, 55.0] },
    { model = "m", method = "z", percent = [50.0, 60.0, 56.0] },
]
"""
    limits = "low = [45.0, 55.0, 53.0], high = [55.0, 65.0, 62.0]"
    found = parse(text.replace("LIMITS", limits), "mine.toml", Published())
    (table,) = result_tables(found, "mine")
    assert table.header[:4] == ("model, method", "a (100)", "b (300)", "all")
    assert table.rows[0][1] == "50.0, sd 1.5 [45.0, 55.0]"
    assert table.rows[0][-1] == "me, a notebook (5 runs; limits count seeds and questions)"
    (wrong,) = wrong_totals(found)  # 57.5 by questions and 55.0 as plain mean are both allowed where no size is known
    assert (wrong.row.method, wrong.weighted, wrong.plain) == ("z", 57.5, 55.0)
    assert table.rows[2][3] == "56.0‡"


ROW = '{ model = "M", method = "SFT", percent = [40.0, 41] }'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "57.0",
            "157.0",
            "(arXiv 2600.00001, Table 9), row 1 (M, GRPO): percent[1] is 157.0, expected a number from 0 to",
        ),
        ("57.0", "-0.1", "percent[1] is -0.1"),
        ("57.0", "nan", "percent[1] is nan"),
        ("57.0", "inf", "percent[1] is inf"),
        ("57.0", "true", "percent[1] is True"),
        ("57.0", '"57.0"', "percent[1] is '57.0'"),
        ("57.0", "2026-01-01", "percent[1] is datetime.date(2026, 1, 1)"),
        ("[50.00, 57.0]", "[50.00]", "percent is [50.0], expected 2 numbers from 0 to 100, one a column"),
        ("[50.00, 57.0]", "50.00", "percent is 50.0, expected 2 numbers"),
        (", percent = [40.0, 41] }", " }", "row 2 (M, SFT): percent is missing"),
        ('method = "SFT"', 'method = ""', "row 2 (M): method is '', expected a text of one line"),
        ('method = "SFT"', 'method = "a\\nb"', "expected a text of one line"),
        ('method = "SFT"', 'method = "GRPO"', "M, GRPO stands twice under arXiv 2600.00001, Table 9"),
        ('method = "SFT"', 'methd = "SFT"', "methd is no field of it; did you mean method?"),
        ('source = "arXiv 2600.00001"\n', "", "table 1 (Table 9): source is missing, expected a text of one line"),
        ('"SEED-Bench-R1"', '"SEED"', "benchmark is 'SEED', expected one of SEED-Bench-R1, LongVideoBench"),
        ('"L3 Overall"', '"L4"', "columns are ['L4'], expected some of L1 Daily life"),
        (
            '"L3 Overall"',
            '"L1 Daily life"',
            "columns is ['L1 Daily life', 'L1 Daily life'], expected every column once",
        ),
        ("[[table]]", "[table]", "table is {'benchmark'"),
        ("rows = [", "rows = [1, ", "expected tables, each under [[rows]]"),
        (
            ROW,
            '{ model = "M", method = "SFT", percent = [40.0, 41], sd = [1.0, 1.0] }',
            "sd is that over `runs`, which is 1",
        ),
        (
            ROW,
            '{ model = "M", method = "SFT", percent = [40.0, 41], low = [1.0, 1.0] }',
            "low and high belong together",
        ),
        (
            ROW,
            '{ model = "M", method = "SFT", percent = [40.0, 41], low = [1.0, 1.0], high = [39.0, 50.0] }',
            "L1 Daily life: 40.0 is not within its limits 1.0 and 39.0",
        ),
        (
            ROW,
            '{ model = "M", method = "SFT", percent = [40.0, 41], low = [1.0, 1.0], high = [50.0, 50.0] }',
            "low and high need `limits` in their table",
        ),
        (
            ROW,
            '{ model = "M", method = "SFT", percent = [40.0, 41], runs = 0 }',
            "runs is 0, expected a whole number from 1",
        ),
        ("columns =", 'decimals = { "L3 Overall" = -1 }\ncolumns =', "decimals is {'L3 Overall': -1}, expected"),
        ("columns =", "columns =\n", "not valid TOML"),
        (
            "\n[[table]]",
            '\n[[benchmark]]\nname = "SEED-Bench-R1"\nabout = "x"\nquestions = { a = 1 }\n[[table]]',
            "name is 'SEED",
        ),
        (
            "\n[[table]]",
            '\n[[benchmark]]\nname = "x"\nabout = "x"\nquestions = { a = 1.5 }\n[[table]]',
            "questions is {'a'",
        ),
        (
            "\n[[table]]",
            '\n[[benchmark]]\nname = "x"\nabout = "x"\ntotals = [["a", "b", "c"]]\n'
            "questions = { a = 5, b = 1, c = 2 }\n[[table]]",
            "benchmark 1 (x): the questions of a are 5, those of its parts [1, 2]",
        ),
        (
            "\n[[table]]",
            '\n[[benchmark]]\nname = "x"\nabout = "x"\nviews = [["v", "z"]]\nquestions = { a = 5 }\n[[table]]',
            "totals and views name ['z'], which questions lacks",
        ),
        ("\n[[table]]", '\n[[claim]]\nfigure = "1"\n[[table]]', "claim 1: about is missing"),
    ],
)
def test_every_problem_is_told_with_table_row_and_field(old, new, message):
    assert old in ROWS
    with pytest.raises(DataError) as told:
        parse(ROWS.replace(old, new, 1), "rows.toml", packaged())
    assert message in str(told.value)
    assert str(told.value).endswith("docs/published.md")
    assert "rows.toml" in str(told.value).splitlines()[0]


def test_all_problems_are_told_at_once_and_many_are_counted():
    with pytest.raises(DataError, match=r"2 problems in rows.toml:\n.*157\.0[^\n]*\n.*method is missing"):
        parse(ROWS.replace("57.0", "157.0").replace('method = "SFT", ', ""), "rows.toml", packaged())
    many = ROWS.split("rows = [")[0] + "rows = [" + "{}, " * 30 + "]"
    with pytest.raises(DataError, match=r"90 problems(.|\n)*\.\.\. and 70 more"):
        parse(many, "rows.toml", packaged())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no result"),
        (b"\xff", "is not UTF-8"),
        (b"x = " + b"[" * 5000, "not valid TOML"),
        (b"a" * (2**20 + 1), "holds more than"),
    ],
)
def test_files_that_hold_no_results_are_refused(tmp_path, content, message):
    file = tmp_path / "rows.toml"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_published(file, packaged())
    with pytest.raises(DataError, match="does not exist"):
        read_published(tmp_path / "none.toml", packaged())

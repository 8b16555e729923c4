"""Tables against the paper's own figures."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from sbr.errors import DataError
from sbr.eval.compare import Comparison, SliceComparison
from sbr.eval.stats import Interval, MeanSpread, PairedDifference, wilson_interval
from sbr.eval.summary import LevelSummary, Slice, Summary
from sbr.report.tables import accuracy_table, comparison_table, markdown_table, rich_table, run_table, write_markdown

# arXiv 2503.24376, table 2: (right answers, questions)
GRPO = {"L1": (1119, 2432), "L2": (463, 923), "L3": (593, 1321)}
BASE = {"L1": (846, 2432), "L2": (314, 923), "L3": (417, 1321)}
L3_DOMAINS = {"Daily life": (213, 439), "Hobbies": (133, 295), "Recreation": (80, 183), "Work": (167, 404)}


def part(name: str, correct: int, questions: int, samples: int = 1) -> Slice:
    return Slice(
        name=name,
        questions=questions,
        samples=samples,
        correct=correct,
        accuracy=correct / questions,
        interval=wilson_interval(correct, questions),
        over_samples=MeanSpread(correct / questions, None if samples == 1 else 0.0123, samples),
        truncated_rate=0.015,
        format_rate=0.98,
        echo_rate=0.5,
        mean_completion_tokens=97.25,
    )


def summary(counts: dict[str, tuple[int, int]], samples: int = 1) -> Summary:
    levels = [
        LevelSummary(name, part("Overall", *count, samples), (part("Daily life", *count, samples),))
        for name, count in counts.items()
    ]
    return Summary("m", "greedy", "official", samples, 0, 256, 10.0, tuple(levels))


def full_summary() -> Summary:
    domains = tuple(part(name, *count) for name, count in L3_DOMAINS.items())
    whole = summary(GRPO)
    return replace(whole, levels=(*whole.levels[:2], replace(whole.levels[2], domains=domains)))


def test_accuracy_table_has_the_layout_and_the_figures_of_the_papers_table_2():
    table = accuracy_table({"grpo": full_summary()})
    assert table.header == (
        "model",
        "L1 Daily life",
        "L2 Daily life",
        "L3 Daily life",
        "L3 Hobbies",
        "L3 Recreation",
        "L3 Work",
        "L3 Overall",
    )
    (row,) = table.rows
    printed = [cell.split(" ")[0] for cell in row[1:]]
    assert printed == ["46.01", "50.16", "48.52", "45.08", "43.72", "41.34", "44.89"]
    assert row[1] == "46.01 [44.04, 48.00]"


def test_accuracy_table_has_one_row_a_run_and_refuses_runs_of_other_levels():
    table = accuracy_table({"base": summary(BASE), "grpo": summary(GRPO)})
    assert [row[0] for row in table.rows] == ["base", "grpo"]
    with pytest.raises(DataError, match="levels and domains differ"):
        accuracy_table({"base": summary(BASE), "grpo": full_summary()})


def test_run_table_shows_the_rates():
    table = run_table("runs/grpo", full_summary())
    assert table.header == ("", "n", "accuracy", "format", "truncated", "echo", "tokens")
    assert table.rows[0] == ("L1 Daily life", "2432", "46.01 [44.04, 48.00]", "98.0", "1.5", "50.0", "97.2")
    assert [row[0] for row in table.rows] == list(accuracy_table({"x": full_summary()}).header[1:])
    assert "rule official, protocol greedy" in table.note


def test_run_table_of_several_samples_shows_their_spread():
    table = run_table("x", summary(BASE, samples=4))
    assert table.header[-1] == "sd"
    assert table.rows[0][-1] == "1.23"


def test_comparison_table():
    paired = PairedDifference(0.11225, Interval(0.0851, 0.1394), 0.0002, 100, 373, "Newcombe paired, exact McNemar")
    drawn = replace(paired, difference=-0.01, interval=Interval(-0.02, 0.005), p_value=None, method="normal")
    slices = (
        SliceComparison("L1", part("Overall", *BASE["L1"]), part("Overall", *GRPO["L1"]), paired),
        SliceComparison(
            "L3", part("Overall", *BASE["L3"]), part("Overall", *GRPO["L3"]), replace(paired, p_value=0.0457)
        ),
        SliceComparison("L3", part("Work", 124, 404), part("Work", 167, 404), drawn),
    )
    table = comparison_table(Comparison("base", "grpo", "official", slices))
    assert table.header == ("", "n", "base", "grpo", "difference", "p")
    assert table.rows[0] == (
        "L1",
        "2432",
        "34.79 [32.92, 36.70]",
        "46.01 [44.04, 48.00]",
        "+11.22 [+8.51, +13.94]",
        "<0.001",
    )
    assert [row[0] for row in table.rows] == ["L1", "L3 Overall", "L3 Work"]
    assert [row[-1] for row in table.rows] == ["<0.001", "0.046", "-"]
    assert table.rows[2][4] == "-1.00 [-2.00, +0.50]"
    assert "Newcombe paired, exact McNemar; normal" in table.note


def rendered(table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(rich_table(table))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_terminal_table_fits_80_columns_and_keeps_every_figure():
    text = rendered(run_table("runs/[bold]grpo", full_summary()), 80)
    assert "runs/[bold]grpo" in text, "names are not markup"
    for figure in ("46.01", "[44.04, 48.00]", "48.52", "44.89", "L3 Recreation", "97.2"):
        assert figure in text
    assert max(map(len, text.splitlines())) <= 80


def test_markdown_table(tmp_path):
    table = accuracy_table({"a|b": summary({"L1": GRPO["L1"]})})
    assert markdown_table(table) == (
        "### Accuracy in % [95 % interval]\n"
        "\n"
        "| model | L1 Daily life |\n"
        "|---|---:|\n"
        "| a\\|b | 46.01 [44.04, 48.00] |\n"
        "\n"
        "Settings: rule official, protocol greedy, 1 answer(s) a question, at most 256 new tokens.\n"
    )
    write_markdown([table, table], tmp_path / "table.md")
    assert (tmp_path / "table.md").read_text("utf-8") == markdown_table(table) + "\n" + markdown_table(table)
    assert [file.name for file in tmp_path.iterdir()] == ["table.md"]

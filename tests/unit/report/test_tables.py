"""Tables against the paper's own figures."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from sbr.errors import DataError
from sbr.eval.compare import Comparison, SliceComparison
from sbr.eval.stats import ClusteredDifference, Interval, MeanSpread, PairedDifference, wilson_interval
from sbr.eval.summary import Grouping, LevelSummary, Slice, Summary
from sbr.report.paper import table_3
from sbr.report.published.read import packaged
from sbr.report.tables import (
    accuracy_table,
    comparison_tables,
    markdown_table,
    rich_table,
    run_tables,
    write_markdown,
)

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
    table = accuracy_table({"grpo": full_summary().levels}, "official")
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
    table = accuracy_table({"base": summary(BASE).levels, "grpo": summary(GRPO).levels}, "official")
    assert [row[0] for row in table.rows] == ["base", "grpo"]
    with pytest.raises(DataError, match="levels and domains differ"):
        accuracy_table({"base": summary(BASE).levels, "grpo": full_summary().levels}, "official")


def test_the_papers_rows_stand_below_ours_as_printed_and_marked():
    table = accuracy_table({"mine": full_summary().levels}, "official", paper=True)
    assert [row[0] for row in table.rows] == ["mine", "paper: base", "paper: SFT", "paper: GRPO"]
    mine, base, sft, grpo = table.rows
    assert grpo[1:] == mine[1:], "the counts in this file are those of the paper"
    assert [cell.split(" ")[0] for cell in base[1:]] == ["34.79", "34.02", "31.21", "32.30", "33.33", "30.69", "31.57"]
    assert [cell.split(" ")[0] for cell in sft[1:]] == ["43.79", "44.10", "38.27", "41.02", "32.24", "38.61", "38.15"]
    assert "arXiv 2503.24376" in table.note
    assert "32.30, should be 32.20 (95 of 295)" in table.note
    assert "NOT THE SAME" not in table.note


def test_the_papers_rows_beside_other_questions_say_so():
    few = LevelSummary("L1", part("Overall", 100, 300), (part("Daily life", 100, 300),))
    other = LevelSummary("L3", part("Overall", 5, 9), (part("Games", 2, 3), part("Work", 3, 6)))
    table = accuracy_table({"mine": (few, other)}, "official", paper=True)
    assert table.header == ("model", "L1 Daily life", "L3 Games", "L3 Work", "L3 Overall")
    assert table.rows[3][:3] == ("paper: GRPO", "46.01 [44.04, 48.00]", "-")
    assert "NOT THE SAME QUESTIONS" in table.note
    assert "L1 Daily life 300 (2432), L3 Work 6 (404), L3 Overall 9 (1321)" in table.note
    assert "32.30" not in table.note
    games = LevelSummary("L1", part("Overall", 2, 3), (part("Games", 2, 3),))
    with pytest.raises(DataError, match=r"no column of the runs \(L1 Games\) is in the paper's Table 2"):
        accuracy_table({"mine": (games,)}, "official", paper=True)


def test_published_rows_stand_below_and_name_their_source():
    care = [t for t in packaged().tables if t.source == "arXiv 2506.16141"]
    table = accuracy_table({"mine": full_summary().levels}, "official", published=care)
    assert table.rows[4][:2] == ("Qwen2.5-VL-7B, GRPO-CARE (arXiv 2506.16141, Table 2)", "57.0 [55.0, 58.9]")
    noted = table.rows[-1]
    assert noted[0].startswith("Qwen2.5-VL-7B, GRPO, reference answers again (arXiv 2506.16141, Table 3)")
    assert noted[3] == "-"
    assert "published figures, made with protocols of their own" in table.note
    assert "paper" not in table.note
    assert "NOT THE SAME" not in table.note
    few = LevelSummary("L1", part("Overall", 100, 300), (part("Daily life", 100, 300),))
    assert "L1 Daily life 300 (2432)" in accuracy_table({"few": (few,)}, "official", published=care).note
    long = [t for t in packaged().tables if t.benchmark == "LongVideoBench"]
    with pytest.raises(DataError, match=r"no column of the runs \(L1 Daily life\) is in arXiv 2503.24376, Table 3"):
        accuracy_table({"few": (few,)}, "official", published=long)


def long_videos(durations: tuple[int, ...], levels: tuple[int, int]) -> LevelSummary:
    """LongVideoBench with so many right answers, at the sizes of the paper's Table 3."""
    sizes = packaged().benchmarks["LongVideoBench"].questions
    names = list(sizes)
    cells = [part(name, n, sizes[name]) for name, n in zip(names, (*durations, *levels), strict=False)]
    groups = (
        Grouping("duration", tuple(cells[:4])),
        Grouping("level", tuple(cells[4:])),
        Grouping("category", (part("S2E", 3, 9), part("T3O", 2, 8))),
    )
    topics = (part("Travel", 1, 9), part("Vlogs", 2, 9))
    return LevelSummary("val", part("Overall", sum(durations), 1337), topics, groups=groups)


def test_long_videos_have_the_layout_of_table_3_and_its_rows():
    mine = long_videos((103, 92, 175, 210), (303, 277))
    table = accuracy_table({"mine": (mine,)}, "official", paper=True)
    assert table.header[1:] == tuple(table_3()["GRPO"])
    ours, base, sft, grpo = table.rows
    for row, name in ((base, "base"), (sft, "SFT"), (grpo, "GRPO")):
        assert [cell.split(" ")[0] for cell in row[1:7]] == [f"{f.percent:.2f}" for f in table_3()[name].values()][:6]
    assert [row[7].split(" ")[0] for row in (base, sft, grpo)] == ["32.9", "40.0", "43.4"]
    assert grpo[1:7] == ours[1:7]
    assert "Table 3 of arXiv 2503.24376" in table.note
    assert "NOT THE SAME" not in table.note
    few = replace(mine, overall=part("Overall", 2, 9))
    assert "Overall 9 (1337)" in accuracy_table({"few": (few,)}, "official", paper=True).note


def test_run_tables_of_long_videos_by_duration_level_and_category():
    mine = long_videos((103, 92, 175, 210), (303, 277))
    tables = run_tables("lvb", replace(full_summary(), levels=(mine,)))
    assert [table.title for table in tables] == ["lvb", "lvb, by duration", "lvb, by level", "lvb, by category"]
    assert [row[0] for row in tables[0].rows] == ["val Travel", "val Vlogs", "val Overall"]
    assert tables[1].rows[0][:2] == ("val (8,15]", "189")
    assert [row[2].split(" ")[0] for row in tables[1].rows] == ["54.50", "53.49", "42.48", "37.23"]
    assert [row[0] for row in tables[3].rows] == ["val S2E", "val T3O"]


def test_a_run_with_a_control_says_so():
    table = run_tables("x", replace(summary(BASE), control="blind", shuffle_options=True))[0]
    assert "without video and image. Every question was asked in every rotation" in table.note


def test_run_table_shows_the_rates():
    (table,) = run_tables("runs/grpo", full_summary())
    assert table.header == ("", "n", "accuracy", "format", "truncated", "echo", "tokens")
    assert table.rows[0] == ("L1 Daily life", "2432", "46.01 [44.04, 48.00]", "98.0", "1.5", "50.0", "97.2")
    columns = accuracy_table({"x": full_summary().levels}, "official").header[1:]
    assert [row[0] for row in table.rows] == list(columns)
    assert "rule official, protocol greedy" in table.note


def test_run_table_of_several_samples_shows_their_spread():
    (table,) = run_tables("x", summary(BASE, samples=4))
    assert table.header[-1] == "sd"
    assert table.rows[0][-1] == "1.23"


def test_run_table_of_scenarios():
    whole = full_summary()
    named = replace(whole.levels[2], scenarios=(part("bike", 2, 4), part("tea", 3, 4)))
    levels, scenarios = run_tables("x", replace(whole, levels=(*whole.levels[:2], named)))
    assert levels == run_tables("x", whole)[0]
    assert [row[:2] for row in scenarios.rows] == [("L3 bike", "4"), ("L3 tea", "4")]
    assert scenarios.header == levels.header
    assert scenarios.title == "x, by scenario"


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
    (table,) = comparison_tables(Comparison("base", "grpo", "official", slices))
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
    assert "not every record names its video" in table.note


def test_comparison_table_by_videos_and_by_scenarios():
    paired = PairedDifference(0.1, Interval(0.08, 0.12), 0.0002, 100, 373, "Newcombe paired, exact McNemar")
    by_video = ClusteredDifference(Interval(-0.0051, 0.1394), 0.0457, 212, 10_000, 0)
    level = SliceComparison("L3", part("Overall", *BASE["L3"]), part("Overall", *GRPO["L3"]), paired, by_video)
    tea = SliceComparison("L3", part("tea", 1, 4), part("tea", 2, 4), paired, replace(by_video, clusters=13))
    levels, scenarios = comparison_tables(Comparison("base", "grpo", "official", (level,), {"scenario": (tea,)}))
    assert levels.rows[0][4:] == ("+10.00 [+8.00, +12.00]", "<0.001")
    assert levels.rows[1] == ("by 212 videos", "", "", "", "[-0.51, +13.94]", "0.046")
    assert "10,000 times (seed 0)" in levels.note
    assert "not every record" not in levels.note and "Too few" not in levels.note
    assert [row[0] for row in scenarios.rows] == ["L3 tea", "by 13 videos"]
    assert scenarios.title == "grpo against base, by scenario"
    assert "not corrected" in scenarios.note
    assert max(map(len, rendered(levels, 80).splitlines())) <= 80


def test_too_few_videos_or_questions_are_said_to_be():
    few = PairedDifference(0.5, None, None, 0, 1, "normal over questions")
    exact = PairedDifference(0.5, Interval(0.1, 0.9), 0.5, 0, 1, "Newcombe paired, exact McNemar")
    slices = [SliceComparison("L1", part("Overall", 0, 2), part("Overall", 1, 2), p, None, 2) for p in (few, exact)]
    (table,) = comparison_tables(Comparison("base", "grpo", "official", (slices[0],)))
    assert table.rows[0][4:] == ("+50.00 (too few)", "-")
    assert table.rows[1] == ("by 2 videos", "", "", "", "too few", "")
    assert "from 10 questions on" in table.note and "an interval by videos needs 10 of them" in table.note
    (table,) = comparison_tables(Comparison("base", "grpo", "official", (slices[1],)))
    assert table.rows[0][4:] == ("+50.00 [+10.00, +90.00]", "0.500")
    assert "from 10 questions" not in table.note and "needs 10 of them" in table.note


def rendered(table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(rich_table(table))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_terminal_table_fits_80_columns_and_keeps_every_figure():
    text = rendered(run_tables("runs/[bold]grpo", full_summary())[0], 80)
    assert "runs/[bold]grpo" in text, "names are not markup"
    for figure in ("46.01", "[44.04, 48.00]", "48.52", "44.89", "L3 Recreation", "97.2"):
        assert figure in text
    assert max(map(len, text.splitlines())) <= 80


def test_markdown_table(tmp_path):
    table = accuracy_table({"a|b": summary({"L1": GRPO["L1"]}).levels}, "official")
    assert markdown_table(table) == (
        "### Accuracy in % [95 % interval]\n"
        "\n"
        "| model | L1 Daily life |\n"
        "|---|---:|\n"
        "| a\\|b | 46.01 [44.04, 48.00] |\n"
        "\n"
        "Rule official, 1 answer(s) a question.\n"
    )
    write_markdown([table, table], tmp_path / "table.md")
    assert (tmp_path / "table.md").read_text("utf-8") == markdown_table(table) + "\n" + markdown_table(table)
    assert [file.name for file in tmp_path.iterdir()] == ["table.md"]

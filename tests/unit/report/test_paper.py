"""The paper's tables that ship with the package: their own arithmetic, and what follows from them."""

import json
from itertools import product
from pathlib import Path

import pytest

from sbr.eval.stats import difference_interval, most_discordant_pairs
from sbr.report.paper import TABLE_3_SIZES, PaperCell, paper_tables, table_2, table_3

L3_DOMAINS = ("Daily life", "Hobbies", "Recreation", "Work")
REFERENCE = Path(__file__).parents[4] / "shared" / "reference" / "paper_tables.json"


def test_the_file_says_where_its_numbers_are_from():
    assert "arXiv 2503.24376" in paper_tables()["source"]


def test_the_file_is_the_reference_unchanged():
    if not REFERENCE.exists():
        pytest.skip(f"{REFERENCE} is not on this machine")
    assert paper_tables() == json.loads(REFERENCE.read_text("utf-8"))


def test_grpo_on_l1_has_the_interval_of_its_count():
    cell = table_2()["GRPO"]["L1 Daily life"]
    assert cell == PaperCell(46.01, 1119, 2432)
    assert round(100 * cell.correct / cell.questions, 2) == cell.percent
    assert (round(100 * cell.interval.low, 2), round(100 * cell.interval.high, 2)) == (44.04, 48.00)


@pytest.mark.parametrize("key", ["base", "sft", "grpo"])
def test_counts_from_percentages_are_the_published_ones_and_add_up(key):
    cells = table_2()[{"base": "base", "sft": "SFT", "grpo": "GRPO"}[key]]
    counts = paper_tables()["table2_correct_counts"]
    for column, level in (("L1 Daily life", "L1"), ("L2 Daily life", "L2"), ("L3 Overall", "L3")):
        assert (cells[column].correct, cells[column].questions) == (counts[level][key], counts[level]["n"])
    domains = [cells[f"L3 {domain}"] for domain in L3_DOMAINS]
    assert sum(cell.correct for cell in domains) == counts["L3"][key]
    assert sum(cell.questions for cell in domains) == counts["L3"]["n"]


def test_the_sizes_of_table_3_are_the_only_ones_that_fit():
    """1,337 questions over four durations, and over two levels: every split that gives all printed percentages."""
    printed = paper_tables()["table3_longvideobench_percent"]
    assert printed["columns"] == list(TABLE_3_SIZES)
    rows = [printed[key] for key in ("base", "sft", "grpo")]
    total = TABLE_3_SIZES["Overall"]

    def fitting(column: int) -> list[int]:
        shares = [row[column] / 100 for row in rows]
        return [
            n for n in range(20, total) if all(round(100 * round(p * n) / n, 2) == round(100 * p, 2) for p in shares)
        ]

    def counts(sizes: tuple[int, ...], first: int) -> list[int]:
        return [sum(round(row[first + i] * n / 100) for i, n in enumerate(sizes)) for row in rows]

    def agree(sizes: tuple[int, ...], first: int) -> bool:
        right = counts(sizes, first)
        return sum(sizes) == total and all(
            abs(100 * n / total - row[6]) < 0.05 for n, row in zip(right, rows, strict=True)
        )

    durations = [sizes for sizes in product(*map(fitting, range(4))) if agree(sizes, 0)]
    levels = [sizes for sizes in product(*map(fitting, (4, 5))) if agree(sizes, 4)]
    assert durations == [tuple(TABLE_3_SIZES.values())[:4]]
    assert levels == [tuple(TABLE_3_SIZES.values())[4:6]]
    assert counts(durations[0], 0) == counts(levels[0], 4) == [440, 535, 580]
    assert [cells["Overall"].correct for cells in table_3().values()] == [440, 535, 580]


def test_only_one_printed_cell_is_not_a_rounded_share():
    off = [
        (name, column)
        for name, cells in table_2().items()
        for column, cell in cells.items()
        if round(100 * cell.correct / cell.questions, 2) != cell.percent
    ]
    assert off == [("base", "L3 Hobbies")]


def test_the_figures_of_docs_statistics():
    """What the document says about SFT against GRPO, where the paper has no paired answers."""
    text = (Path(__file__).parents[3] / "docs" / "statistics.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| L")]
    sft, grpo = table_2()["SFT"], table_2()["GRPO"]
    expected = []
    for column in ("L1 Daily life", "L2 Daily life", "L3 Overall"):
        one, two, n = sft[column].correct, grpo[column].correct, sft[column].questions
        independent = round((one * (n - two) + two * (n - one)) / n)
        apart = difference_interval(two, n, one, n)
        most = most_discordant_pairs(two - one, n)
        expected.append(
            [
                column.split(" ")[0],
                str(n),
                str(one),
                str(two),
                f"{100 * (two - one) / n:+.2f} [{100 * apart.low:+.2f}, {100 * apart.high:+.2f}]",
                f"{most} ({100 * most / n:.0f} %)",
                str(independent),
            ]
        )
    assert rows == expected

"""The paper's tables: their own arithmetic, and what follows from them."""

from itertools import product
from pathlib import Path

import pytest

from sbr.eval.stats import difference_interval, most_discordant_pairs
from sbr.report.paper import table_2, table_3
from sbr.report.published.read import packaged
from sbr.report.published.rows import Figure

L3_DOMAINS = ("Daily life", "Hobbies", "Recreation", "Work")
COUNTS = {
    "base": {"L1 Daily life": 846, "L2 Daily life": 314, "L3 Overall": 417},
    "SFT": {"L1 Daily life": 1065, "L2 Daily life": 407, "L3 Overall": 504},
    "GRPO": {"L1 Daily life": 1119, "L2 Daily life": 463, "L3 Overall": 593},
}


def test_grpo_on_l1_has_the_interval_of_its_count():
    figure = table_2()["GRPO"]["L1 Daily life"]
    assert figure == Figure(46.01, 2, 2432)
    assert figure.correct == 1119
    assert round(100 * figure.correct / figure.questions, 2) == figure.percent
    assert (round(100 * figure.interval.low, 2), round(100 * figure.interval.high, 2)) == (44.04, 48.00)


@pytest.mark.parametrize("name", ["base", "SFT", "GRPO"])
def test_counts_from_percentages_are_known_and_add_up(name):
    figures = table_2()[name]
    assert {column: figures[column].correct for column in COUNTS[name]} == COUNTS[name]
    domains = [figures[f"L3 {domain}"] for domain in L3_DOMAINS]
    # 95 for the misprint of the base on hobbies, as the next test but one has it
    assert sum(95 if part.correct is None else part.correct for part in domains) == figures["L3 Overall"].correct
    assert sum(part.questions for part in domains) == figures["L3 Overall"].questions


def test_the_sizes_of_table_3_are_the_only_ones_that_fit():
    """1,337 questions over four durations, and over two levels: every split that gives all printed percentages."""
    sizes_of = packaged().benchmarks["LongVideoBench"].questions
    assert all(list(figures) == list(sizes_of) for figures in table_3().values())
    rows = [[figure.percent for figure in table_3()[name].values()] for name in ("base", "SFT", "GRPO")]
    total = sizes_of["Overall"]

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
    assert durations == [tuple(sizes_of.values())[:4]]
    assert levels == [tuple(sizes_of.values())[4:6]]
    assert counts(durations[0], 0) == counts(levels[0], 4) == [440, 535, 580]
    assert [cells["Overall"].correct for cells in table_3().values()] == [440, 535, 580]


def test_only_one_printed_cell_is_not_a_rounded_share():
    off = [(name, column) for name, cells in table_2().items() for column, cell in cells.items() if cell.misfit]
    assert off == [("base", "L3 Hobbies")]
    assert round(100 * 95 / 295, 2) == 32.20


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

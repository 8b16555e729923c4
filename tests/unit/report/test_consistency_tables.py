"""Tables of consistency show the figures of the summary, and say what was not told."""

from __future__ import annotations

from dataclasses import replace

from sbr.analysis.consistency_records import ConsistencyRecord
from sbr.analysis.consistency_summary import compare_consistency, summarize_consistency
from sbr.report.consistency_tables import consistency_tables
from sbr.report.tables import TextTable, markdown_table

SURE_B, FLAT = (0.02, 0.94, 0.02, 0.02), (0.25, 0.25, 0.25, 0.25)


def records(level: str = "L1", inconsistent: int = 3, judge: str | None = None) -> list[ConsistencyRecord]:
    """Twelve answers, each about a video of its own."""
    return [
        ConsistencyRecord(
            sample_id=str(n),
            level=level,
            sample_index=0,
            rotation=0,
            answer="B",
            correct=n % 2 == 0,
            rule=float(n >= inconsistent),
            rule_reason="the reasoning names something",
            own=SURE_B,
            empty=FLAT,
            cut=SURE_B if n < 6 else FLAT,
            other=FLAT,
            other_sample_id="x",
            other_same_video=n == 0,
            letter_shares=(0.99, 0.9, 0.9, 0.9),
            video_id=f"V{n}",
            judge=judge,
        )
        for n in range(12)
    ]


def tables(**runs: list[ConsistencyRecord]) -> dict[str, TextTable]:
    first, *others = runs
    found = consistency_tables(
        {name: summarize_consistency(of_run) for name, of_run in runs.items()},
        {(first, other): compare_consistency(runs[first], runs[other]) for other in others},
    )
    return {table.title: table for table in found}


def test_one_run():
    found = tables(base=records())
    rule, likelihood, changes, probabilities, agreement = found.values()
    assert rule.rows[0][:4] == ("base L1", "12", "75.00 [46.77, 91.11]", "25.00 [8.89, 53.23]")
    assert rule.rows[0][4:] == ("0.00", "0.00", "44.44 [18.88, 73.33]", "66.67 [20.77, 93.85]")
    assert likelihood.rows[0][2] == "100.00 [75.75, 100.00]"
    assert likelihood.rows[0][-1] == "-"
    assert "2 times as high" in likelihood.note
    assert changes.rows[0][:3] == ("base L1", "12", "50.00 [25.38, 74.62]")
    assert changes.rows[0][-1] == "100.00"
    assert "1 of the other reasonings are about the same video" in changes.note
    assert probabilities.rows == (("base L1", "94.00", "59.50", "25.00", "25.00", "99.00"),)
    assert agreement.rows == (("base L1", "rule, likelihood", "12", "75.00", "-", "-"),)


def test_what_is_unread_is_named_and_counted():
    found = tables(base=records(judge="unread"))
    judge = found["Does the reasoning entail the answer? By a judge"]
    assert judge.rows[0][2:6] == ("0.00 [0.00, 24.25]", "0.00 [0.00, 24.25]", "100.00", "0.00")
    assert judge.note.endswith("neither: the judge's reply cannot be read (12).")
    assert all("judge" not in row[1] for row in found["Do the ways agree?"].rows)  # nothing that both could read


def test_two_runs_of_two_levels():
    base = [*records("L1"), *records("L3")]
    found = tables(base=base, GRPO=[replace(record, rule=0.0) for record in base])
    differences = found["Differences of consistency"]
    assert differences.header == ("", "rule", "likelihood", "cut", "removed", "swapped")
    assert [row[0] for row in differences.rows] == [
        "GRPO against base, L1",
        "by videos",
        "GRPO against base, L3",
        "by videos",
    ]
    assert differences.rows[0][1].startswith("-75.00 [-")
    assert differences.rows[0][2] == "+0.00 [-24.25, +24.25]"
    assert [row[0] for row in found["Do the ways agree?"].rows] == ["base all levels", "GRPO all levels"]
    assert "| base L3 | 12 |" in markdown_table(found["Does the reasoning entail the answer? By rule"])


def test_few_questions_have_no_interval_by_videos():
    found = tables(base=records()[:5], GRPO=records()[:5])
    assert [row[0] for row in found["Differences of consistency"].rows] == ["GRPO against base, L1"]

"""The first screen: accuracies beside the paper's, differences, what is claimed of them, and the limits."""

from dataclasses import replace

import pytest
from report_runs import answer, answered, evaluation, sample_of, training

from sbr.errors import DataError
from sbr.eval.compare import compare_records
from sbr.eval.stats import holm, wilson_interval
from sbr.report.page.consistency import by_rule, rule_differences
from sbr.report.page.data import Difference
from sbr.report.page.findings import accuracy_findings, consistency_findings, findings_note, limits_of
from sbr.report.page.inputs import find_runs
from sbr.report.page.results import comparisons_of, corrected, differences_of, is_supported, results_of
from sbr.report.page.sections import published_section
from sbr.report.paper import table_2

L1 = [sample_of(number) for number in range(40)]


def runs_of(tmp_path, *rights, level="L1", samples=L1):
    """One evaluation for each number of right answers, those of the first questions."""
    folders = [
        evaluation(
            tmp_path / f"run_{place}",
            [answer(replace(q, split=level), "A" if number < right else "B") for number, q in enumerate(samples)],
        )
        for place, right in enumerate(rights)
    ]
    return find_runs(folders)


def differences(runs):
    return corrected(differences_of(comparisons_of(runs.asked)))[0]


def plain(sentences):
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in sentences]


def test_results_have_wilson_intervals_and_no_published_rows_beside_other_questions(tmp_path):
    columns, rows, note = results_of(runs_of(tmp_path, 10, 30).asked)
    assert columns == ("L1 Daily life",)
    assert [(row.name, row.paper) for row in rows] == [("run_0", False), ("run_1", False)]
    (mine,) = rows[1].cells
    limits = wilson_interval(30, 40)
    assert (mine.value, mine.low, mine.high, mine.n) == (0.75, limits.low, limits.high, 40)
    assert "paper" not in note
    assert published_section(runs_of(tmp_path / "more", 10)) is None


def test_the_papers_rows_and_published_results_stand_beside_the_benchmarks_own_questions(tmp_path):
    l2 = [replace(sample_of(number), split="L2") for number in range(923)]
    games = [replace(q, split="L3", domain="Games") for q in L1]
    runs = find_runs([evaluation(tmp_path / "run", [answer(q, "A") for q in [*l2, *games]])])
    columns, rows, note = results_of(runs.asked)
    assert columns == ("L2 Daily life", "L3 Games")
    assert [(row.name, row.paper) for row in rows] == [("run", False), ("base", True), ("SFT", True), ("GRPO", True)]
    paper, none = rows[3].cells
    printed = table_2()["GRPO"]["L2 Daily life"]
    assert (paper.value, paper.low, paper.n) == (printed.percent / 100, printed.interval.low, 923)
    assert none is None
    assert "Table 2 of arXiv 2503.24376" in note
    assert "NOT THE SAME" not in note
    section = published_section(runs)
    assert section.tables[0].title == "SEED-Bench-R1: levels"
    assert any(row[0] == "Qwen2-VL-7B, DeepVideo-R1" for row in section.tables[0].rows)
    assert not any("SBR-Mini" in table.title for table in section.tables)


def test_differences_are_those_of_compare_and_every_pair_of_up_to_four_runs(tmp_path):
    runs = runs_of(tmp_path, 10, 30, 20, 30)
    found = differences(runs)
    assert [(d.base, d.other) for d in found] == [
        *(("run_0", "run_1"), ("run_0", "run_2"), ("run_0", "run_3")),
        *(("run_1", "run_2"), ("run_1", "run_3"), ("run_2", "run_3")),
    ]
    (part,) = compare_records(runs.asked[0].records, runs.asked[1].records, "a", "b").slices
    first = found[0]
    assert (first.value, first.low, first.high) == (0.5, part.paired.interval.low, part.paired.interval.high)
    assert (first.p, first.videos) == (part.paired.p_value, 40)
    assert (first.video_low, first.video_high) == (part.by_video.interval.low, part.by_video.interval.high)
    assert [d.p_holm for d in found] == holm([d.p for d in found])


def test_five_runs_are_compared_with_the_first_only(tmp_path):
    assert [d.base for d in differences(runs_of(tmp_path, 1, 2, 3, 4, 5))] == ["run_0"] * 4


def test_runs_of_other_questions_are_refused(tmp_path):
    one = evaluation(tmp_path / "one", [answer(q, "A") for q in L1])
    two = evaluation(tmp_path / "two", [answer(q, "A") for q in L1[:-1]])
    with pytest.raises(DataError, match="the question sets differ"):
        comparisons_of(find_runs([one, two]).asked)


def test_p_values_of_all_families_are_corrected_together():
    def with_p(p):
        return Difference("a", "b", "L1", 0.1, 0.05, 0.15, p, None, None, None)

    one, two = corrected([with_p(0.01), with_p(None)], [with_p(0.04), with_p(0.03)])
    assert [d.p_holm for d in one] == [0.03, None]
    assert [d.p_holm for d in two] == [0.06, 0.06]


@pytest.mark.parametrize(
    ("low", "high", "video", "p_holm", "expected"),
    [
        (0.01, 0.2, (0.02, 0.3), 0.01, True),
        (-0.2, -0.01, (-0.3, -0.01), 0.05, True),
        (0.01, 0.2, (None, None), 0.01, True),
        (0.01, 0.2, (0.02, 0.3), None, True),  # several samples a question: no exact test
        (-0.01, 0.2, (0.02, 0.3), 0.01, False),
        (0.01, 0.2, (-0.02, 0.3), 0.01, False),
        (0.01, 0.2, (0.02, 0.3), 0.06, False),
        (None, None, (None, None), 0.01, False),
    ],
)
def test_a_difference_is_claimed_when_nothing_speaks_against_it(low, high, video, p_holm, expected):
    difference = Difference("a", "b", "L1", 0.1, low, high, 0.01, *video, 40, p_holm)
    assert is_supported(difference) is expected


def test_findings_claim_what_is_supported_and_say_where_nothing_is(tmp_path):
    l2 = [replace(q, split="L2") for q in L1]
    base = [answer(q, "A" if n < 10 else "B") for n, q in enumerate(L1)] + [answer(q, "A") for q in l2]
    more = [answer(q, "A" if n < 30 else "B") for n, q in enumerate(L1)] + [answer(q, "A") for q in l2]
    folders = [
        evaluation(tmp_path / name, records) for name, records in (("base", base), ("more", more), ("same", more))
    ]
    found = differences(find_runs(folders))
    claim, _, none = plain(accuracy_findings(found))
    assert claim.startswith("more is right more often than base: L1 +50.0 [+31.")
    assert claim.endswith("no supported difference on L2 (+0.0 [-8.8, +8.8], p 1.000).")
    assert none.startswith("No supported difference between same and more on L1 (+0.0 ")
    assert ", L2 (" in none
    assert "Holm for the 6 comparisons that have one" in findings_note(found)
    back = accuracy_findings([replace(found[0], value=-0.5, low=-0.6, high=-0.3, video_low=-0.6, video_high=-0.3)])
    assert plain(back)[0].startswith("more is right less often than base: L1 -50.0")


def test_the_reasoning_that_stops_ending_at_the_answer_is_a_finding(tmp_path):
    base = evaluation(tmp_path / "base", [answer(q, "A") for q in L1])
    torn = evaluation(tmp_path / "torn", [answer(q, "A", named="B" if n < 30 else "A") for n, q in enumerate(L1)])
    ruled = {run.name: by_rule(run.records) for run in find_runs([base, torn]).asked}
    (found,) = corrected(rule_differences(ruled))
    assert [d.value for d in found] == [-0.75]
    (sentence,) = plain(consistency_findings(found))
    assert sentence.startswith(
        "The reasoning of torn ends at its answer less often than that of base, by rule: L1 -75.0"
    )


def test_limits_are_computed_from_the_runs(tmp_path):
    training(tmp_path / "grpo_0")
    few = [sample_of(n) for n in range(12)]
    records = [answer(q, "A", video_id=f"V{n % 2}") for n, q in enumerate(few)]
    base = evaluation(tmp_path / "base", records)
    grpo = evaluation(tmp_path / "grpo", records, model=tmp_path / "grpo_0" / "final")
    runs = find_runs([base, grpo])
    text = "\n".join(limits_of(runs, differences(runs)))
    assert "Trained with one seed: grpo." in text
    assert "/nowhere: 12 of L1." in text
    assert "Few videos (2 in L1)" in text
    assert "greedy" in text
    assert "No evaluation without media" in text
    more = training(tmp_path / "grpo_1", train={"seed": 1})
    blind = evaluation(tmp_path / "blind", [replace(r, control="blind") for r in records], control="blind")
    runs = find_runs([base, grpo, more, blind])
    text = "\n".join(limits_of(runs, differences(runs)))
    assert "one seed" not in text
    assert "Several seeds were trained (grpo (2 seeds))" in text
    assert "No evaluation without media" not in text


def test_other_pictures_are_a_limit(tmp_path):
    records = [answer(q, "A") for q in L1]
    small = evaluation(tmp_path / "small", records)
    large = evaluation(tmp_path / "large", records, frames={"height": 252, "width": 252})
    limits = limits_of(find_runs([small, large]), ())
    assert any(limit.startswith("large saw other pictures than small") for limit in limits)


def test_answers_of_an_unknown_video_are_a_limit(tmp_path):
    records = [answered(q, "no tags", video_id=None) for q in L1]
    runs = find_runs([evaluation(tmp_path / name, records) for name in ("a", "b")])
    assert any("Not every answer names its video (L1)" in limit for limit in limits_of(runs, differences(runs)))

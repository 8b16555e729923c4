"""The chapters of the page against the figures they are made of."""

from dataclasses import replace

import pytest
from report_runs import answer, evaluation, sample_of, training

from sbr.eval.controls import blind, rotations
from sbr.eval.stats import wilson_interval
from sbr.report.page.consistency import by_rule
from sbr.report.page.inputs import find_runs
from sbr.report.page.sections import sections_of

QUESTIONS = [sample_of(number) for number in range(12)]


def records(right, control="none"):
    return [answer(q, "A" if n < right else "B", control=control) for n, q in enumerate(QUESTIONS)]


def sections(folders):
    runs = find_runs(folders)
    found = sections_of(runs, {run.name: by_rule(run.records) for run in runs.asked})
    return {section.id: section for section in found.shown}, found.left_out


def test_what_has_nothing_to_show_is_left_out_with_what_would_fill_it(tmp_path):
    shown, left_out = sections([evaluation(tmp_path / "base", records(6))])
    assert list(shown) == ["consistency", "letters", "health"]
    listed = "\n".join(left_out)
    assert f"no attention: sbr analyze attention {tmp_path / 'base'}" in listed
    for missing in ("no outcomes", "no curves", "no controls", "no rotations", "no reward noise"):
        assert missing in listed


def test_outcomes_flow_from_run_to_run(tmp_path):
    folders = [evaluation(tmp_path / str(right), records(right)) for right in (6, 9, 3)]
    (first, second) = sections(folders)[0]["flows"].flows
    assert (first.level, first.base, first.other) == ("L1", "6", "9")
    assert (first.right_right, first.wrong_right, first.right_wrong, first.wrong_wrong) == (6, 3, 0, 3)
    assert (second.right_wrong, second.right_right) == (6, 3)


def test_trainings_are_curves_and_seeds_a_band(tmp_path):
    training(tmp_path / "grpo_0")
    more = training(tmp_path / "grpo_1", train={"seed": 1}, finished=False)
    asked = evaluation(tmp_path / "eval", records(6), model=tmp_path / "grpo_0" / "final")
    section = sections([asked, more])[0]["curves"]
    (line,) = next(curve for curve in section.curves if curve.title == "Reward").lines
    assert (line.name, len(line.raw), line.steps) == ("eval (2 seeds)", 2, (1, 2, 3, 4))
    assert line.values[0] == pytest.approx(0.425)  # of all four steps: the window is wider
    assert line.low == pytest.approx(line.values)  # both seeds have the same figures
    assert "Not finished: grpo_1." in section.intro


def test_lines_that_are_not_logged_are_counted(tmp_path):
    folder = training(tmp_path / "grpo")
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join([*lines[:1], *lines[2:]]))
    asked = evaluation(tmp_path / "eval", records(6), model=folder / "final")
    assert "not logged: 1 of eval." in sections([asked])[0]["curves"].intro


def test_noise_shows_the_right_letter_beside_the_rewarded_one(tmp_path):
    training(tmp_path / "noisy", reward={"noise": 0.2})
    asked = evaluation(tmp_path / "eval", records(6), model=tmp_path / "noisy" / "final")
    section = sections([asked])[0]["noise"]
    (curve,) = section.curves
    assert [line.name for line in curve.lines] == ["eval: right letter", "eval: rewarded letter"]
    assert curve.lines[0].raw == () or curve.lines[0].raw[0][-1] == pytest.approx(0.44)
    assert curve.lines[1].values == (0.35,) * 4
    assert "eval 20 %" in section.intro


def test_controls_stand_beside_their_run_with_chance_as_the_line(tmp_path):
    folders = [
        evaluation(tmp_path / "full", records(9)),
        evaluation(tmp_path / "blind", [replace(r, control="blind") for r in records(3)], control="blind"),
    ]
    section = sections(folders)[0]["controls"]
    (bars,) = section.bars
    assert [(bar.series, bar.group, bar.value.value) for bar in bars.bars] == [
        ("blind", "L1", 0.25),
        ("all shown", "L1", 0.75),
    ]
    assert bars.reference == 0.25
    assert any("What part of the score" in table.title for table in section.tables)
    assert any("full against full, blind" in table.title for table in section.tables)


def test_rotations_show_what_is_right_in_every_one(tmp_path):
    turned = [answer(r, "A") for q in QUESTIONS for r in rotations(q)]  # always A: right in one rotation of four
    folders = [
        evaluation(tmp_path / "full", records(9)),
        evaluation(tmp_path / "rotated", turned, shuffle_options=True),
    ]
    section = sections(folders)[0]["rotations"]
    (bars,) = section.bars
    (bar,) = bars.bars
    limits = wilson_interval(0, 12)
    assert (bar.series, bar.value.value, bar.value.high) == ("full", 0.0, pytest.approx(limits.high))
    assert section.tables[0].rows[0][3] == "100.00"  # the same letter everywhere


def test_letters_are_shares_of_the_answers(tmp_path):
    section = sections([evaluation(tmp_path / "base", records(9))])[0]["letters"]
    (bars,) = section.bars
    assert [(bar.group, bar.value.value) for bar in bars.bars] == [("A", 0.75), ("B", 0.25), ("C", 0.0), ("D", 0.0)]
    assert bars.reference == 0.25
    limits = wilson_interval(9, 12)
    assert (bars.bars[0].value.low, bars.bars[0].value.high) == (limits.low, limits.high)


def test_health_counts_what_accuracy_hides(tmp_path):
    odd = [replace(r, truncated=n < 3) for n, r in enumerate(records(9))]
    section = sections([evaluation(tmp_path / "base", odd)])[0]["health"]
    shares = {bars.title: bars.bars[0].value.value for bars in section.bars}
    assert shares == {"Asked format": 1.0, "Cut off": 0.25}
    (table,) = section.tables
    assert table.rows[0][:2] == ("base L1", "12")
    assert table.rows[0][-4:] == ("100.0", "25.0", "0.0", "15.0")


def test_consistency_is_read_by_rule_of_every_answer(tmp_path):
    torn = [answer(q, "A", named="B" if n < 3 else "A") for n, q in enumerate(QUESTIONS)]
    section = sections([evaluation(tmp_path / "torn", torn)])[0]["consistency"]
    (bars,) = section.bars
    assert (bars.bars[0].value.value, bars.bars[0].value.n) == (0.75, 12)
    assert len(section.tables) == 1


def test_controls_of_other_questions_are_refused(tmp_path):
    from sbr.errors import DataError

    few = [answer(blind(q), "B", control="blind") for q in QUESTIONS[:5]]
    folders = [evaluation(tmp_path / "full", records(9)), evaluation(tmp_path / "blind", few, control="blind")]
    with pytest.raises(DataError, match="the question sets differ"):
        sections(folders)

"""Cases: their order, what every answer is marked with, and their attention."""

import base64
from dataclasses import replace

import numpy as np
import pytest
from report_runs import OPTIONS, answer, answered, evaluation, sample_of

from sbr.analysis.attention_records import LINES, MAPS, RECORDS, AttentionRecord, Effect, Shares, attention_folder
from sbr.errors import DataError
from sbr.eval.records import RecordKey
from sbr.report.page.attention import attended_runs, fits
from sbr.report.page.cases import chosen_cases
from sbr.report.page.data import PageFrames
from sbr.report.page.inputs import find_runs

QUESTIONS = [sample_of(number) for number in range(6)]
GRID, IMAGE = (2, 3, 3), (3, 3)
EFFECTS = (
    Effect("think", 0.1, 3, -1.5, (-0.2, -0.4), -2.0, (-1.0, -3.0)),
    Effect("answer", 0.1, 3, 0.0, (0.1,)),
)


def attend(run, records, response=None, grid=GRID):
    """RUN/attention of some answers; tokens are single characters.  Returns its maps by sample id."""
    folder = attention_folder(run)
    (folder / MAPS).mkdir(parents=True)
    maps = {}
    visual = int(np.prod(grid)) + 9
    for record in records:
        text = response or record.response
        tokens = len(text)
        maps[record.sample_id] = np.random.default_rng(tokens).random((tokens, visual), dtype=np.float32) / 50
        name = f"{record.level}_{record.sample_id}.npz"
        np.savez(
            folder / MAPS / name,
            tokens_NV=maps[record.sample_id].astype(np.float16),
            general_V=np.full(visual, 0.25, np.float16),
        )
        line = AttentionRecord(
            sample_id=record.sample_id,
            level=record.level,
            sample_index=0,
            rotation=0,
            response=text,
            tokens=tuple(text),
            starts=tuple(range(tokens)),
            same_tokens=True,
            video_grid=grid,
            image_grid=IMAGE,
            layers=(1, 3),
            shares=((Shares(0.1, 0.2, 0.3, 0.4),) * tokens, (Shares(0.3, 0.2, 0.3, 0.2),) * tokens),
            sinks=(0,),
            answer_logprob=-0.1,
            effects=(
                Effect("think", 0.1, 3, -1.5, (-0.2, -0.4), -2.0, (-1.0, -3.0)),
                Effect("answer", 0.1, 3, 0.0, (0.1,)),
            ),
            maps=name,
            map_layers=(3,),
        )
        with (folder / RECORDS).open("a", encoding="utf-8") as stream:
            stream.write(LINES.line(line))
    return maps


def cases(tmp_path, *records, attended=(), questions=None):
    folders = [evaluation(tmp_path / f"run_{place}", of_run) for place, of_run in enumerate(records)]
    for place, some in attended:
        attend(folders[place], some)
    runs = find_runs(folders).asked
    return [found.page for found in chosen_cases(runs, attended_runs(runs), questions)]


def test_what_changed_comes_first_and_says_how(tmp_path):
    base = [answer(q, "A" if n in (0, 1) else "B") for n, q in enumerate(QUESTIONS)]
    other = [answer(q, "A" if n in (1, 2) else "B") for n, q in enumerate(QUESTIONS)]
    found = cases(tmp_path, base, other)
    assert [(case.id, case.flow) for case in found] == [
        *(("L1/0", "10"), ("L1/2", "01"), ("L1/1", "11")),
        *(("L1/3", "00"), ("L1/4", "00"), ("L1/5", "00")),
    ]
    assert [case.answers[1].tags for case in found[:3]] == [("broken",), ("fixed",), ()]
    assert found[0].interest > found[2].interest


def test_levels_come_in_turns(tmp_path):
    two = [replace(q, split=level) for level in ("L1", "L2") for q in QUESTIONS[:2]]
    found = cases(tmp_path, [answer(q, "B") for q in two], [answer(q, "A") for q in two])
    assert [case.id for case in found] == ["L1/0", "L2/0", "L1/1", "L2/1"]


def test_one_run_has_cases_too(tmp_path):
    (found,) = cases(tmp_path, [answer(QUESTIONS[0], "A", named="B")])
    assert found.flow == "1"
    assert found.answers[0].tags == ("contradicts", "right against its own reasoning")


def test_an_answer_marks_its_reasoning_and_its_answer(tmp_path):
    texts = [
        "<think> so take cup </think><answer> B </answer>",
        "no tags at all",
        "<think></think><answer>A",
    ]
    records = [
        answered(q, text, completion_tokens=n) for n, (q, text) in enumerate(zip(QUESTIONS, texts, strict=False))
    ]
    found = {case.id: case.answers[0] for case in cases(tmp_path, records, records)}
    first = found["L1/0"]
    assert (first.response[slice(*first.think)], first.response[slice(*first.answer)]) == ("so take cup", "B")
    assert (first.letter, first.correct, first.tokens) == ("B", False, 0)
    assert first.consistency == "the reasoning names C, the answer is B"
    assert found["L1/1"].answer is None
    assert found["L1/1"].letter is None
    assert (found["L1/2"].think, found["L1/2"].answer) == (None, None)


def test_words_of_the_question_come_from_the_data_or_else_the_prompt(tmp_path):
    records = [answer(QUESTIONS[0], "A")]
    sample = replace(QUESTIONS[0], question="What now?", task_goal="make soup")
    (known,) = cases(tmp_path / "a", records, records, questions={RecordKey("L1", "0", 0): sample})
    assert (known.question, known.goal, known.options, known.gold) == ("What now?", "make soup", OPTIONS, "A")
    (bare,) = cases(tmp_path / "b", records, records)
    assert (bare.question, bare.goal, bare.progress, bare.video) == ("the prompt of 0", None, (), "P0")


def test_odd_text_passes_unchanged(tmp_path):
    odd = "<think>\x00\x1b[31m\u202e</script>" + "x" * 10_000 + "</think><answer>A</answer>"
    records = [answered(QUESTIONS[0], odd)]
    (found,) = cases(tmp_path, records, records)
    assert found.answers[0].response == odd
    assert found.answers[0].response[slice(*found.answers[0].answer)] == "A"


def test_of_about_equal_interest_those_with_attention_come_first(tmp_path):
    records = [answer(q, "B") for q in QUESTIONS[:3]] + [answer(QUESTIONS[3], "B")]
    other = [answer(q, "B") for q in QUESTIONS[:3]] + [answer(QUESTIONS[3], "A")]
    found = cases(tmp_path, records, other, attended=[(1, other[2:3])])
    assert [case.id for case in found] == ["L1/3", "L1/2", "L1/0", "L1/1"]
    assert [answer_.attention is not None for answer_ in found[1].answers] == [False, True]


def test_maps_are_bytes_of_the_largest_value(tmp_path):
    records = [answer(q, "A") for q in QUESTIONS[:2]]
    folders = [evaluation(tmp_path / name, records) for name in ("a", "b")]
    maps = attend(folders[0], records[:1])["0"]
    runs = find_runs(folders).asked
    page = attended_runs(runs)["a"].of(records[0])
    found = np.frombuffer(base64.b64decode(page.raw), np.uint8).reshape(maps.shape) / 255 * page.scale
    assert np.abs(found - maps).max() <= page.scale / 255 * 0.51 + 2e-5  # half a step, and float16
    assert page.scale == pytest.approx(maps.max(), rel=1e-3)
    assert set(base64.b64decode(page.general)) == {255}
    assert page.general_scale == 0.25
    assert page.tokens == tuple(records[0].response)
    assert page.shares[0] == (0.2, 0.2, 0.3, 0.3)
    assert (page.layers, page.sinks, page.exact) == ((3,), (0,), True)
    effect, last = page.effects
    assert (effect.span, effect.top, effect.random) == ("think", -1.5, pytest.approx(-0.3))
    assert (effect.reasoning_top, effect.reasoning_random) == (-2.0, -2.0)
    assert (last.reasoning_top, last.reasoning_random) == (None, None)
    assert attended_runs(runs)["a"].of(records[1]) is None


def test_attention_of_another_answer_is_not_shown(tmp_path):
    record = answer(QUESTIONS[0], "A")
    folder = evaluation(tmp_path / "a", [record])
    attend(folder, [record], response="<think>other</think><answer>A</answer>")
    assert attended_runs(find_runs([folder]).asked)["a"].of(record) is None


@pytest.mark.parametrize(
    ("grid", "image", "expected"), [(GRID, IMAGE, True), ((4, 3, 3), IMAGE, False), (None, IMAGE, False)]
)
def test_maps_fit_pictures_of_as_many_visual_tokens(tmp_path, grid, image, expected):
    record = answer(QUESTIONS[0], "A")
    folder = evaluation(tmp_path / "a", [record])
    attend(folder, [record])
    attention = attended_runs(find_runs([folder]).asked)["a"].of(record)
    frames = PageFrames("", 84, 84, 4, True, (), grid, image, 5)
    assert fits(attention, frames) is expected


def test_torn_attention_is_refused(tmp_path):
    record = answer(QUESTIONS[0], "A")
    folder = evaluation(tmp_path / "a", [record])
    attend(folder, [record])
    file = attention_folder(folder) / RECORDS
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(DataError, match="the last line is torn"):
        attended_runs(find_runs([folder]).asked)

"""`sbr analyze consistency` on an evaluation of the miniature's base model: figures, judges, kills, refusals."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import forked
import pytest
from chat_server import ChatServer, Said, completion

from sbr.analysis import likelihoods
from sbr.analysis.consistency_folder import read_consistency
from sbr.analysis.consistency_records import ConsistencyRecord, consistency_key
from sbr.analysis.variants import ELSEWHERE, OTHER_FORM
from sbr.analysis.verdicts import most_likely
from sbr.cli.analyze_consistency import run as analyze
from sbr.cli.main import run as sbr
from sbr.errors import BusyError, ConfigError, DataError, EndpointError
from sbr.eval.records import read_records
from sbr.resume.lock import locked
from sbr.reward.consistency import consistency, named_options
from sbr.types import LETTERS, Answer

RECIPE = Path(__file__).parents[2] / "recipes" / "mini" / "eval.toml"
PER_LEVEL = 10
ANSWERS = 3 * PER_LEVEL


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("consistency")
    data = str(folder / "data")
    assert sbr(["mini", "build", data, "--train", "4", "--val", str(PER_LEVEL), "--workers", "1"]) == 0
    assert sbr(["eval", str(RECIPE), "--data.root", data, "--output_dir", str(folder / "eval")]) == 0
    return folder / "eval"


@pytest.fixture
def folder(evaluated: Path, tmp_path: Path) -> Path:
    """A copy of the evaluation."""
    return shutil.copytree(evaluated, tmp_path / "eval")


@pytest.fixture(scope="module")
def uninterrupted(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Analysed at once, without a judge."""
    folder = shutil.copytree(evaluated, tmp_path_factory.mktemp("uninterrupted") / "eval")
    analyze([str(folder)])
    return folder


@pytest.fixture(scope="module")
def whole(uninterrupted: Path) -> list[ConsistencyRecord]:
    """What that found."""
    return read_consistency(uninterrupted)


@pytest.fixture
def analysed(uninterrupted: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(uninterrupted, tmp_path / "eval")


def journal(folder: Path, name: str = "consistency.jsonl") -> bytes:
    return (folder / "consistency" / name).read_bytes()


def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of texts of every pass of the model."""
    calls: list[int] = []
    ours = likelihoods.letter_probabilities

    def counted(model, tokenizer, prompt, beginnings, letters):
        calls.append(len(beginnings))
        return ours(model, tokenizer, prompt, beginnings, letters)

    monkeypatch.setattr(likelihoods, "letter_probabilities", counted)
    return calls


def said_at_the_end(body: dict) -> str:
    """What a judge does that reads as the rule reads."""
    user = body["messages"][1]["content"]
    options = [line[3:] for line in user.splitlines() if line[:3] in ("A. ", "B. ", "C. ", "D. ")]
    thoughts = user.partition("<thoughts>\n")[2].partition("\n</thoughts>")[0]
    sentences = [named_options(sentence, options) for sentence in thoughts.split(" . ")]
    named = next((names for names in reversed(sentences) if names), ())
    return next(iter(named)) if len(named) == 1 else "none"


def good(delay: float = 0.0) -> Callable[[int, dict], Said]:
    return lambda _, body: completion(f"It ends there.\n**Conclusion:** {said_at_the_end(body)}", delay=delay)


def judged(server: ChatServer, *words: str) -> list[str]:
    return ["--judge-url", server.url, "--judge-model", "m", *words]


def test_every_answer_has_its_rule_and_likelihoods(evaluated, whole):
    answers = {(r.level, r.sample_id): r for r in read_records(evaluated / "records.jsonl")}
    assert len(whole) == ANSWERS
    for record in whole:
        answer = answers[record.level, record.sample_id]
        rule = consistency(answer.response, Answer(answer.extracted, "official", ""), answer.options)
        assert (record.rule, record.rule_reason) == (rule.value, rule.reason)
        assert (record.answer, record.correct, record.video_id) == (answer.extracted, answer.correct, answer.video_id)
        assert record.likelihood_reason == ""
        # The answer was the likeliest letter when it was written.
        assert record.own is not None
        assert LETTERS[most_likely(record.own)] == record.answer
        for probabilities in (record.own, record.empty, record.cut, record.other):
            assert probabilities is not None
            assert sum(probabilities) == pytest.approx(1)
            assert len(probabilities) == len(answer.options)
        assert record.letter_shares is not None
        assert len(record.letter_shares) == 4
        assert record.other_sample_id not in (None, record.sample_id)
        assert (record.judge, record.judge_reply, record.other_same_video) == (None, None, False)
    # Another reasoning makes a difference to this model.
    assert sum(most_likely(r.own) != most_likely(r.other) for r in whole if r.own and r.other) > ANSWERS / 2


def test_the_same_command_again_does_nothing_and_prints_the_same(analysed, capsys, monkeypatch):
    table = analysed / "table.md"
    analyze([str(analysed), "--names", "base", "--out", str(table)])
    first, before, calls = capsys.readouterr().out, journal(analysed), passes(monkeypatch)
    assert "By rule" in first
    assert "By the model's own likelihood" in first
    assert "judge" not in table.read_text()
    analyze([str(analysed), "--names", "base", "--out", str(table)])
    assert capsys.readouterr().out == first
    assert (journal(analysed), calls) == (before, [])
    assert f"| base L1 | {PER_LEVEL} |" in table.read_text()


def test_fewer_questions_then_more(folder, whole, monkeypatch):
    analyze([str(folder), "--per-level", "3"])
    few = read_consistency(folder)
    assert Counter(record.level for record in few) == {"L1": 3, "L2": 3, "L3": 3}
    calls = passes(monkeypatch)
    analyze([str(folder)])
    assert len(calls) == ANSWERS - 9
    # The other reasoning is that of the whole evaluation, however few questions were chosen.
    assert read_consistency(folder) == whole
    assert set(map(consistency_key, few)) <= set(map(consistency_key, whole))
    analyze([str(folder), "--per-level", "3"])
    assert read_consistency(folder) == few
    assert len(calls) == ANSWERS - 9


def test_a_killed_run_continues_and_computes_nothing_twice(folder, whole, monkeypatch):
    run = forked.start("-m", "sbr", "analyze", "consistency", folder)
    wait_for_lines(folder / "consistency" / "consistency.jsonl", 5, run)
    run.kill()
    assert run.wait() == -signal.SIGKILL, run.output
    kept = journal(folder)
    lines = kept.count(b"\n")
    assert 5 <= lines < ANSWERS
    with pytest.raises(DataError, match=rf"{lines} of {ANSWERS} answers .* run the same"):
        read_consistency(folder)
    with (folder / "consistency" / "consistency.jsonl").open("ab") as stream:
        stream.write(b'{"sample_id": "torn')
    calls = passes(monkeypatch)
    analyze([str(folder)])
    assert len(calls) == ANSWERS - lines
    assert journal(folder).startswith(kept[: kept.rfind(b"\n") + 1])
    assert read_consistency(folder) == whole


def wait_for_lines(file: Path, lines: int, run: forked.Forked) -> None:
    for _ in range(24_000):
        if run.poll() is not None or (file.exists() and file.read_bytes().count(b"\n") >= lines):
            return
        time.sleep(0.01)


def test_a_judge_that_is_named_later_is_asked_and_nothing_else_is_done_again(analysed, whole, monkeypatch, capsys):
    before, calls = journal(analysed), passes(monkeypatch)
    with ChatServer(good()) as server:
        analyze([str(analysed), *judged(server)])
    assert (journal(analysed), calls) == (before, [])
    assert len(server.requests) == ANSWERS
    assert {body["temperature"] for body in server.requests} == {0.0}
    assert "By a judge" in capsys.readouterr().out
    found = read_consistency(analysed)
    assert [replace(record, judge=None, judge_reply=None) for record in found] == whole
    for record in found:
        assert record.judge_reply is not None
        assert record.judge_reply.startswith("It ends there.\n**Conclusion:** ")
        if record.rule != 0.5:
            assert (record.judge == record.answer) == (record.rule == 1)
    # Without its flags it is shown and not asked: the server is gone.
    analyze([str(analysed)])
    assert "By a judge" in capsys.readouterr().out
    assert read_consistency(analysed) == found


def test_a_judge_sees_no_answer(analysed):
    with ChatServer(good()) as server:
        analyze([str(analysed), "--per-level", "2", *judged(server, "--judge-tokens", "77")])
    assert {body["max_tokens"] for body in server.requests} == {77}
    for body in server.requests:
        assert "<answer>" not in json.dumps(body["messages"])
        assert "<thoughts>" in body["messages"][1]["content"]


def test_bad_replies_are_kept_whole_and_counted(analysed, capsys):
    replies = ["", "It could be A or B.", "Conclusion: Z", "Conclusion: A\nConclusion: B", "\x1b[31mred\x1b[0m"]

    def respond(number: int, body: dict) -> Said:
        if number % 6 == 5:
            return completion("Conclusion: A", finish="length")
        return completion(replies[number % 6])

    with ChatServer(respond) as server:
        analyze([str(analysed), *judged(server)])
    found = read_consistency(analysed)
    assert {record.judge for record in found} == {"unread"}
    assert {record.judge_reply for record in found} == {*replies, "Conclusion: A"}
    printed = " ".join(capsys.readouterr().out.split())
    assert f"the judge's reply cannot be read ({ANSWERS})" in printed


def test_a_slow_judge_is_asked_many_things_at_once(analysed):
    with ChatServer(good(delay=0.2)) as server:
        analyze([str(analysed), *judged(server, "--concurrency", "5")])
    assert server.peak == 5
    assert len(server.requests) == ANSWERS


def test_errors_are_tried_again_and_a_final_one_keeps_the_replies(analysed):
    with ChatServer(lambda n, body: Said("busy", 503) if n == 3 else good()(n, body)) as server:
        analyze([str(analysed), "--per-level", "3", *judged(server)])
        assert len(server.requests) == 9 + 1
    broken = threading.Event()
    broken.set()

    def respond(number: int, body: dict) -> Said:
        return Said({"error": "no such field"}, 400) if broken.is_set() and number == 5 else good(0.05)(number, body)

    with ChatServer(respond) as server:
        with pytest.raises(EndpointError, match="no such field"):
            analyze([str(analysed), *judged(server, "--concurrency", "2")])
        kept = journal(analysed, "judge.jsonl").count(b"\n")
        assert kept == 9 + len(server.requests) - 1
        # What is there can be read: all likelihoods, and as many judged answers.
        assert sum(record.judge is not None for record in read_consistency(analysed)) == kept
        broken.clear()
        analyze([str(analysed), *judged(server, "--concurrency", "2")])
        assert len(server.requests) == ANSWERS - 9 + 1
    assert all(record.judge not in (None, "unread") for record in read_consistency(analysed))


def test_a_run_killed_while_it_judges_asks_for_no_reply_again(analysed):
    with ChatServer(good(delay=0.1)) as server:
        run = forked.start("-m", "sbr", "analyze", "consistency", analysed, *judged(server, "--concurrency", "3"))
        wait_for_lines(analysed / "consistency" / "judge.jsonl", 7, run)
        run.kill()
        assert run.wait() == -signal.SIGKILL, run.output
        assert 7 <= journal(analysed, "judge.jsonl").count(b"\n") < ANSWERS
        analyze([str(analysed), *judged(server, "--concurrency", "3")])
    assert 0 <= len(server.requests) - ANSWERS <= 3  # what was under way was asked twice
    assert all(record.judge is not None for record in read_consistency(analysed))


def test_another_judge_is_another_opinion(analysed):
    with ChatServer(good()) as server:
        analyze([str(analysed), "--per-level", "2", *judged(server)])
        first = read_consistency(analysed)
        server.respond = lambda *_: completion("Conclusion: none")
        analyze([str(analysed), "--per-level", "2", "--judge-url", server.url, "--judge-model", "n"])
        assert {record.judge for record in read_consistency(analysed)} == {"none"}
        assert len(server.requests) == 12
        analyze([str(analysed), "--per-level", "2", *judged(server)])
        assert len(server.requests) == 12
    assert read_consistency(analysed) == first


def test_the_server_is_looked_for_before_anything_is_written(folder):
    with pytest.raises(EndpointError, match="cannot be reached"):
        analyze([str(folder), "--judge-url", "http://127.0.0.1:9/v1", "--judge-model", "m"])
    assert not (folder / "consistency").exists()


def test_several_runs_are_compared_with_the_first(evaluated, tmp_path, capsys):
    copies = [shutil.copytree(evaluated, tmp_path / name) for name in ("a", "b")]
    edit(copies[1], lambda n, line: line if n else answered(line, "no form <answer>B</answer>", "B"))
    analyze([*map(str, copies), "--out", str(tmp_path / "t.md")])
    text = (tmp_path / "t.md").read_text()
    assert "| b against a, L1 |" in text
    (changed,) = [record for record in read_consistency(copies[1]) if record.likelihood_reason]
    assert (changed.likelihood_reason, changed.own, changed.answer) == (OTHER_FORM, None, "B")
    assert f"{OTHER_FORM} (1)" in text
    assert "no answer" in " ".join(capsys.readouterr().out.split())


def edit(folder: Path, change: Callable[[int, dict], dict]) -> None:
    file = folder / "records.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(change(n, line)) + "\n" for n, line in enumerate(lines)))


def answered(line: dict, response: str, letter: str | None) -> dict:
    return line | {"response": response, "extracted": letter, "correct": letter == line["gold"]}


def test_answers_without_a_letter_or_a_reasoning_are_not_sent_to_the_judge(folder):
    texts = {0: ("<think>so</think>", None), 1: ("<think> </think><answer>B</answer>", "B")}
    edit(folder, lambda n, line: answered(line, *texts[n]) if n in texts else line)
    first, second = (json.loads(line)["sample_id"] for line in (folder / "records.jsonl").read_text().splitlines()[:2])
    with ChatServer(good()) as server:
        analyze([str(folder), *judged(server)])
    assert len(server.requests) == ANSWERS - 2
    found = {record.sample_id: record for record in read_consistency(folder)}
    assert (found[first].judge, found[first].likelihood_reason) == (None, "no answer")
    assert (found[second].judge, found[second].judge_reply) == ("none", None)
    assert found[second].own is not None


def test_samples_of_a_question_share_a_pass(folder, monkeypatch):
    def doubled(line: str) -> str:
        return line + json.dumps(json.loads(line) | {"sample_index": 1}) + "\n"

    file = folder / "records.jsonl"
    file.write_text("".join(doubled(line + "\n") for line in file.read_text().splitlines()))
    calls = passes(monkeypatch)
    analyze([str(folder), "--per-level", "2"])
    assert calls == [8] * 6
    found = read_consistency(folder)
    assert len(found) == 12
    pairs = zip(found[::2], found[1::2], strict=True)
    assert all(replace(one, sample_index=1) == two for one, two in pairs)


def test_a_model_behind_a_server_has_no_likelihoods(folder, monkeypatch, capsys):
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["engine"] |= {"kind": "endpoint", "url": "http://127.0.0.1:9/v1"}
    recipe["model"]["path"] = "served"
    (folder / "recipe.json").write_text(json.dumps(recipe))
    calls = passes(monkeypatch)
    analyze([str(folder)])
    found = read_consistency(folder)
    assert {(r.likelihood_reason, r.own) for r in found} == {(ELSEWHERE, None)}
    assert {r.rule for r in found} <= {0.0, 0.5, 1.0}
    assert calls == []
    assert f"{ELSEWHERE} ({ANSWERS})" in " ".join(capsys.readouterr().out.split())


def test_data_that_has_moved(folder, tmp_path):
    root = Path(json.loads((folder / "recipe.json").read_text())["data"]["root"])
    recipe = (folder / "recipe.json").read_text().replace(str(root), str(tmp_path / "gone"))
    (folder / "recipe.json").write_text(recipe)
    with pytest.raises(DataError, match="gone"):
        analyze([str(folder)])
    analyze([str(folder), "--per-level", "1", "--data", str(root)])
    assert len(read_consistency(folder)) == 3


def test_an_evaluation_that_has_changed_is_refused(folder):
    analyze([str(folder), "--per-level", "2"])
    before = journal(folder)
    edit(folder, lambda n, line: answered(line, "<think>so</think><answer>C</answer>", "C"))
    with pytest.raises(ConfigError, match=r"input file evaluation/records\.jsonl has changed"):
        analyze([str(folder), "--per-level", "2"])
    with pytest.raises(DataError, match="and now the evaluation has 'C'"):
        read_consistency(folder)
    assert journal(folder) == before


def test_a_folder_that_is_held_is_refused(folder):
    (folder / "consistency").mkdir()
    with locked(folder / "consistency"), pytest.raises(BusyError, match="consistency is being written by process"):
        analyze([str(folder)])


def test_nothing_to_read(folder):
    with pytest.raises(DataError, match="holds no analysis; `sbr analyze consistency"):
        read_consistency(folder)

"""Jobs in processes of their own: results, bars, log, errors, and the end of the others when one fails."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from sbr.cli import side_by_side
from sbr.cli.progress import steps_progress
from sbr.cli.side_by_side import DiedError, SideBySide
from sbr.cli.worker import Outcome
from sbr.errors import DataError, RowProblem, StoppedError
from sbr.train.stop import listening


def square(value, bars):
    progress = bars()
    task = progress.add_task("counting", total=value, completed=0, figures="")
    progress.update(task, completed=value, figures=f"at {value}")
    logging.getLogger("sbr.test").warning("squared %s", value)
    return value * value, os.getpid(), os.environ.get("OMP_NUM_THREADS")


def fail(bars):
    raise DataError("line 7 is no record")


def stop(bars):
    raise StoppedError("stopped after step 3", signal.SIGTERM)


def until_told(file, bars):
    with listening() as listener:
        file.write_text("began")
        while listener.asked is None:
            time.sleep(0.01)
    file.write_text(f"told by {listener.asked}")


def fail_after(file, bars):
    while not file.exists():
        time.sleep(0.01)
    fail(bars)


def test_results_bars_and_log_of_two_processes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(side_by_side, "steps_progress", lambda: made.append(steps_progress()) or made[-1])
    with SideBySide(2, threads=1) as jobs:
        found = jobs.run({"a": partial(square, 3), "b": partial(square, 4)})
        again = jobs.run({"c": partial(square, 5)})
    assert [found["a"][0], found["b"][0], again["c"][0]] == [9, 16, 25]
    assert os.getpid() not in {found["a"][1], found["b"][1]}
    assert found["a"][2] == found["b"][2] == "1"
    bars = {task.description: (task.completed, task.fields["figures"]) for bar in made for task in bar.tasks}
    assert bars == {"a: counting": (3, "at 3"), "b: counting": (4, "at 4"), "c: counting": (5, "at 5")}
    assert sorted(record.getMessage() for record in caplog.records) == ["squared 3", "squared 4", "squared 5"]


def test_one_at_a_time_needs_no_process() -> None:
    with SideBySide(1, threads=1) as jobs:
        assert jobs.run({"a": partial(square, 3)})["a"][:2] == (9, os.getpid())


@pytest.mark.parametrize(("job", "kind", "text"), [(fail, DataError, "line 7"), (stop, StoppedError, "after step 3")])
def test_an_error_keeps_its_kind_and_text(job, kind, text) -> None:
    with pytest.raises(kind, match=text) as found, SideBySide(2, threads=1) as jobs:
        jobs.run({"bad": job})
    assert getattr(found.value, "exit_status", 143) == 143


def test_when_one_fails_the_others_are_told_to_stop(tmp_path: Path) -> None:
    file = tmp_path / "state"
    with pytest.raises(DataError), SideBySide(2, threads=1) as jobs:
        jobs.run({"long": partial(until_told, file), "bad": partial(fail_after, file)})
    assert file.read_text() == f"told by {signal.SIGTERM.value}"


def test_every_error_of_ours_can_travel() -> None:
    import pickle

    from sbr.errors import AnnotationError

    error = AnnotationError(Path("a.jsonl"), [RowProblem(Path("a.jsonl"), 3, "gold", "a letter", "7")])
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (AnnotationError, str(error))


def die(bars):
    os.kill(os.getpid(), signal.SIGKILL)


def raise_what_cannot_travel(bars):
    class OddError(Exception):
        pass

    raise OddError("of this function")


def imported(bars):
    return "sbr.train.grpo.loop" in sys.modules


def test_a_job_that_is_killed_takes_no_other_with_it() -> None:
    with SideBySide(2, threads=1, keep_bars=False) as jobs, jobs.bars() as bars:
        jobs.start("killed", die)
        jobs.start("whole", partial(square, 3))
        assert jobs.free == 0
        ended: dict[str, Outcome] = {}
        while len(ended) < 2:
            ended |= dict(jobs.ended())
        assert jobs.free == 2
        assert not bars.tasks, "bars of jobs that have ended are taken away"
    assert isinstance(ended["killed"].error, DiedError)
    assert "ended by SIGKILL" in str(ended["killed"].error)
    assert ended["whole"].result[0] == 9


def test_waiting_has_an_end_and_errors_of_all_kinds_are_told() -> None:
    with SideBySide(1, threads=1) as jobs:
        assert jobs.ended(timeout=0) == []
        jobs.start("odd", raise_what_cannot_travel)
        ((name, outcome),) = jobs.ended()
    assert (name, str(outcome.error)) == ("odd", "OddError: of this function")


def test_processes_start_with_everything_imported() -> None:
    with SideBySide(2, threads=1) as jobs:
        assert jobs.run({"a": imported}) == {"a": True}

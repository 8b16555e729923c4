"""Signals are noted inside, mean once more what they meant before when they come twice, and afterwards."""

from __future__ import annotations

import signal
import threading

import pytest

from sbr.train.stop import agreed, listening


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted_and_handlers_come_back(number, caplog):
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    with listening() as stop:
        assert stop.asked is None
        signal.raise_signal(number)
        assert stop.asked == number
        assert number.name in caplog.text
    assert {n: signal.getsignal(n) for n in before} == before


def test_a_second_ctrl_c_ends_at_once():
    with listening() as stop:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert stop.asked == signal.SIGINT


def test_a_thread_that_is_not_the_main_one_listens_to_nothing():
    found = []

    def train() -> None:
        with listening() as stop:
            found.append(stop.asked)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert found == [None]


def test_all_processes_stop_for_what_one_was_asked():
    assert agreed([None, None]) is None
    assert agreed([None, int(signal.SIGTERM)]) == signal.SIGTERM

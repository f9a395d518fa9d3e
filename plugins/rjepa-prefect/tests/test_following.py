"""How often a run says how far it is, and when a signal strikes."""

from __future__ import annotations

import contextvars
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rjepa_prefect import following
from rjepa_prefect.following import ProgressMeter
from rjepa_prefect.signals import StopRequest, run_shielded


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


def test_each_tenth_every_30_seconds_and_the_end(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    caplog.set_level(logging.INFO)
    meter = ProgressMeter(None, "work", logging.getLogger("test"), clock=clock)
    for done in range(1, 1001):
        clock.now += 1
        meter.show(done, 1000, lambda: "")
    # 1,000 seconds: a line every 30, and one at each of the ten parts.
    lines = told(caplog)
    assert 33 <= len(lines) <= 43
    assert lines[-1] == "work: 1,000/1,000"
    assert "work: 100/1,000" in lines


def test_a_short_run_says_its_end_alone(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    caplog.set_level(logging.INFO)
    meter = ProgressMeter(None, "work", logging.getLogger("test"), clock=clock)
    for done in range(1, 25):
        clock.now += 0.01
        meter.show(done, 24, lambda: ", quick")
        meter.show(done, 24, lambda: ", quick")
    assert told(caplog) == ["work: 24/24, quick"]


def test_a_phase_that_is_short_says_nothing(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    caplog.set_level(logging.INFO)
    meter = ProgressMeter(None, "phase", logging.getLogger("test"), parts=0, clock=clock)
    for done in range(1, 25):
        clock.now += 1
        meter.show(done, 24, str)
    assert told(caplog) == []
    clock.now += 30
    meter.show(24, 24, str)
    assert told(caplog) == ["phase: 24/24"]


def test_a_server_that_is_away_takes_the_bar_and_not_the_run(
    caplog: pytest.LogCaptureFixture, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def away(*args: Any, **options: Any) -> None:
        calls.append(args)
        raise ConnectionError("no server")

    monkeypatch.setattr(following, "create_progress_artifact", away)
    caplog.set_level(logging.INFO)
    meter = ProgressMeter("key", "work", logging.getLogger("test"), clock=clock)
    for done in (30, 60, 90):
        clock.now += 60
        meter.show(done, 100, str)
    assert len(calls) == 1
    assert sum("is not updated any more: no server" in line for line in told(caplog)) == 1


class Struck(BaseException):
    """What Prefect's handler raises."""


@pytest.fixture
def handler() -> Iterator[list[int]]:
    """A handler like Prefect's."""
    seen: list[int] = []

    def strike(number: int, frame: object) -> None:
        seen.append(number)
        raise Struck

    before = signal.signal(signal.SIGTERM, strike)
    yield seen
    signal.signal(signal.SIGTERM, before)


def test_a_signal_does_not_strike_the_work_which_is_told_and_waited_for(
    handler: list[int],
) -> None:
    steps = []

    def work(request: StopRequest) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        while not request:
            time.sleep(0.01)
        steps.append("commit")
        request.check()
        steps.append("not reached")

    with pytest.raises(Struck):
        run_shielded(work)
    assert handler == [signal.SIGTERM]
    assert steps == ["commit"]


def test_a_second_signal_waits_no_longer(handler: list[int]) -> None:
    release = threading.Event()

    def work(request: StopRequest) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        while not request:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        release.wait(60)

    began = time.monotonic()
    with pytest.raises(Struck):
        run_shielded(work)
    assert time.monotonic() - began < 30
    assert len(handler) == 2
    release.set()


def test_what_the_work_gives_and_raises() -> None:
    assert run_shielded(lambda request: (bool(request), request.check())) == (False, False)
    with pytest.raises(ZeroDivisionError):
        run_shielded(lambda request: 1 // 0)


def test_the_work_knows_the_run_that_it_belongs_to() -> None:
    known = contextvars.ContextVar("known", default="nothing")
    known.set("run")
    assert run_shielded(lambda request: known.get()) == "run"

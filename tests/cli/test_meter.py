"""What the progress of a store's tool looks like."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from rjepa_cli import progress as meter
from rjepa_cli.console import Screen
from rjepa_cli.progress import ToolMeter
from rjepa_cli.signals import Interrupts
from rjepa_core.ports.maintenance import ToolProgress


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def strftime(self, text: str) -> str:
        return "12:00:00"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(meter, "time", clock)
    return clock


class Written(io.StringIO):
    """Takes lines, as the stream of a screen does."""

    lost = False

    def line(self, text: str) -> None:
        self.write(f"{text}\n")


@pytest.fixture
def screen() -> Screen:
    screen = Screen()
    screen.err = Written()  # type: ignore[assignment]
    return screen


def run(tool: ToolMeter, clock: Clock, total: int, a_second: int, phase: str, first: int) -> None:
    for second in range(1 + (total - first) // a_second):
        tool(ToolProgress(phase, first + second * a_second, total))
        clock.now += 1


def lines(screen: Screen) -> list[str]:
    assert isinstance(screen.err, io.StringIO)
    return screen.err.getvalue().splitlines()


def test_a_short_job_says_nothing(clock: Clock, screen: Screen) -> None:
    with ToolMeter(screen) as tool:
        run(tool, clock, total=400, a_second=100, phase="records", first=0)
    assert lines(screen) == []


def test_rate_and_time_left_of_a_long_one(clock: Clock, screen: Screen) -> None:
    with ToolMeter(screen) as tool:
        run(tool, clock, total=10_000, a_second=100, phase="records", first=0)
    assert lines(screen)[0] == "12:00:00  500/10,000  records, 100 records/s, 95 s left"
    counts = [line.split()[1].partition("/")[0] for line in lines(screen)]
    assert counts == ["500", "2,500", "5,000", "7,500", "10,000"]


def test_a_phase_that_begins_where_the_last_one_ended(clock: Clock, screen: Screen) -> None:
    with ToolMeter(screen) as tool:
        run(tool, clock, total=100, a_second=100, phase="records", first=0)
        run(tool, clock, total=1000, a_second=10, phase="index", first=800)
    assert lines(screen)[0] == "12:00:00  850/1,000  index, 10 records/s, 15 s left"


def test_a_signal_strikes_at_the_next_report(
    clock: Clock, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupts = Interrupts()
    strike: Callable[[int, None], None] = interrupts._on_signal
    monkeypatch.setattr("os.write", lambda descriptor, text: 0)
    with interrupts, ToolMeter(screen, interrupts) as tool, interrupts.holding():
        tool(ToolProgress("records", 1, 10))
        strike(2, None)
        with pytest.raises(KeyboardInterrupt):
            tool(ToolProgress("records", 2, 10))

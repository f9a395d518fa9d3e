"""What the progress of a store's tool and of an extraction looks like."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rjepa_cli import progress as meter
from rjepa_cli.console import Screen
from rjepa_cli.progress import ProgressReport, ToolMeter
from rjepa_cli.signals import Interrupts
from rjepa_core.ports.backend import InFlight
from rjepa_core.ports.executor import Progress
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


def extraction(
    clock: Clock, screen: Screen, rows: int, total: int, lengths: list[int], chunk: int
) -> tuple[list[tuple[float, float | None]], float]:
    """Simulate rows in parallel, a token a second each; a row that ends makes room for the next.

    Returns:
        The time and the estimate of each report, and when all was done.
    """
    report, progress, began = ProgressReport(screen, total), Progress(), clock.now
    waiting = [lengths[i % len(lengths)] for i in range(total)]
    flight: list[list[int]] = []
    found = []
    with report:
        while waiting or flight:
            while waiting and len(flight) < rows:
                flight.append([0, waiting.pop(0)])
            progress.in_flight = InFlight(len(flight))
            for _ in range(chunk):
                clock.now += 1
                for row in flight:
                    row[0] += 1
                    progress.new_tokens += 1
                ended = [row for row in flight if row[0] >= row[1]]
                flight = [row for row in flight if row[0] < row[1]]
                progress.records += len(ended)
                progress.tokens += sum(row[1] for row in ended)
                if ended:
                    break
            report(progress)
            found.append((clock.now - began, report._seconds_left()))
    return found, clock.now - began


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 16),
    total=st.integers(1, 60),
    longest=st.integers(10, 60),
    early=st.integers(0, 8),
    chunk=st.integers(1, 20),
)
def test_the_time_left_is_never_twice_too_long(
    clock: Clock, screen: Screen, rows: int, total: int, longest: int, early: int, chunk: int
) -> None:
    """Rows end together, at a limit; some a little earlier."""
    lengths = [longest, longest - early, longest]
    found, end = extraction(clock, screen, rows, total, lengths, chunk)
    for at, left in found:
        # A row that ends early does so unforeseen.
        assert left is None or left <= 2 * (end - at) + early + 2


def test_no_time_left_is_shown_before_a_batch_is_done(clock: Clock, screen: Screen) -> None:
    found, _ = extraction(clock, screen, rows=12, total=12, lengths=[100, 40, 100], chunk=8)
    assert all(left is None for _, left in found)
    found, end = extraction(clock, screen, rows=4, total=100, lengths=[50], chunk=5)
    shown = [(at, left) for at, left in found if left is not None]
    assert shown[0][0] == 50
    assert all(left == pytest.approx(end - at) for at, left in shown)


def test_the_time_left_of_given_solutions_and_of_whole_batches(
    clock: Clock, screen: Screen
) -> None:
    report = ProgressReport(screen, 40)
    with report:
        clock.now += 10
        report(Progress(records=10, tokens=900, in_flight=InFlight(0, 900)))
        assert "30 s left" in str(report.status())
    report = ProgressReport(screen, 40)
    with report:
        clock.now += 10
        report(Progress(records=9, failures=1, tokens=900, new_tokens=1000, in_flight=InFlight(10)))
        assert "30 s left" in str(report.status())

"""Sources and probes that break one promise each. Not collected: `test_mutants.py` runs this."""

from __future__ import annotations

import time
from typing import Any

import attrs

from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.errors import InputError
from rjepa_core.plugins.hooks import ProbeAdapter, SourceAdapter
from rjepa_core.ports.probe import MemoryReading
from rjepa_core.ports.source import SourceRow
from rjepa_core.testing.probe_suite import ProbeContract
from rjepa_core.testing.source_suite import SourceContract


class Lines:
    """A problem a line, with its solution behind a tab."""

    def __init__(self, location: str, problems: Any, settings: Any) -> None:
        self.location, self.problems = location, problems

    def rows(self):
        try:
            with open(self.location, encoding="utf-8") as file:
                lines = file.readlines()
        except OSError as error:
            raise InputError(f"{self.location}: {error.strerror}") from None
        for number, line in enumerate(lines, 1):
            statement, _, solution = line.strip().partition("\t")
            problem = Problem.make(statement, self.problems.domain or "math")
            yield SourceRow(problem, (GivenSolution(solution),), f"{self.location}:{number}")


class Source(SourceContract):
    made: type = Lines

    @property
    def adapter(self):
        return SourceAdapter(
            name="lines",
            create=lambda *given: self.made(*given),
            claims=lambda location: location.endswith(".lines"),
        )

    def location(self, tmp_path):
        (tmp_path / "a.lines").write_text("What is 1?\t1\nWhat is 2?\t2\nWhat is 3?\t3\n")
        return str(tmp_path / "a.lines")

    def broken(self, tmp_path):
        return str(tmp_path / "missing.lines")


class TestSourceSound(Source):
    """No mutant."""


class TestSourceIsReadOnce(Source):
    class made(Lines):
        def rows(self):
            self.left = getattr(self, "left", None) or super().rows()
            return self.left


class TestSourceNumbersItsRows(Source):
    """An id of the row's number: the same number, another statement."""

    class made(Lines):
        def rows(self):
            for number, row in enumerate(super().rows()):
                problem = attrs.evolve(row.problem, id=f"row-{number % 2}")
                yield attrs.evolve(row, problem=problem)


class TestSourceKnowsNoDomain(Source):
    class made(Lines):
        def rows(self):
            for row in super().rows():
                yield attrs.evolve(row, problem=attrs.evolve(row.problem, domain="math"))


class TestSourceLosesSolutions(Source):
    class made(Lines):
        def rows(self):
            for number, row in enumerate(super().rows()):
                yield row if number else attrs.evolve(row, solutions=())


class TestSourceRaisesWhatItMeets(Source):
    class made(Lines):
        def rows(self):
            open(self.location).close()
            yield from super().rows()


class Probe(ProbeContract):
    device = "toy:0"
    reading = MemoryReading(used_bytes=3 << 30, limit_bytes=8 << 30, held_bytes=1 << 30)

    def read(self):
        return self.reading

    @property
    def adapter(self):
        return ProbeAdapter(
            name="toy",
            create=lambda device, settings: self,
            claims=lambda device: device.startswith("toy"),
        )


class TestProbeSound(Probe):
    """No mutant."""


class TestProbeReadsZero(Probe):
    reading = MemoryReading(used_bytes=0, limit_bytes=8 << 30)


class TestProbeReadsMegabytes(Probe):
    reading = MemoryReading(used_bytes=3000, limit_bytes=8000)


class TestProbeReadsPercent(Probe):
    reading = MemoryReading(used_bytes=3 << 30, limit_bytes=8 << 30, stalled=12.5)


class TestProbeIsSlow(Probe):
    def read(self):
        time.sleep(0.15)
        return self.reading


class TestProbeSwapsItsSensors(Probe):
    reading = MemoryReading(used_bytes=8 << 30, limit_bytes=3 << 30)

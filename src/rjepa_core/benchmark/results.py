"""The settings and results of a measurement of batch sizes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import attrs
from attrs import validators as v

from ..config import checked
from ..extraction import Survey
from ..ports.backend import ModelInfo
from ..ports.scheduler import Decision
from ..settings import ExtractionSettings, StoreSettings

# Number of problems in GSM8K, MATH and HumanEval, as in the original project's audit.
AUDIT_PROBLEMS = 21456


def _sizes(value: int | Iterable[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


def _check_sizes(_: object, __: object, sizes: tuple[int, ...]) -> None:
    if not sizes:
        raise ValueError("sizes must name at least one")
    if min(sizes) < 1:
        raise ValueError(f"sizes must be >= 1, got {min(sizes)}")
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"sizes must differ, got {', '.join(map(str, sizes))}")


@checked("bench")
@attrs.frozen(kw_only=True)
class BenchSettings:
    """What is compared.

    Attributes:
        sizes: numbers of rows to measure, each with the fixed scheduler.
        rounds: how often everything is measured.
        total: number of problems for which the hours are projected.
    """

    sizes: tuple[int, ...] = attrs.field(
        default=(1, 4, 8, 16), converter=_sizes, validator=_check_sizes
    )
    rounds: int = attrs.field(default=2, validator=v.and_(v.instance_of(int), v.ge(1)))
    total: int = attrs.field(default=AUDIT_PROBLEMS, validator=v.and_(v.instance_of(int), v.ge(1)))


@checked()
@attrs.frozen(kw_only=True)
class BenchRunSettings(ExtractionSettings):
    """All of one measurement: the extraction to time, and what to compare.

    Its store and its run settings are not used: nothing is stored.
    """

    store: StoreSettings = attrs.field(factory=lambda: StoreSettings(path="-"))
    bench: BenchSettings = attrs.field(factory=BenchSettings)


@attrs.frozen
class MeasuredBatch:
    """One generated batch.

    Attributes:
        at: end of the batch, in seconds since its round began.
        rows: how many.
        new_tokens: generated.
        seconds: time that generating them took.
        out_of_memory: whether the batch did not fit.
    """

    at: float
    rows: int
    new_tokens: int
    seconds: float
    out_of_memory: bool = False


@attrs.frozen
class Round:
    """One contender's pass over the problems.

    Attributes:
        number: of the round, from 0.
        place: position in its round, from 0.
        seconds: wall time of the whole pipeline.
        problems: done, failed ones included.
        failures: failed problems by reason.
        steps: reasoning steps that were encoded.
        prompt_tokens, new_tokens: read and generated.
        peak_bytes: most memory that this process held; None if unknown.
        used_bytes, limit_bytes: most memory used on the device by all processes, and the limit.
        out_of_memory: number of batches that did not fit.
        batches: in the order in which they were generated.
        decisions: of a scheduler that explains them, with the seconds since the round began.
    """

    number: int
    place: int
    seconds: float
    problems: int
    failures: dict[str, int]
    steps: int
    prompt_tokens: int
    new_tokens: int
    peak_bytes: int | None
    used_bytes: int | None
    limit_bytes: int | None
    out_of_memory: int
    batches: tuple[MeasuredBatch, ...]
    decisions: tuple[tuple[float, Decision], ...]


@attrs.frozen
class Spread:
    """Median and range of a quantity over the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of values."""
        return cls(statistics.median(values), min(values), max(values))


@attrs.frozen
class Measured:
    """A contender and its rounds, at least one.

    Attributes:
        name, size: as the contender's.
        rounds: in order.
    """

    name: str
    size: int | None
    rounds: tuple[Round, ...]

    @property
    def seconds_per_problem(self) -> Spread:
        return Spread.of([r.seconds / max(1, r.problems) for r in self.rounds])

    @property
    def tokens_per_second(self) -> Spread:
        """Tokens per second; the median is derived from the median time, so that the two agree."""
        speeds = [r.new_tokens / max(r.seconds, 1e-9) for r in self.rounds]
        done = max(1, sum(r.problems for r in self.rounds))
        tokens = sum(r.new_tokens for r in self.rounds) / done
        median = tokens / max(self.seconds_per_problem.median, 1e-9)
        return Spread(median, min(*speeds, median), max(*speeds, median))

    @property
    def peak_bytes(self) -> int | None:
        """The most of any round."""
        return max((r.peak_bytes for r in self.rounds if r.peak_bytes), default=None)

    @property
    def out_of_memory(self) -> int:
        """Number of batches of all rounds that did not fit."""
        return sum(r.out_of_memory for r in self.rounds)

    @property
    def failed(self) -> int:
        """Number of failed problems of all rounds."""
        return sum(sum(r.failures.values()) for r in self.rounds)

    @property
    def problems(self) -> int:
        """Number of problems of all rounds, failed ones included."""
        return sum(r.problems for r in self.rounds)

    @property
    def batches(self) -> int:
        """Number of batches of all rounds."""
        return sum(len(r.batches) for r in self.rounds)

    @property
    def last_rows(self) -> int:
        """Rows of the last full batch: the size that a scheduler has settled on."""
        fitted = [b.rows for b in self.rounds[-1].batches if not b.out_of_memory]
        return max(fitted[-2:], default=0)


@attrs.frozen
class BenchResult:
    """What was measured.

    Attributes:
        settings: of the measurement.
        info: of the model.
        survey: of the problems.
        measured: the fixed sizes, smallest first, then the scheduler that decides.
        left_out: sizes for which there are too few problems.
    """

    settings: BenchRunSettings
    info: ModelInfo
    survey: Survey
    measured: tuple[Measured, ...]
    left_out: tuple[int, ...] = ()

    @property
    def baseline(self) -> Measured | None:
        """The smallest fixed size, against which speed-ups are computed."""
        return next((c for c in self.measured if c.size is not None), None)

    def speed_up(self, contender: Measured) -> float | None:
        """Return how many times as fast as the baseline a contender is."""
        if self.baseline is None:
            return None
        least = max(contender.seconds_per_problem.median, 1e-9)
        return self.baseline.seconds_per_problem.median / least

    def hours(self, contender: Measured) -> float:
        """Return the hours projected for `bench.total` problems."""
        return contender.seconds_per_problem.median * self.settings.bench.total / 3600

"""A run on a machine with little memory, for the schedulers' suite."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from ..domain.latents import Encoding, LatentRecord
from ..domain.problem import Problem
from ..domain.prompt import pose
from ..domain.segmentation import cut_completion
from ..domain.trace import OUT_OF_MEMORY, Completion, Failure, Prompt, RecordKey, Trace, Work
from ..errors import BackendError, OutOfMemoryError
from ..extraction import Pending, extract
from ..ports.backend import Refused, SessionSpec
from ..ports.scheduler import BatchScheduler
from ..settings import DEFAULT_TEMPLATES, EncodingSettings, ModelSettings, SamplingSettings
from .seeded import SeededBackend, SeededSettings

PROBLEMS = 24
# Halving finds a size that fits in six tries; nobody needs so many.
MOST_TRIES = 12


class SmallMachine(SeededBackend):
    """Runs out of memory above so many rows in `generate` or tokens in `encode`."""

    def __init__(self, rows: int, tokens: int) -> None:
        super().__init__(ModelSettings(name="small"), SeededSettings(hidden_size=2, max_steps=2))
        self._rows, self._tokens = rows, tokens
        self._tries = 0

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingSettings
    ) -> Sequence[Completion | Refused]:
        self._fit(len(prompts) <= self._rows, f"{len(prompts)} rows")
        return super().generate(prompts, sampling)

    def encode(
        self, traces: Sequence[Trace], encoding: EncodingSettings
    ) -> Sequence[Encoding | Refused]:
        tokens = sum(trace.encoded_length for trace in traces)
        self._fit(len(traces) == 1 or tokens <= self._tokens, f"{tokens} tokens to encode")
        return super().encode(traces, encoding)

    def _fit(self, fits: bool, what: str) -> None:
        self._tries = 0 if fits else self._tries + 1
        assert self._tries <= MOST_TRIES, (
            "the scheduler repeats itself: a batch that ran out of memory was tried "
            f"{self._tries} times in a row, last with {what}"
        )
        if not fits:
            raise OutOfMemoryError(f"{what} do not fit")


class Sink:
    """Keeps the keys of what is written."""

    def __init__(self) -> None:
        self.records: list[RecordKey] = []
        self.failures: list[Failure] = []

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        self.records += [record.key for record in records]
        self.failures += failures

    def commit(self) -> None:
        pass


def run_on_a_small_machine(scheduler: BatchScheduler, rows: int, tokens: int) -> None:
    """Do some problems under the scheduler; each must be stored exactly once.

    Args:
        scheduler: a new one.
        rows, tokens: the most that fit into `generate` and `encode`.
    """
    work = [Work(Problem(f"p{i}", f"What is {i} plus {i * i}?")) for i in range(PROBLEMS)]
    spec = SessionSpec(
        sampling=SamplingSettings(max_new_tokens=80),
        encoding=EncodingSettings(layers=(0,)),
        pose=lambda item: pose(item.problem, item.sample, DEFAULT_TEMPLATES),
        cut=cut_completion,
        clock=time.perf_counter,
    )
    sink = Sink()
    with SmallMachine(rows, tokens) as backend:
        session = backend.open_session(spec)
        try:
            extract(Pending(work), session, scheduler, sink)
        except BackendError as error:
            raise AssertionError(f"the scheduler stalls the run: {error}") from error
    failed = [f for f in sink.failures if f.reason == OUT_OF_MEMORY]
    assert not failed, f"a problem that fits alone was lost to memory: {failed[:1]}"
    found = Counter([*sink.records, *(f.key for f in sink.failures)])
    wanted = {item.key for item in work}
    assert not wanted - found.keys(), f"problems were lost: {sorted(wanted - found.keys())}"
    twice = sorted(key for key, count in found.items() if count > 1)
    assert not twice, f"problems were repeated: {twice}"

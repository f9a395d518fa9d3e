"""What the backend suites share: problems, a way to run a session, and altered traces."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import attrs
import numpy as np
import pytest

from ..domain.latents import LatentRecord, Vectors
from ..domain.problem import Problem
from ..domain.prompt import pose
from ..domain.segmentation import cut_completion
from ..domain.step_spans import Cut
from ..domain.trace import (
    NOT_FINITE,
    OUT_OF_RANGE,
    Completion,
    Failure,
    RecordKey,
    StepSpan,
    Trace,
    Work,
)
from ..extraction import Pending
from ..ports.backend import LLMBackend, Room, SessionSpec
from ..settings import DEFAULT_TEMPLATES, EncodingSettings, SamplingSettings

# Each begins with another letter, and not all end alike, so that the suite can check the position
# of a statement in a prompt without a tokenizer.
STATEMENTS = (
    "Mia has 3 pears and picks 5 more. How many has she?",
    "A bus holds 40 people; 13 seats are free. Count the people who sit.",
    "What is a quarter of 96?",
    "Naïve 🙂 question: how many halves are in ½ + 1½?",
    "Ben reads 12 pages a day for a week, then 20 on Sunday. How many pages is that in all?",
)
Records = dict[RecordKey, LatentRecord]
Failures = dict[RecordKey, Failure]


class BackendCase:
    """Inherit and define a fixture `backend`; the class attributes may be changed.

    Attributes:
        max_new_tokens: longest completion that the tests ask for.
        tolerance: largest ‖a−b‖/‖b‖ of a vector between batches; 0 for exact backends.
        same_ids: share of the traces that must be equal between batches; rounding may flip a
            token.
        causal: whether a token's hidden state depends only on the tokens up to it.
    """

    max_new_tokens = 48
    tolerance = 1e-3
    same_ids = 0.8
    causal = True

    @pytest.fixture
    def backend(self) -> LLMBackend:
        raise NotImplementedError("define a fixture `backend`")

    def spec(self, backend: LLMBackend, **sampling: float) -> SessionSpec:
        """Return a spec with the first and last layer and log-probabilities."""
        layers = (0, backend.info.hidden_states - 1) if backend.info.hidden_states > 1 else (0,)
        return SessionSpec(
            sampling=SamplingSettings(
                max_new_tokens=self.max_new_tokens, seed=int(sampling.get("seed", 0))
            ),
            encoding=EncodingSettings(layers=layers, logprobs=True, store_dtype="float32"),
            pose=lambda work: pose(work.problem, work.sample, DEFAULT_TEMPLATES),
            cut=cut_completion,
            clock=time.perf_counter,
        )

    @staticmethod
    def work(samples: int = 1) -> list[Work]:
        problems = [Problem.make(statement) for statement in STATEMENTS]
        return [Work(problem, sample) for problem in problems for sample in range(samples)]

    def run(
        self,
        backend: LLMBackend,
        work: Sequence[Work],
        rows: int,
        spec: SessionSpec | None = None,
        **sampling: float,
    ) -> tuple[Records, Failures]:
        """Run a session to its end with `rows` rows; each work item must be returned once."""
        spec = spec or self.spec(backend, **sampling)
        seen: list[tuple[Completion, Cut]] = []

        def cut(completion: Completion) -> Cut:
            check_completion(completion)
            seen.append((completion, spec.cut(completion)))
            return seen[-1][1]

        session = backend.open_session(attrs.evolve(spec, cut=cut))
        pending = Pending(work)
        records: Records = {}
        failures: Failures = {}
        rounds = 0
        while pending or session.in_flight:
            room = Room(max(0, rows - session.in_flight.rows), None, 4096, 4096)
            session.admit(pending.take(room, session.cost, not session.in_flight))
            step = session.advance(room)
            pending.put_back(step.given_back)
            for record in step.finished:
                assert record.key not in records, f"{record.key} was finished twice"
                records[record.key] = record
            for failure in step.failed:
                assert failure.key not in failures, f"{failure.key} failed twice"
                failures[failure.key] = failure
            rounds += 1
            assert rounds < 10_000, "the session makes no progress"
        session.close()
        lost = {w.key for w in work} - records.keys() - failures.keys()
        assert not lost, f"these problems were admitted and never came back: {_names(lost)}"
        extra = (records.keys() | failures.keys()) - {w.key for w in work}
        assert not extra, f"these came back and were never admitted: {_names(extra)}"
        for failure in failures.values():
            assert failure.reason not in (NOT_FINITE, OUT_OF_RANGE), (
                f"{failure.key}: every value of a vector must be a finite number: {failure.detail}"
            )
        check_spans(records, work, seen)
        return records, failures

    def encode(
        self, backend: LLMBackend, traces: Sequence[Trace], spec: SessionSpec | None = None
    ) -> list[LatentRecord]:
        """Return the traces encoded as they are, in order."""
        named = [attrs.evolve(trace, sample=i) for i, trace in enumerate(traces)]
        work = [Work(trace.problem, trace.sample, trace) for trace in named]
        records, failures = self.run(backend, work, rows=1, spec=spec)
        assert not failures, f"a trace could not be encoded again: {[*failures.values()][:1]}"
        return [records[item.key] for item in work]

    @property
    def slack(self) -> float:
        """Largest ‖a−b‖/‖b‖ between vectors that should be equal."""
        return max(self.tolerance, 1e-5)

    def longest_trace(self, backend: LLMBackend) -> Trace:
        """Return the longest of the generated traces."""
        records, _ = self.run(backend, self.work(), rows=4)
        assert records, "no problem succeeded"
        trace = max((r.trace for r in records.values()), key=lambda t: len(t.completion_ids))
        assert len(trace.completion_ids) >= 2, "no completion has two tokens"
        return trace


def difference(found: Vectors, wanted: Vectors) -> float:
    """Return the largest ‖a−b‖/‖b‖ of corresponding vectors."""
    size = np.maximum(np.linalg.norm(wanted, axis=-1), 1e-30)
    return float((np.linalg.norm(found - wanted, axis=-1) / size).max())


def with_spans(trace: Trace, *spans: tuple[int, int]) -> Trace:
    """Return the trace with its tokens cut into other steps."""
    steps = tuple(StepSpan(start, stop) for start, stop in spans)
    return attrs.evolve(trace, spans=steps, step_texts=("a step",) * len(steps))


def with_another_token(trace: Trace, position: int) -> Trace:
    """Return the trace with another token at one position of its completion."""
    ids = trace.completion_ids.copy()
    known = np.concatenate([trace.completion_ids, trace.prompt_ids])
    ids[position] = known[known != ids[position]][0]
    return attrs.evolve(trace, completion_ids=ids)


def check_completion(completion: Completion) -> None:
    """Fail unless a completion's ids, text and offsets are consistent."""
    ids, offsets, text = completion.ids, completion.offsets, completion.text
    assert offsets.shape == (len(ids), 2), (
        f"a completion's offsets are one range per token: {offsets.shape} for {len(ids)} ids"
    )
    position = 0
    for start, stop in offsets:
        assert 0 <= start <= stop <= len(text), (
            f"a token's offsets {start}:{stop} are not a range of the {len(text)} characters"
        )
        assert start <= position, (
            f"off by one? Characters {position}:{start} of a completion belong to no token; its "
            "offsets must say which characters each token covers"
        )
        position = max(position, int(stop))
    assert position == len(text), (
        f"off by one? The last {len(text) - position} characters of a completion belong to no "
        "token; its offsets must say which characters each token covers"
    )


def check_spans(
    records: Mapping[RecordKey, LatentRecord],
    work: Sequence[Work],
    seen: Sequence[tuple[Completion, Cut]],
) -> None:
    """Fail unless each generated trace's spans are those that the spec's `cut` returned."""
    given = {w.key for w in work if w.given is not None}
    cuts = {(c.prompt_ids.tobytes(), c.ids.tobytes()): found for c, found in seen}
    for key, record in records.items():
        if key in given:
            continue
        trace = record.trace
        found = cuts.get((trace.prompt_ids.tobytes(), trace.completion_ids.tobytes()))
        assert found is not None, f"{key}: its completion was never given to the spec's cut()"
        assert trace.spans == found.spans, (
            f"{key}: its spans must be those that cut() gave, {_text(found.spans)}; "
            f"got {_text(trace.spans)}"
        )


def _text(spans: Sequence[StepSpan]) -> str:
    return " ".join(f"{span.start}:{span.stop}" for span in spans)


def _names(keys: set[RecordKey]) -> str:
    return ", ".join(sorted(map(str, keys)))

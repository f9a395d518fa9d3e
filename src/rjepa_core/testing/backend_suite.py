"""What every LLM backend promises, as tests that a backend's own tests inherit.

    class TestMyBackend(BackendContract):
        @pytest.fixture(scope="class")
        def backend(self):
            with MyBackend(ModelSettings(name="small"), MySettings()) as backend:
                yield backend

Each failure names the broken promise.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from ..cutting import cut_completion
from ..latents import LatentRecord
from ..pending import Pending
from ..ports.llm_backend import LLMBackend, Room, SessionSpec
from ..problems import Problem
from ..prompts import DEFAULT_TEMPLATES, pose
from ..settings import EncodingSettings, SamplingSettings
from ..traces import Failure, RecordKey, Work

STATEMENTS = (
    "Mia has 3 pears and picks 5 more. How many has she?",
    "A bus holds 40 people; 13 seats are free. How many people sit?",
    "What is a quarter of 96?",
    "Naïve 🙂 question: how many halves are in ½ + 1½?",
    "Ben reads 12 pages a day for a week, then 20 on Sunday. How many pages is that in all?",
)


class BackendContract:
    """Inherit, and give a fixture `backend`; the class attributes may be changed.

    Attributes:
        max_new_tokens: length of the completions that the tests ask for.
        tolerance: largest ‖a−b‖/‖b‖ of a vector between batches; 0 for exact backends.
        same_ids: share of the traces that must be equal between batches; rounding may flip a
            token.
    """

    max_new_tokens = 48
    tolerance = 1e-3
    same_ids = 0.8

    @pytest.fixture
    def backend(self) -> LLMBackend:
        raise NotImplementedError("give a fixture `backend`")

    def spec(self, backend: LLMBackend, **sampling: float) -> SessionSpec:
        """A spec with the first and last layer and log-probabilities."""
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

    def run(
        self, backend: LLMBackend, work: Sequence[Work], rows: int, **sampling: float
    ) -> tuple[dict[RecordKey, LatentRecord], dict[RecordKey, Failure]]:
        """Drive a session to the end with `rows` rows; every work must come back once."""
        session = backend.open_session(self.spec(backend, **sampling))
        pending = Pending(work)
        records: dict[RecordKey, LatentRecord] = {}
        failures: dict[RecordKey, Failure] = {}
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
        assert not lost, f"these problems were admitted and never came back: {sorted(lost)}"
        extra = (records.keys() | failures.keys()) - {w.key for w in work}
        assert not extra, f"these came back and were never admitted: {sorted(extra)}"
        return records, failures

    @staticmethod
    def work(samples: int = 1) -> list[Work]:
        problems = [Problem.make(statement) for statement in STATEMENTS]
        return [Work(problem, sample) for problem in problems for sample in range(samples)]

    def test_info(self, backend: LLMBackend) -> None:
        info = backend.info
        assert info.content, "info.content must say what the weights are"
        assert info.hidden_size >= 1
        assert info.hidden_states >= 1

    def test_every_problem_comes_back_once(self, backend: LLMBackend) -> None:
        records, failures = self.run(backend, self.work(2), rows=3)
        assert records, f"no problem succeeded: {[f.detail for f in failures.values()][:3]}"

    def test_a_record_belongs_to_its_problem(self, backend: LLMBackend) -> None:
        records, _ = self.run(backend, self.work(), rows=4)
        statements = {work.key: work.problem.statement for work in self.work()}
        for key, record in records.items():
            assert record.trace.problem.statement == statements[key]
            assert statements[key] in record.trace.prompt_text, (
                f"{key}: the prompt is another problem's; rows were swapped"
            )

    def test_spans_are_the_completions(self, backend: LLMBackend) -> None:
        records, _ = self.run(backend, self.work(), rows=4)
        for key, record in records.items():
            trace = record.trace
            start, stop = trace.statement_span
            assert 0 <= start < stop <= len(trace.prompt_ids), f"{key}: statement span is outside"
            position = trace.spans[0].start
            for span, text in zip(trace.spans, trace.step_texts, strict=True):
                assert span.start == position, f"{key}: spans leave a gap or overlap"
                assert span.start < span.stop <= len(trace.completion_ids), f"{key}: span outside"
                assert text in trace.completion, f"{key}: a step's text is not in the completion"
                position = span.stop

    def test_vectors_have_the_promised_shape(self, backend: LLMBackend) -> None:
        records, _ = self.run(backend, self.work(), rows=4)
        spec = self.spec(backend)
        layers, width = len(spec.encoding.layers), backend.info.hidden_size
        for key, record in records.items():
            shape = (layers, len(record.trace.spans), width)
            assert record.latents.shape == shape, f"{key}: latents {record.latents.shape}"
            assert record.prompt_latent.shape == (layers, width), f"{key}: prompt latent"
            assert np.isfinite(record.latents).all(), f"{key}: a latent is not finite"
            assert record.logprobs is not None
            assert (record.logprobs <= 0).all(), f"{key}: a log-probability is positive"

    def test_batches_and_order_do_not_matter(self, backend: LLMBackend) -> None:
        alone, _ = self.run(backend, self.work(2), rows=1)
        together, _ = self.run(backend, self.work(2)[::-1], rows=10)
        same = [
            key
            for key in alone
            if key in together
            and np.array_equal(alone[key].trace.completion_ids, together[key].trace.completion_ids)
        ]
        assert len(same) >= self.same_ids * len(alone), (
            "a row's randomness must come from seed, problem id and sample alone: "
            f"{len(alone) - len(same)} of {len(alone)} traces changed with the batch"
        )
        for key in same:
            one, other = alone[key].latents, together[key].latents
            error = np.linalg.norm(one - other, axis=-1) / np.linalg.norm(one, axis=-1)
            assert error.max() <= self.tolerance, f"{key}: vectors change with the batch: {error}"

    def test_the_same_run_gives_the_same(self, backend: LLMBackend) -> None:
        one, _ = self.run(backend, self.work(), rows=3)
        other, _ = self.run(backend, self.work(), rows=3)
        for key in one:
            ids = other[key].trace.completion_ids
            assert np.array_equal(one[key].trace.completion_ids, ids), f"{key}: not repeatable"

    def test_samples_and_seeds_differ(self, backend: LLMBackend) -> None:
        records, _ = self.run(backend, self.work(3), rows=5)
        other, _ = self.run(backend, self.work(3), rows=5, seed=1)
        texts = {(k.problem_id, r.trace.completion) for k, r in records.items()}
        assert len(texts) > len(STATEMENTS), "all samples of a problem are the same"
        assert any(
            records[k].trace.completion != other[k].trace.completion for k in records if k in other
        ), "the seed changes nothing"

    def test_traces_are_encoded_again_as_they_are(self, backend: LLMBackend) -> None:
        records, _ = self.run(backend, self.work(), rows=4)
        again, _ = self.run(
            backend, [Work(r.trace.problem, r.trace.sample, r.trace) for r in records.values()], 1
        )
        for key, record in records.items():
            assert again[key].trace.spans == record.trace.spans
            error = np.abs(again[key].latents - record.latents).max()
            scale = np.abs(record.latents).max()
            assert error <= max(self.tolerance, 1e-6) * scale, f"{key}: encoding is not repeatable"

"""The promises of every LLM backend, as tests that a backend's own tests inherit.

    class TestMyBackend(BackendContract):
        @pytest.fixture(scope="class")
        def backend(self):
            with MyBackend(ModelSettings(name="small"), MySettings()) as backend:
                yield backend

Each failure names the broken promise.
"""

from __future__ import annotations

import attrs
import numpy as np

from ..domain.latents import LatentRecord
from ..domain.trace import RecordKey, Trace, Work
from ..ports.backend import InFlight, LLMBackend
from .backend_case import (
    STATEMENTS,
    BackendCase,
    Records,
    difference,
    with_another_token,
    with_spans,
)
from .backend_suite_choices import ChoicesContract, TokensContract

__all__ = ["STATEMENTS", "BackendContract"]


class RowsContract(BackendCase):
    """Every problem is returned once and as itself, whatever it was batched with."""

    def test_info(self, backend: LLMBackend) -> None:
        info = backend.info
        assert info.content, "info.content must say what the weights are"
        assert info.hidden_size >= 1, "info.hidden_size is D, at least 1"
        assert info.hidden_states >= 1, "info.hidden_states counts layers, at least 1"

    def test_work_has_a_cost(self, backend: LLMBackend) -> None:
        session = backend.open_session(self.spec(backend))
        for work in self.work():
            cost = session.cost(work)
            assert cost >= self.max_new_tokens, (
                f"cost() counts the prompt and the {self.max_new_tokens} tokens that may follow: "
                f"{cost}"
            )
        session.close()

    def test_a_closed_session_releases_its_rows(self, backend: LLMBackend) -> None:
        session = backend.open_session(self.spec(backend))
        assert not session.in_flight, "a new session holds nothing"
        session.admit(self.work()[:2])
        assert session.in_flight, "what was admitted is in flight"
        session.close()
        again, _ = self.run(backend, self.work()[:2], rows=2)
        assert again, "the backend stays open when a session is closed"
        assert backend.open_session(self.spec(backend)).in_flight == InFlight(), (
            "sessions do not share their rows"
        )

    def test_every_problem_comes_back_once(self, backend: LLMBackend) -> None:
        records, failures = self.run(backend, self.work(2), rows=3)
        assert records, f"no problem succeeded: {[f.detail for f in failures.values()][:3]}"

    def test_a_record_belongs_to_its_problem(self, backend: LLMBackend) -> None:
        records, _ = self.run(backend, self.work(), rows=4)
        statements = {work.key: work.problem.statement for work in self.work()}
        for key, record in records.items():
            assert record.trace.problem.statement == statements[key], (
                f"{key}: the problem is another's; rows were swapped"
            )
            assert statements[key] in record.trace.prompt_text, (
                f"{key}: the prompt is another problem's; rows were swapped"
            )

    def test_batches_and_order_do_not_matter(self, backend: LLMBackend) -> None:
        alone, _ = self.run(backend, self.work(2), rows=1)
        together, _ = self.run(backend, self.work(2)[::-1], rows=10)
        for key in alone.keys() & together.keys():
            self._not_swapped(alone, key, together[key])
        same = [k for k in alone if k in together and _same_ids(alone[k], together[k])]
        assert len(same) >= self.same_ids * len(alone), (
            "a row's randomness must come from seed, problem id and sample alone: "
            f"{len(alone) - len(same)} of {len(alone)} traces changed with the batch"
        )
        for key in same:
            error = difference(together[key].latents, alone[key].latents)
            assert error <= self.tolerance, (
                f"{key}: vectors must not change with the batch: they differ by {error:.2g} of "
                "their length"
            )

    def _not_swapped(self, alone: Records, key: RecordKey, found: LatentRecord) -> None:
        """Fail if a row of a batch equals another row that was run alone."""
        if not _same_ids(alone[key], found):
            others = [k for k, r in alone.items() if k != key and _same_ids(r, found)]
            assert not others, (
                f"rows were swapped: {key} came back with the completion of {others[0]}"
            )
        if self._same_vectors(alone[key], found):
            return
        others = [k for k, r in alone.items() if k != key and self._same_vectors(r, found)]
        assert not others, f"rows were swapped: {key} came back with the vectors of {others[0]}"

    def _same_vectors(self, one: LatentRecord, other: LatentRecord) -> bool:
        a, b = one.latents, other.latents
        return a.shape == b.shape and difference(a, b) <= self.tolerance

    def test_the_same_run_gives_the_same(self, backend: LLMBackend) -> None:
        one, _ = self.run(backend, self.work(), rows=3)
        other, _ = self.run(backend, self.work(), rows=3)
        for key in one:
            assert key in other, f"{key}: not repeatable, it failed the second time"
            assert _same_ids(one[key], other[key]), f"{key}: not repeatable, another completion"

    def test_samples_and_seeds_differ(self, backend: LLMBackend) -> None:
        records, _ = self.run(backend, self.work(3), rows=5)
        other, _ = self.run(backend, self.work(3), rows=5, seed=1)
        texts = {(k.problem_id, r.trace.completion) for k, r in records.items()}
        assert len(texts) > len(STATEMENTS), "all samples of a problem are the same"
        assert any(
            records[k].trace.completion != other[k].trace.completion for k in records if k in other
        ), "the seed changes nothing"


class VectorsContract(BackendCase):
    """Spans are the completion's, and vectors are the spans'."""

    def test_spans_are_the_completions(self, backend: LLMBackend) -> None:
        records, _ = self.run(backend, self.work(), rows=4)
        for key, record in records.items():
            trace = record.trace
            position = trace.spans[0].start
            for span, text in zip(trace.spans, trace.step_texts, strict=True):
                assert span.start == position, f"{key}: spans leave a gap or overlap"
                assert span.start < span.stop <= len(trace.completion_ids), f"{key}: span outside"
                assert text in trace.completion, f"{key}: a step's text is not in the completion"
                position = span.stop

    def test_the_statement_span_is_the_statement(self, backend: LLMBackend) -> None:
        """Prompts of one domain differ only in their statements."""
        records, _ = self.run(backend, self.work(), rows=4)
        off = "the statement span must be the statement's own tokens (off by one?)"
        before, first, last, after = set(), set(), set(), set()
        for key, record in records.items():
            ids, (start, stop) = record.trace.prompt_ids.tolist(), record.trace.statement_span
            assert 0 <= start < stop <= len(ids), f"{key}: {off}: {start}:{stop} of {len(ids)}"
            before.add(tuple(ids[:start]))
            after.add(tuple(ids[stop:]))
            first.add(ids[start])
            last.add(ids[stop - 1])
        assert len(before) == 1, f"{off}: tokens before it belong to the statement"
        assert len(after) == 1, f"{off}: tokens after it belong to the statement"
        if len(records) == len(STATEMENTS):
            assert len(first) > 1, f"{off}: it begins with a token of the instructions"
            assert len(last) > 1, f"{off}: it ends with a token of the instructions"

    def test_vectors_have_the_promised_shape(self, backend: LLMBackend) -> None:
        records, _ = self.run(backend, self.work(), rows=4)
        spec = self.spec(backend)
        layers, width = len(spec.encoding.layers), backend.info.hidden_size
        for key, record in records.items():
            steps = len(record.trace.spans)
            for what, array, shape in (
                ("latents", record.latents, (layers, steps, width)),
                ("prompt latent", record.prompt_latent, (layers, width)),
            ):
                assert array.shape[-1] == width, (
                    f"{key}: {what} of width {array.shape[-1]}, info.hidden_size promises {width}"
                )
                assert array.shape == shape, f"{key}: {what} {array.shape}, promised is {shape}"
                assert np.isfinite(array).all(), (
                    f"{key}: {what}: every value of a vector must be a finite number"
                )
            assert record.logprobs is not None, f"{key}: log-probabilities were asked for"
            assert record.logprobs.shape == (steps,), f"{key}: one log-probability per step"
            assert (record.logprobs <= 0).all(), f"{key}: a log-probability is positive"

    def test_traces_are_encoded_again_as_they_are(self, backend: LLMBackend) -> None:
        records, _ = self.run(backend, self.work(), rows=4)
        again, _ = self.run(
            backend, [Work(r.trace.problem, r.trace.sample, r.trace) for r in records.values()], 1
        )
        for key, record in records.items():
            assert key in again, f"{key}: its own trace could not be encoded again"
            assert again[key].trace.spans == record.trace.spans, f"{key}: a given span was changed"
            error = np.abs(again[key].latents - record.latents).max()
            scale = np.abs(record.latents).max()
            assert error <= max(self.tolerance, 1e-6) * scale, f"{key}: encoding is not repeatable"

    def test_a_vector_is_the_mean_of_its_span(self, backend: LLMBackend) -> None:
        """The means of two halves average to the mean of the whole."""
        trace, size = self._long_trace(backend)
        halves, whole = self.encode(
            backend,
            [with_spans(trace, (0, size), (size, 2 * size)), with_spans(trace, (0, size * 2))],
        )
        error = difference(halves.latents.mean(1), whole.latents[:, 0])
        assert error <= self.slack, (
            "with pooling `mean` a vector is the mean over its span's tokens, all of them and no "
            f"other (off by one in the spans?): two halves and their whole differ by {error:.2g}"
        )

    def test_a_vector_ends_with_its_span(self, backend: LLMBackend) -> None:
        trace, size = self._long_trace(backend)
        trace = with_spans(trace, (0, size), (size, 2 * size))
        as_it_is, last, following = self.encode(
            backend, [trace, with_another_token(trace, size - 1), with_another_token(trace, size)]
        )
        changed = difference(last.latents[:, :1], as_it_is.latents[:, :1])
        assert changed > self.slack, (
            "a vector must see the last token of its span (off by one in the spans?): another "
            "token there changes nothing"
        )
        if not self.causal:
            return
        changed = difference(following.latents[:, :1], as_it_is.latents[:, :1])
        assert changed <= self.slack, (
            "a vector must not see the token after its span (off by one in the spans?): another "
            f"token there changes it by {changed:.2g}"
        )
        assert difference(following.prompt_latent, as_it_is.prompt_latent) <= self.slack, (
            "the prompt's vector must not see the completion"
        )

    def test_the_prompts_vector_is_the_statements(self, backend: LLMBackend) -> None:
        trace, _ = self._long_trace(backend)
        start, stop = trace.statement_span
        middle = (start + stop) // 2
        parts = self.encode(
            backend,
            [
                attrs.evolve(trace, statement_span=span)
                for span in ((start, middle), (middle, stop), (start, stop))
            ],
        )
        one, other, whole = (part.prompt_latent for part in parts)
        mean = ((middle - start) * one + (stop - middle) * other) / (stop - start)
        error = difference(mean, whole)
        assert error <= self.slack, (
            "with pooling `mean` the prompt's vector is the mean over the statement's tokens, all "
            f"of them and no other (off by one?): two halves and their whole differ by {error:.2g}"
        )

    def _long_trace(self, backend: LLMBackend) -> tuple[Trace, int]:
        """Return a generated trace, and the number of tokens of each half to cut from it."""
        trace = self.longest_trace(backend)
        return trace, min(4, len(trace.completion_ids) // 2)


class BackendContract(RowsContract, VectorsContract, ChoicesContract, TokensContract):
    """The promises of the port `LLMBackend`; see `BackendCase` for what may be changed."""


def _same_ids(one: LatentRecord, other: LatentRecord) -> bool:
    return np.array_equal(one.trace.completion_ids, other.trace.completion_ids)

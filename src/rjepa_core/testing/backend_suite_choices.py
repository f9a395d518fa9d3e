"""The part of `BackendContract` about layers, pooling, lengths, stop texts and tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import pytest

from ..domain.latents import LatentRecord, Vectors
from ..domain.prompt import pose
from ..domain.trace import TokenIds, Trace
from ..ports.backend import LLMBackend, SessionSpec
from ..settings import DEFAULT_TEMPLATES
from .backend_case import BackendCase, difference, with_spans

# What each pooling makes of the vectors of single tokens: [L, T, D] to [L, D].
_POOLED: dict[str, Callable[[Vectors], Vectors]] = {
    "mean": lambda tokens: tokens.mean(1),
    "last": lambda tokens: tokens[:, -1],
    "max": lambda tokens: tokens.max(1),
}


class ChoicesContract(BackendCase):
    """A session does what its spec asks for."""

    def test_layers_are_those_that_were_asked_for(self, backend: LLMBackend) -> None:
        trace, count = self.longest_trace(backend), backend.info.hidden_states
        every = self._encoded(backend, [trace], layers=tuple(range(count)))[0].latents
        assert len(every) == count, f"{count} layers were asked for, and {len(every)} came"
        for layer in range(1, count):
            assert not np.array_equal(every[layer], every[layer - 1]), (
                f"layers {layer - 1} and {layer} have the same vectors: is another layer read than "
                "the one that was asked for?"
            )
        for layers in sorted({(0,), (count // 2,), (count - 1,)}):
            found = self._encoded(backend, [trace], layers=layers)[0].latents
            assert len(found) == 1, f"layer {layers[0]} was asked for, and {len(found)} came"
            error = difference(found, every[list(layers)])
            assert error <= self.slack, (
                f"layer {layers[0]} alone has other vectors than among all layers, in the order in "
                f"which they were asked for: they differ by {error:.2g}"
            )

    def test_pooling_is_what_was_asked_for(self, backend: LLMBackend) -> None:
        trace = self.longest_trace(backend)
        size = min(8, len(trace.completion_ids))
        start, stop = trace.statement_span
        middle = (start + stop) // 2
        for pooling, pooled in _POOLED.items():
            tokens, whole, *parts = self._encoded(
                backend,
                [
                    with_spans(trace, *((i, i + 1) for i in range(size))),
                    with_spans(trace, (0, size)),
                    *(
                        attrs.evolve(trace, statement_span=span)
                        for span in ((start, middle), (middle, stop), (stop - 1, stop))
                    ),
                ],
                pooling=pooling,
            )
            error = difference(whole.latents[:, 0], pooled(tokens.latents))
            assert error <= self.slack, (
                f"with pooling `{pooling}` the vector of {size} tokens is not the {pooling} of "
                f"theirs: they differ by {error:.2g}"
            )
            one, other, end = (part.prompt_latent for part in parts)
            wanted = {"max": np.maximum(one, other), "last": end}.get(pooling)
            assert difference(one, other) > self.slack, (
                "the prompt's vector must be that of the statement's span: another span changes "
                "nothing"
            )
            if wanted is not None:
                error = difference(whole.prompt_latent, wanted)
                assert error <= self.slack, (
                    f"with pooling `{pooling}` the prompt's vector is not the {pooling} of the "
                    f"statement's tokens: they differ by {error:.2g}"
                )

    def test_completions_keep_to_the_limit(self, backend: LLMBackend) -> None:
        limit = max(2, self.max_new_tokens // 2)
        spec = self.spec(backend)
        shorter = attrs.evolve(spec, sampling=attrs.evolve(spec.sampling, max_new_tokens=limit))
        whole, _ = self.run(backend, self.work(), rows=4)
        short, _ = self.run(backend, self.work(), rows=4, spec=shorter)
        assert short, f"no problem succeeded with {limit} new tokens"
        for records, most in ((whole, self.max_new_tokens), (short, limit)):
            for key, record in records.items():
                length = len(record.trace.completion_ids)
                assert length <= most, f"{key}: {length} tokens, at most {most} were asked for"
        for key in whole.keys() & short.keys():
            ids, cut = whole[key].trace.completion_ids, short[key].trace
            length = len(cut.completion_ids)
            if len(ids) > length and np.array_equal(ids[:length], cut.completion_ids):
                assert cut.finish_reason == "length", (
                    f"{key}: a completion that the limit cut off says so: its finish_reason is "
                    f"{cut.finish_reason!r}, not 'length'"
                )

    def test_completions_end_at_a_stop_text(self, backend: LLMBackend) -> None:
        if not backend.info.stops:
            pytest.skip("info.stops says that the backend ends no completion at a text")
        whole, _ = self.run(backend, self.work(), rows=4)
        spec = self.spec(backend)
        stops = ("\0 never", _middle_of(trace := self.longest_trace(backend)))
        stopping = attrs.evolve(spec, sampling=attrs.evolve(spec.sampling, stop=stops))
        alone, _ = self.run(backend, self.work(), rows=1, spec=stopping)
        together, _ = self.run(backend, self.work()[::-1], rows=4, spec=stopping)
        assert trace.key in alone, f"{trace.key}: what is before the stop text is a record"
        same = 0
        for key in alone.keys() & together.keys() & whole.keys():
            one, other, full = alone[key].trace, together[key].trace, whole[key].trace
            text, found, after = full.completion.partition(stops[1])
            wanted = (text, "stop" if found else full.finish_reason)
            ids, most = one.completion_ids, len(full.completion_ids)
            as_asked = (one.completion, one.finish_reason) == wanted
            begins = len(ids) <= most and np.array_equal(ids, full.completion_ids[: len(ids)])
            # The tokens after a stop text in the middle are never generated.
            shorter = len(ids) < most or not after
            same += as_asked and begins and shorter and np.array_equal(ids, other.completion_ids)
        assert same >= self.same_ids * len(alone), (
            "a completion is what it is without stop texts, up to the first of them and no "
            f"further, whatever it is batched with: {len(alone) - same} of {len(alone)} are not"
        )

    def _encoded(
        self, backend: LLMBackend, traces: Sequence[Trace], **chosen: Any
    ) -> list[LatentRecord]:
        spec = self.spec(backend)
        encoding = attrs.evolve(spec.encoding, **chosen)
        return self.encode(backend, traces, attrs.evolve(spec, encoding=encoding))


def _middle_of(trace: Trace) -> str:
    """Return some characters of a completion, which may begin and end within tokens."""
    text = trace.completion
    middle = len(text) // 2
    for start in range(middle, len(text) - 2):
        piece = text[start : start + 3]
        # A model may produce half a character, which has no text of its own.
        if "\ufffd" not in piece and text.find(piece) == start:
            return piece
    return text[middle:]


_DAYS = ("2001-02-03", "2033-10-09")


class TokensContract(BackendCase):
    """What a backend reports about its tokens is true, because stores are compared by it."""

    def test_info_about_tokens_is_short(self, backend: LLMBackend) -> None:
        for name in ("tokenizer", "sampler"):
            text = getattr(backend.info, name)
            assert text is None or (isinstance(text, str) and 0 < len(text) <= 64), (
                f"info.{name} is None, or a short text such as a hash: {text!r:.80}"
            )
        ends = backend.info.end_ids
        assert ends is None or all(isinstance(token, int) and token >= 0 for token in ends), (
            f"info.end_ids is None, or token ids: {ends!r:.80}"
        )

    def test_completions_end_where_it_says(self, backend: LLMBackend) -> None:
        ends = backend.info.end_ids
        if ends is None:
            return
        records, _ = self.run(backend, self.work(2), rows=4)
        for key, record in records.items():
            ids, how = record.trace.completion_ids, record.trace.finish_reason
            inside = ids[:-1] if how == "stop" else ids
            assert not np.isin(inside, ends).any(), (
                f"{key}: a token of info.end_ids ends a completion; it goes on after one"
            )
            assert how != "stop" or ids[-1] in ends, (
                f"{key}: a completion that stopped ends with a token of info.end_ids, not with "
                f"{ids[-1]}"
            )

    def test_the_day_is_the_prompts(self, backend: LLMBackend) -> None:
        """The day that a prompt shows is `Prompt.date`."""
        one, again = (self._posed(backend, _DAYS[0]) for _ in range(2))
        other = self._posed(backend, _DAYS[1])
        assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True)), (
            "prompts of one date have the same ids"
        )
        same = all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
        if backend.info.reads_clock:
            assert not same, (
                "info.reads_clock says that prompts show the day; it must be Prompt.date, and "
                "another date changes nothing"
            )
        else:
            assert same, "prompts change with Prompt.date, which info.reads_clock must say"

    def _posed(self, backend: LLMBackend, date: str) -> list[TokenIds]:
        spec: SessionSpec = attrs.evolve(
            self.spec(backend),
            pose=lambda work: pose(work.problem, work.sample, DEFAULT_TEMPLATES, date=date),
        )
        records, _ = self.run(backend, self.work(), rows=4, spec=spec)
        return [record.trace.prompt_ids for _, record in sorted(records.items())]

"""What a backend tells of its tokens is true; a part of `BackendContract`.

A backend need not tell its tokenizer, end-of-sequence ids or sampler: they are unknown then, and
two runs are not compared by them.
"""

from __future__ import annotations

import attrs
import numpy as np

from ..domain.prompt import pose
from ..domain.trace import TokenIds
from ..ports.backend import LLMBackend, SessionSpec
from ..settings import DEFAULT_TEMPLATES
from .backend_case import BackendCase

_DAYS = ("2001-02-03", "2033-10-09")


class TokensContract(BackendCase):
    """Stores are compared by what a backend tells, so it must be so."""

    def test_what_it_tells_of_its_tokens_is_short(self, backend: LLMBackend) -> None:
        for name in ("tokenizer", "sampler"):
            told = getattr(backend.info, name)
            assert told is None or (isinstance(told, str) and 0 < len(told) <= 64), (
                f"info.{name} is None, or a short text such as a hash: {told!r:.80}"
            )
        ends = backend.info.end_ids
        assert ends is None or all(isinstance(one, int) and one >= 0 for one in ends), (
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
        """Where a prompt shows the day, it is the one that it was posed with."""
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

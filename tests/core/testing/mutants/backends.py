"""Backends that break one promise each. Not collected: `test_mutants.py` runs this file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from toy import LETTERS, Toy

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import StepSpan
from rjepa_core.ports.backend import LLMBackend, Room, Session, SessionSpec, Step
from rjepa_core.testing.backend_suite import BackendContract


class Suite(BackendContract):
    made: type[LLMBackend] = Toy
    tolerance = 1e-5
    same_ids = 1.0

    @pytest.fixture
    def backend(self) -> LLMBackend:
        return self.made()


class TestSound(Suite):
    """No mutant: the suite must pass."""


class TestDropsAProblem(Suite):
    """The last completion of a batch of three is missing."""

    class made(Toy):
        def generate(self, prompts, sampling):
            return super().generate(prompts, sampling)[: 2 if len(prompts) == 3 else None]


class Wrapped:
    """A session of an engine, with what it brings made over."""

    def __init__(self, inner: Session) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def advance(self, room: Room) -> Step:
        step = self._inner.advance(room)
        return attrs.evolve(step, finished=tuple(self.change(step.finished)))

    def change(self, finished: Sequence[LatentRecord]) -> Sequence[LatentRecord]:
        return finished


def engine(session: type[Wrapped]) -> type[Toy]:
    class Engine(Toy):
        def open_session(self, spec: SessionSpec) -> Any:
            return session(super().open_session(spec))

    return Engine


class TestSessionDropsAProblem(Suite):
    class Session(Wrapped):
        def change(self, finished):
            return finished[:-1] if len(finished) > 1 else finished

    made = engine(Session)


class TestSessionRepeatsAProblem(Suite):
    class Session(Wrapped):
        def change(self, finished):
            return [*finished, *finished[:1]]

    made = engine(Session)


class TestSwapsTwoCompletions(Suite):
    """Whole rows: prompt and completion of another problem."""

    class made(Toy):
        def generate(self, prompts, sampling):
            return _first_two_swapped(super().generate(prompts, sampling))


class TestSwapsTwoTexts(Suite):
    """The prompts are right, the completions another row's."""

    class made(Toy):
        def generate(self, prompts, sampling):
            made = super().generate(prompts, sampling)
            swapped = _first_two_swapped(made)
            return [
                attrs.evolve(one, text=two.text, ids=two.ids, offsets=two.offsets)
                for one, two in zip(made, swapped, strict=True)
            ]


class TestSwapsTwoVectors(Suite):
    class made(Toy):
        def encode(self, traces, encoding):
            return _first_two_swapped(super().encode(traces, encoding))


class TestWrongWidth(Suite):
    class made(Toy):
        info = attrs.evolve(Toy.info, hidden_size=LETTERS + 1)


class TestNotANumber(Suite):
    """One value of one vector."""

    class made(Toy):
        def states(self, ids):
            states = super().states(ids)
            states[-1, -len(ids) // 4, 3] = np.nan
            return states


class TestEngineGivesNaN(Suite):
    """From a session of its own, which no check of the core has seen."""

    class Session(Wrapped):
        def change(self, finished):
            for record in finished:
                record.latents[0, 0, 0] = np.inf
            return finished

    made = engine(Session)


class TestSpanVectorsOneLate(Suite):
    class made(Toy):
        def pooled(self, states, start, span, how):
            return super().pooled(states, start + 1, span, how)


class TestSpanVectorsOneEarly(Suite):
    class made(Toy):
        def pooled(self, states, start, span, how):
            return super().pooled(states, start - 1, span, how)


class TestSpanVectorsOneTooLong(Suite):
    class made(Toy):
        def pooled(self, states, start, span, how):
            return super().pooled(states, start, StepSpan(span.start, span.stop + 1), how)


class TestSpanVectorsOneTooShort(Suite):
    class made(Toy):
        def pooled(self, states, start, span, how):
            shorter = StepSpan(span.start, max(1, span.stop - 1))
            return super().pooled(states, start, shorter, how)


class TestAlwaysTheFirstLayer(Suite):
    class made(Toy):
        def chosen(self, states, encoding):
            return states[[0] * len(encoding.layers)]


class TestLayersInReverse(Suite):
    class made(Toy):
        def chosen(self, states, encoding):
            return super().chosen(states, encoding)[::-1]


class TestEveryLayer(Suite):
    class made(Toy):
        def chosen(self, states, encoding):
            return states


class TestLastIsTheMean(Suite):
    class made(Toy):
        def pool(self, states, how):
            return super().pool(states, "mean" if how == "last" else how)


class TestMaxIsTheMean(Suite):
    class made(Toy):
        def pool(self, states, how):
            return super().pool(states, "mean" if how == "max" else how)


class TestPromptVectorOfTheWholePrompt(Suite):
    class made(Toy):
        def encode_one(self, trace, encoding):
            whole = attrs.evolve(trace, statement_span=(0, len(trace.prompt_ids)))
            return super().encode_one(whole, encoding)


class TestIgnoresTheLimit(Suite):
    class made(Toy):
        def complete(self, prompt, sampling):
            return super().complete(prompt, attrs.evolve(sampling, max_new_tokens=40))


class TestNeverSaysThatItWasCutOff(Suite):
    class made(Toy):
        def complete(self, prompt, sampling):
            return attrs.evolve(super().complete(prompt, sampling), finish_reason="stop")


class TestGoesOnBehindAStopText(Suite):
    """Stop texts are ignored, though `info.stops` says otherwise."""

    class made(Toy):
        def stopped(self, completion, sampling):
            return completion


class TestKeepsTheTokensBehindAStopText(Suite):
    """The text is cut off, the ids are not."""

    class made(Toy):
        def stopped(self, completion, sampling):
            text = super().stopped(completion, sampling).text
            offsets = np.minimum(completion.offsets, len(text))
            reason = "stop" if text != completion.text else completion.finish_reason
            return attrs.evolve(completion, text=text, offsets=offsets, finish_reason=reason)


class TestEndsAtAStopTextInABatchAlone(Suite):
    """A row that is alone goes on."""

    class made(Toy):
        def generate(self, prompts, sampling):
            one = len(prompts) == 1
            return super().generate(prompts, attrs.evolve(sampling, stop=()) if one else sampling)


class TestOffsetsOneLate(Suite):
    class made(Toy):
        def offsets(self, text):
            return np.minimum(super().offsets(text) + 1, len(text))


class TestOffsetsOneEarly(Suite):
    class made(Toy):
        def offsets(self, text):
            return np.maximum(super().offsets(text) - 1, 0)


class TestEngineSpansOneLate(Suite):
    """The spans of the records themselves."""

    class Session(Wrapped):
        def change(self, finished):
            return [attrs.evolve(r, trace=_later(r.trace)) for r in finished]

    made = engine(Session)


class TestStatementOneLate(Suite):
    class made(Toy):
        def statement_span(self, prompt):
            return prompt.statement_start + 1, prompt.statement_stop + 1


class TestStatementOneEarly(Suite):
    class made(Toy):
        def statement_span(self, prompt):
            return prompt.statement_start - 1, prompt.statement_stop - 1


class TestStatementOneTooLong(Suite):
    class made(Toy):
        def statement_span(self, prompt):
            return prompt.statement_start - 1, prompt.statement_stop


class TestRandomnessOfTheBatch(Suite):
    class made(Toy):
        def generate(self, prompts, sampling):
            other = attrs.evolve(sampling, seed=sampling.seed + len(prompts))
            return super().generate(prompts, other)


class TestGoesOnAfterAnEnd(Suite):
    class made(Toy):
        info = attrs.evolve(Toy.info, end_ids=(ord("x"),))


class TestStopsWithoutAnEnd(Suite):
    class made(Toy):
        info = attrs.evolve(Toy.info, end_ids=(0,))

        def complete(self, prompt, sampling):
            return attrs.evolve(super().complete(prompt, sampling), finish_reason="stop")


class TestShowsTheDayAndDoesNotSay(Suite):
    class made(Toy):
        def complete(self, prompt, sampling):
            return super().complete(of_the_day(prompt), sampling)


class TestShowsADayOfItsOwn(Suite):
    class made(Toy):
        info = attrs.evolve(Toy.info, reads_clock=True)

        def complete(self, prompt, sampling):
            return super().complete(of_the_day(attrs.evolve(prompt, date="2020-01-01")), sampling)


def of_the_day(prompt: Any) -> Any:
    return attrs.evolve(prompt, user=f"{prompt.user}\nToday is {prompt.date}.")


class TestStandsStill(Suite):
    class Session(Wrapped):
        def advance(self, room):
            return Step()

    made = engine(Session)


def _first_two_swapped(answers: list[Any]) -> list[Any]:
    return [answers[1], answers[0], *answers[2:]] if len(answers) > 1 else answers


def _later(trace: Any) -> Any:
    spans = [StepSpan(s.start + 1, s.stop + 1) for s in trace.spans[:-1]]
    last = trace.spans[-1]
    return attrs.evolve(trace, spans=(*spans, StepSpan(last.start + 1, last.stop)))

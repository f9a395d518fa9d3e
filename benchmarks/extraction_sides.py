"""The two sides of the extraction benchmarks: the original's method, and this library's."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from common import prompts
from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_adapters.huggingface.fused import prefixes as held_prompts
from rjepa_adapters.huggingface.fused import slots as slot_batch
from rjepa_adapters.huggingface.fused.session import FusedSession
from rjepa_adapters.huggingface.generate import RowSampler, draw_uniforms
from rjepa_adapters.huggingface.settings import DOUBLE_PASS, FUSED
from rjepa_adapters.huggingface.tokenizer import Rendered
from rjepa_adapters.schedulers.fixed import FixedScheduler, FixedSettings
from rjepa_core.domain.problem import Problem
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.segmentation import cut_completion
from rjepa_core.domain.trace import Work
from rjepa_core.extraction import Pending, SizeSink, extract, identity_of
from rjepa_core.plugins import open_store
from rjepa_core.ports.backend import InFlight, Observation, Room, SessionSpec
from rjepa_core.ports.executor import Progress
from rjepa_core.ports.scheduler import BatchScheduler
from rjepa_core.ports.store import RecordSink
from rjepa_core.settings import (
    DEFAULT_TEMPLATES,
    EncodingSettings,
    ExtractionSettings,
    SamplingSettings,
)

# The original's way to find steps, in the whole text: it also finds those of the prompt.
_STEP = re.compile(r"Step\s+\d+:")
LAYER = -2


@attrs.frozen
class Took:
    """What a side took.

    Attributes:
        problems: done.
        seconds: wall time; cpu: processor time of all threads.
        tokens: generated.
        encode: of the wall time, in a second pass (0 where there is none of its own).
    """

    problems: int
    seconds: float
    cpu: float
    tokens: int
    encode: float = 0.0


Lengths = Callable[[Problem], int]


def original(
    model: HuggingFaceBackend,
    some: Sequence[Problem],
    batch: int,
    sampling: SamplingSettings,
    length: Lengths | None = None,
) -> Took:
    """The original project's method, written anew from its description.

    Left-padded `generate` on fixed batches in file order; then each text alone is tokenised again
    and run through the whole model with all hidden states and all logits, cut with one regular
    expression, and averaged. The random numbers are this library's, so that both sides write the
    same answers.

    Args:
        length: after how many tokens each problem's row stops, in place of an end of sequence.
    """
    began, cpu, tokens, encode = time.perf_counter(), time.process_time(), 0, 0.0
    tokenizer, network = model.codec.tokenizer, model.model
    for start in range(0, len(some), batch):
        part = list(some[start : start + batch])
        rendered = [Rendered(*model.codec.render(prompt)) for prompt in prompts(part)]
        longest = max(len(one.ids) for one in rendered)
        output = _generate(model, part, rendered, longest, sampling, length)
        for row, problem in zip(output, part, strict=True):
            ids = row[longest:].tolist()
            ends = [i for i, token in enumerate(ids) if token in model.end_ids]
            stop = length(problem) if length else ends[0] + 1 if ends else len(ids)
            tokens += min(stop, len(ids))
        at = time.perf_counter()
        for row, one in zip(output, rendered, strict=True):
            new = tokenizer.decode(row[longest:], skip_special_tokens=True)
            _latents(network, tokenizer, one.text + new)
        encode += time.perf_counter() - at
    seconds = time.perf_counter() - began
    return Took(len(some), seconds, time.process_time() - cpu, tokens, encode)


def _generate(
    model: HuggingFaceBackend,
    part: list[Problem],
    rendered: Sequence[Rendered],
    longest: int,
    sampling: SamplingSettings,
    length: Lengths | None,
) -> torch.Tensor:
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    network = model.model
    ids_BT = torch.full((len(part), longest), model._pad_id, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    for row, one in enumerate(rendered):
        ids_BT[row, longest - len(one.ids) :] = torch.from_numpy(one.ids.astype(np.int64))
        mask_BT[row, longest - len(one.ids) :] = 1
    uniforms = draw_uniforms([prompt.key for prompt in prompts(part)], sampling)
    stops: Any = None
    if length is not None:
        wanted = torch.tensor([longest + length(p) for p in part], device=network.device)
        stops = StoppingCriteriaList([lambda ids, scores, **_: wanted <= ids.shape[1]])
    with torch.inference_mode():
        found: torch.Tensor = network.generate(
            ids_BT.to(network.device),
            attention_mask=mask_BT.to(network.device),
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=sampling.max_new_tokens,
                eos_token_id=None if length else list(model.end_ids),
                pad_token_id=model._pad_id,
            ),
            logits_processor=LogitsProcessorList(
                [RowSampler(uniforms.to(network.device), sampling, longest)]
            ),
            stopping_criteria=stops,
        )
    return found


def _latents(network: Any, tokenizer: Any, text: str) -> list[np.ndarray]:
    coded = tokenizer(
        text, return_tensors="pt", return_offsets_mapping=True, add_special_tokens=False
    )
    with torch.inference_mode():
        output = network(coded.input_ids.to(network.device), output_hidden_states=True)
    states_TD = output.hidden_states[LAYER][0]
    marks = [match.start() for match in _STEP.finditer(text)] or [0]
    offsets = coded.offset_mapping[0].tolist()
    found = []
    for start, stop in zip(marks, [*marks[1:], len(text)], strict=True):
        inside = [i for i, (a, b) in enumerate(offsets) if a < stop and b > start]
        if inside:
            found.append(states_TD[inside[0] : inside[-1] + 1].mean(0).float().cpu().numpy())
    return found


class Whole:
    """Gives no room while any row is in flight: whole batches, nothing refilled."""

    def __init__(self, inner: BatchScheduler) -> None:
        self._inner = inner

    def room(self, in_flight: InFlight) -> Room:
        room = self._inner.room(in_flight)
        return room if not in_flight.rows else attrs.evolve(room, rows=0)

    def observe(self, observation: Any) -> None:
        self._inner.observe(observation)


def ours(
    model: HuggingFaceBackend,
    some: Sequence[Problem],
    rows: int,
    sampling: SamplingSettings,
    way: str = FUSED,
    refill: bool = True,
    share: bool = True,
    store: Path | None = None,
    samples: int = 1,
    length: Lengths | None = None,
    sink: RecordSink | None = None,
    watch: Callable[[Observation], None] = lambda seen: None,
) -> Took:
    """This library: the real loop, into a real store where one is given.

    Args:
        refill: a slot is refilled as soon as its row ends.
        share: common beginnings of prompts are computed once.
        length: after how many tokens each problem's row stops, in place of an end of sequence.
        sink: takes the records, as float32, where no store is given.
        watch: shown each observation.
    """
    spec = session_spec(model, sampling, "float32" if sink else "float16")
    scheduler: BatchScheduler = FixedScheduler(FixedSettings(batch_size=rows))
    if not refill:
        scheduler = Whole(scheduler)
    encode: list[float] = []

    def see(progress: Progress) -> None:
        if progress.last is not None:
            watch(progress.last)
            if progress.last.phase == "encode":
                encode.append(progress.last.seconds)

    work = [Work(problem, sample) for problem in some for sample in range(samples)]
    sink, close = (sink, lambda: None) if sink else _sink(store, model, spec)
    with arranged(model, way), _sharing(share), stopping(model, length):
        session = model.open_session(spec)
        began, cpu = time.perf_counter(), time.process_time()
        _, progress = extract(Pending(work), session, scheduler, sink, report=see)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        session.close()
    close()
    done = progress.records + progress.failures
    return Took(done, seconds, cpu, progress.new_tokens, sum(encode))


def session_spec(
    model: HuggingFaceBackend, sampling: SamplingSettings, store_dtype: str = "float16"
) -> SessionSpec:
    """What a session is opened with, by either way."""
    layers = (LAYER % model.info.hidden_states,)
    return SessionSpec(
        sampling=sampling,
        encoding=EncodingSettings(layers=layers, store_dtype=store_dtype),
        pose=lambda work: pose(work.problem, work.sample, DEFAULT_TEMPLATES),
        cut=cut_completion,
        clock=time.perf_counter,
    )


def arranged(model: HuggingFaceBackend, way: str) -> AbstractContextManager[None]:
    """Within, sessions are opened for one pass or for two."""
    return _changed(model, "_settings", attrs.evolve(model._settings, extraction=way))


def _sink(
    place: Path | None, model: HuggingFaceBackend, spec: SessionSpec
) -> tuple[RecordSink, Callable[[], None]]:
    if place is None:
        return SizeSink(), lambda: None
    asked = ExtractionSettings(
        model=model.info.name, store=place, sampling=spec.sampling, encoding=spec.encoding
    )
    store = open_store(place, "write")
    store.begin(identity_of(asked, model.info))
    return store, store.close


@contextmanager
def _changed(thing: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(thing, name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        setattr(thing, name, before)


@contextmanager
def _sharing(share: bool) -> Iterator[None]:
    """Without sharing, every prompt is read whole."""

    def alone(held: Any, fresh: Sequence[int], new: Any) -> list[held_prompts.Borrowed]:
        return [held_prompts.Borrowed(slot) for slot in fresh]

    with _changed(slot_batch, "plan_reading", slot_batch.plan_reading if share else alone):
        yield


@contextmanager
def stopping(model: HuggingFaceBackend, length: Lengths | None) -> Iterator[None]:
    """Rows stop after a given number of tokens, and at no other place."""
    if length is None:
        yield
        return
    limit = lambda self, work: length(work.problem)  # noqa: E731
    with _changed(model, "end_ids", ()), _changed(FusedSession, "limit", limit):
        yield


__all__ = ["DOUBLE_PASS", "FUSED", "Took", "original", "ours"]

"""One pass over slots does what two passes do: same traces, same vectors, nothing lost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hf_checkpoints import backend_of, gpt2, llama, metaspace, qwen3, save
from hf_traces import problems

from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_adapters.huggingface.fused.decoder import Decoder
from rjepa_adapters.huggingface.fused.kv_cache import SlotLayer
from rjepa_adapters.huggingface.fused.session import FusedSession
from rjepa_adapters.huggingface.settings import DOUBLE_PASS
from rjepa_adapters.schedulers.adaptive import AdaptiveScheduler, AdaptiveSettings
from rjepa_adapters.schedulers.fixed import FixedScheduler, FixedSettings
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import Problem
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.segmentation import cut_completion
from rjepa_core.domain.trace import OUT_OF_MEMORY, TOO_LONG, Failure, RecordKey, Work
from rjepa_core.errors import UnsupportedError
from rjepa_core.extraction.loop import extract
from rjepa_core.extraction.queue import Pending
from rjepa_core.extraction.run import run_extraction
from rjepa_core.plugins.locate import open_store
from rjepa_core.ports.backend import Room, SessionSpec
from rjepa_core.ports.executor import Progress
from rjepa_core.settings.extraction import (
    AdapterSettings,
    EncodingSettings,
    ExtractionSettings,
    ProblemSettings,
    RunSettings,
    SamplingSettings,
)
from rjepa_core.settings.templates import DEFAULT_TEMPLATES

Records = dict[RecordKey, LatentRecord]


@attrs.define
class Kept:
    """A sink that keeps all, and notices what comes twice."""

    records: Records = attrs.field(factory=dict)
    failures: dict[RecordKey, Failure] = attrs.field(factory=dict)

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        for item in (*records, *failures):
            assert item.key not in self.records.keys() | self.failures.keys(), "came twice"
        self.records |= {record.key: record for record in records}
        self.failures |= {failure.key: failure for failure in failures}

    def commit(self) -> None:
        return None


def work_of(count: int, samples: int = 1) -> list[Work]:
    return [Work(p, s) for p in problems(count) for s in range(samples)]


def spec_of(tokens: int = 24, **encoding: Any) -> SessionSpec:
    ticks = itertools.count()
    chosen = {"layers": (2,), "store_dtype": "float32", **encoding}
    return SessionSpec(
        sampling=SamplingSettings(max_new_tokens=tokens),
        encoding=EncodingSettings(**chosen),
        pose=lambda work: pose(work.problem, work.sample, DEFAULT_TEMPLATES),
        cut=cut_completion,
        clock=lambda: float(next(ticks)),
    )


def run(
    backend: HuggingFaceBackend,
    work: Sequence[Work],
    rows: int = 4,
    scheduler: Any = None,
    spec: SessionSpec | None = None,
) -> tuple[Kept, Progress]:
    kept = Kept()
    session = backend.open_session(spec or spec_of())
    scheduler = scheduler or FixedScheduler(FixedSettings(batch_size=rows))
    _, progress = extract(Pending(work), session, scheduler, kept)
    session.close()
    return kept, progress


def worst(ours: Records, theirs: Records, same_ids: float = 1.0) -> float:
    """Largest relative error of any vector of traces that agree; nearly all have to."""
    assert ours.keys() == theirs.keys()
    same = [
        key
        for key in ours
        if np.array_equal(ours[key].trace.completion_ids, theirs[key].trace.completion_ids)
    ]
    assert len(same) >= same_ids * len(ours)
    errors = []
    for key in same:
        one, other = ours[key], theirs[key]
        assert one.trace.spans == other.trace.spans
        assert one.trace.step_texts == other.trace.step_texts
        assert one.trace.statement_span == other.trace.statement_span
        for a, b in ((one.latents, other.latents), (one.prompt_latent, other.prompt_latent)):
            a, b = a.astype(np.float32), b.astype(np.float32)
            errors.append((np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)).max())
        if other.logprobs is not None:
            assert one.logprobs is not None
            assert np.allclose(one.logprobs, other.logprobs, atol=1e-4)
    return float(max(errors))


@pytest.fixture(scope="module", params=["qwen3", "llama", "gpt2"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[HuggingFaceBackend, HuggingFaceBackend]:
    """The same checkpoint both ways: fused, and double pass."""
    make = {"qwen3": qwen3, "llama": llama, "gpt2": gpt2}[request.param]
    folder = make(tmp_path_factory.mktemp(request.param))
    return backend_of(folder), backend_of(folder, extraction=DOUBLE_PASS)


@pytest.mark.parametrize("rows", [1, 3, 20])
def test_traces_and_vectors_are_those_of_the_double_pass(
    pair: tuple[HuggingFaceBackend, HuggingFaceBackend], rows: int
) -> None:
    spec = spec_of(layers=(0, 3, 2), logprobs=True)
    ours, _ = run(pair[0], work_of(10, 2), rows, spec=spec)
    theirs, _ = run(pair[1], work_of(10, 2), 8, spec=spec)
    assert worst(ours.records, theirs.records, 0.9) < 1e-4


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
def test_every_pooling(pair: tuple[HuggingFaceBackend, HuggingFaceBackend], pooling: str) -> None:
    spec = spec_of(layers=(3, 1), pooling=pooling)
    ours, theirs = (run(one, work_of(6), spec=spec)[0] for one in pair)
    assert worst(ours.records, theirs.records, 0.8) < 1e-4


@pytest.mark.slow
@pytest.mark.smollm2
def test_a_hundred_traces_of_smollm2(smollm2: HuggingFaceBackend) -> None:
    double = backend_of("smollm2", extraction=DOUBLE_PASS)
    spec = spec_of(12, layers=(0, 29, 30), logprobs=True)
    ours, _ = run(smollm2, work_of(50, 2), 32, spec=spec)
    theirs, _ = run(double, work_of(50, 2), 32, spec=spec)
    assert worst(ours.records, theirs.records, 0.95) < 1e-4


def test_bfloat16_agrees_as_far_as_it_goes(qwen3_folder: Path) -> None:
    ours, theirs = (backend_of(qwen3_folder, extraction=way) for way in ("fused", DOUBLE_PASS))
    for one in (ours, theirs):
        one.model.to(torch.bfloat16)
    spec = spec_of(8)
    a, _ = run(ours, work_of(8), spec=spec)
    b, _ = run(theirs, work_of(8), spec=spec)
    assert worst(a.records, b.records, 0.3) < 2e-2


def test_windows_of_attention(tmp_path: Path) -> None:
    windowed = {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 1}
    folder = qwen3(tmp_path, **windowed)
    ours, theirs = (backend_of(folder, extraction=way) for way in ("fused", DOUBLE_PASS))
    assert "sliding_attention" in ours.model.config.layer_types
    a, _ = run(ours, work_of(8, 2), 5)
    b, _ = run(theirs, work_of(8, 2), 5)
    assert worst(a.records, b.records, 0.9) < 1e-4


def test_prompts_longer_than_what_is_read_at_a_time(tmp_path: Path) -> None:
    folder = qwen3(tmp_path, max_position_embeddings=4096)
    ours, theirs = (backend_of(folder, extraction=way) for way in ("fused", DOUBLE_PASS))
    work = [
        Work(Problem.make(f"{'apples and pears and ' * n} {n}?"), sample)
        for n in (200, 3, 90, 150, 1)
        for sample in range(2)
    ]
    a, _ = run(ours, work, 4)
    b, _ = run(theirs, work, 2)
    assert worst(a.records, b.records, 0.9) < 1e-4


def test_a_statement_at_the_end_of_its_prompt(tmp_path: Path) -> None:
    """Its last token is the prompt's last, which is run together with the next of every row."""
    tokenizer = metaspace()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    model = backend_of(llama(tmp_path / "plain")).model
    model.resize_token_embeddings(len(tokenizer))
    folder = save(model, tmp_path / "bare", tokenizer)
    ours, theirs = (backend_of(folder, extraction=way) for way in ("fused", DOUBLE_PASS))
    work = [Work(p, s) for p in problems(6) for s in range(2)]
    work = [w for w in work if w.problem.statement.isascii()]
    a, _ = run(ours, work, 3)
    b, _ = run(theirs, work, 3)
    [first, *_] = a.records.values()
    assert first.trace.statement_span[1] == len(first.trace.prompt_ids)
    assert worst(a.records, b.records, 0.9) < 1e-4


@attrs.define
class Forwards:
    """What each forward was asked for.

    Attributes:
        rows: rows that got a token.
        tokens: tokens run.
        fail: asked before each; true makes it run out of memory.
    """

    rows: list[int] = attrs.field(factory=list)
    tokens: list[int] = attrs.field(factory=list)
    fail: Callable[[int, int], bool] = lambda rows, tokens: False


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forwards]:
    seen, real = Forwards(), Decoder.run

    def watched(self: Decoder, cache: Any, ids: Any, layout: Any, *more: Any) -> Any:
        seen.rows.append(layout.rows)
        seen.tokens.append(len(ids))
        if seen.fail(layout.rows, len(ids)):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: tried 8 bytes")
        return real(self, cache, ids, layout, *more)

    monkeypatch.setattr(Decoder, "run", watched)
    return seen


def test_a_slot_is_refilled_as_soon_as_its_row_ends(
    small: HuggingFaceBackend, forwards: Forwards
) -> None:
    spec = spec_of(100)
    small.open_session(spec).close()  # the check at first use runs forwards of its own
    forwards.rows.clear()
    kept, _ = run(small, work_of(24), 4, spec=spec)
    decoding = [n for n in forwards.rows if n]
    lengths = [len(r.trace.completion_ids) for r in kept.records.values()]
    assert len(set(lengths)) > 1, "rows that end early are needed"
    # Rows are missing only at the end, when no problem is left to take the slot.
    short = next(i for i, n in enumerate(decoding) if n < 4)
    assert len(decoding) - short <= max(lengths) + 1
    assert all(n == 4 for n in decoding[:short])


def test_the_common_beginning_is_run_once(small: HuggingFaceBackend, forwards: Forwards) -> None:
    spec, work = spec_of(), work_of(12, 3)
    small.open_session(spec).close()
    forwards.tokens.clear()
    kept, progress = run(small, work, 5, spec=spec)
    prompts = {r.trace.problem.id: r.trace for r in kept.records.values()}
    common = min(t.statement_span[0] for t in prompts.values())
    own = sum(len(t.prompt_ids) - common for t in prompts.values())
    generated = sum(len(r.trace.completion_ids) + 1 for r in kept.records.values())
    assert progress.records == 36
    # Two samples of three copy their whole prompt, and run its last token alone.
    assert sum(forwards.tokens) <= common + own + generated + 36 + 3 * common
    whole = sum(len(r.trace.prompt_ids) for r in kept.records.values())
    assert sum(forwards.tokens) < generated + whole / 2


def test_out_of_memory_gives_rows_back_and_loses_nothing(
    small: HuggingFaceBackend, forwards: Forwards
) -> None:
    reference, _ = run(small, work_of(20, 2), 4)
    forwards.fail = lambda rows, tokens: rows > 5
    for scheduler in (
        FixedScheduler(FixedSettings(batch_size=12)),
        AdaptiveScheduler(AdaptiveSettings(batch_size=12, patience=1)),
    ):
        kept, progress = run(small, work_of(20, 2), scheduler=scheduler)
        assert progress.out_of_memory > 0
        assert not kept.failures
        assert worst(kept.records, reference.records, 0.9) < 1e-4


def test_out_of_memory_where_slots_are_made(
    small: HuggingFaceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half way through the layers, so that they are of different sizes when it strikes."""
    reference, _ = run(small, work_of(20), 4)
    real = SlotLayer.resize
    made = itertools.count()

    def cramped(layer: SlotLayer, rows: int, tokens: int, kept: int, filled: int) -> None:
        if rows > 5 and next(made) % 3 == 2:
            raise MemoryError("Unable to allocate 1 GiB")
        real(layer, rows, tokens, kept, filled)

    monkeypatch.setattr(SlotLayer, "resize", cramped)
    for scheduler in (
        FixedScheduler(FixedSettings(batch_size=12)),
        AdaptiveScheduler(AdaptiveSettings(batch_size=10, patience=1)),
    ):
        kept, progress = run(small, work_of(20), scheduler=scheduler)
        assert progress.out_of_memory > 0
        assert not kept.failures
        assert worst(kept.records, reference.records, 0.9) < 1e-4


def test_out_of_memory_now_and_then_in_the_middle_of_rows(
    small: HuggingFaceBackend, forwards: Forwards
) -> None:
    reference, _ = run(small, work_of(16), 4)
    count = itertools.count()
    forwards.fail = lambda rows, tokens: next(count) % 29 == 28
    kept, progress = run(small, work_of(16), 6)
    assert progress.out_of_memory > 2
    # A row that is alone when memory runs out cannot be made smaller: that is its failure.
    assert all(f.reason == OUT_OF_MEMORY for f in kept.failures.values())
    assert kept.records.keys() | kept.failures.keys() == reference.records.keys()
    theirs = {key: reference.records[key] for key in kept.records}
    assert worst(kept.records, theirs, 0.9) < 1e-4


def test_a_row_that_does_not_fit_alone_fails_and_the_others_do_not(
    small: HuggingFaceBackend, forwards: Forwards
) -> None:
    work = [*work_of(6), Work(Problem("long", "apples and pears " * 30))]
    spec = spec_of()
    small.open_session(spec).close()
    forwards.fail = lambda rows, tokens: tokens > 300
    kept, _ = run(small, work, 3, spec=spec)
    assert kept.failures[RecordKey("long")].reason == OUT_OF_MEMORY
    assert len(kept.records) == 6


def test_memory_goes_back_when_there_is_room_for_fewer_rows(small: HuggingFaceBackend) -> None:
    session = small.open_session(spec_of())
    pending = Pending(work_of(40))
    finished: Records = {}
    sizes = []
    while pending or session.in_flight:
        most = 12 if len(finished) < 15 else 3
        room = Room(max(0, most - session.in_flight.rows), None, 4096, 4096)
        session.admit(pending.take(room, session.cost, not session.in_flight))
        finished |= {record.key: record for record in session.advance(room).finished}
        sizes.append(session._batch._cache.layers[0].keys.shape[0])
    assert sizes[0] == 12
    assert sizes[-1] <= 4
    reference, _ = run(small, work_of(40), 4)
    assert worst(finished, reference.records, 0.9) < 1e-4


def test_rows_are_what_is_in_flight(small: HuggingFaceBackend) -> None:
    session = small.open_session(spec_of())
    work = work_of(5)
    session.admit(work)
    flight = session.in_flight
    assert flight.rows == 5
    assert flight.tokens == sum(session.cost(one) for one in work)
    step = session.advance(Room(0, None, 0, 4096))
    assert step.observation is not None
    assert step.observation.rows == 5
    assert step.observation.tokens == flight.tokens
    assert step.observation.ended == 5 - session.in_flight.rows
    session.close()
    assert not session.in_flight


def test_a_prompt_that_is_too_long_fails_alone(small: HuggingFaceBackend) -> None:
    kept, _ = run(small, [*work_of(3), Work(Problem("long", "word " * 600))])
    assert kept.failures[RecordKey("long")].reason == TOO_LONG
    assert len(kept.records) == 3


def test_a_model_that_attends_otherwise_is_refused_with_a_way_out(tmp_path: Path) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=640,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=512,
        attn_implementation="eager",
    )
    folder = save(Gemma2ForCausalLM(config), tmp_path)
    with pytest.raises(UnsupportedError, match=r"softcap.*backend.extraction=double-pass"):
        backend_of(folder, attention="eager").open_session(spec_of())
    double = backend_of(folder, attention="eager", extraction=DOUBLE_PASS)
    kept, _ = run(double, work_of(3))
    assert len(kept.records) == 3


def test_a_run_is_resumed_the_other_way_and_the_history_tells_both(
    qwen3_folder: Path, tmp_path: Path
) -> None:
    def extraction(limit: int, way: str, resume: bool) -> ExtractionSettings:
        return ExtractionSettings(
            model=str(qwen3_folder),
            store=tmp_path / "store",
            problems=ProblemSettings(sources=("demo",), limit=limit),
            sampling=SamplingSettings(max_new_tokens=12),
            backend=AdapterSettings(name="huggingface", options={"extraction": way}),
            run=RunSettings(resume=resume),
        )

    run_extraction(extraction(3, "fused", False))
    run_extraction(extraction(6, DOUBLE_PASS, True))
    with open_store(tmp_path / "store") as store:
        assert len(store) == 6
        ended = [one for one in store.history() if one["kind"] == "extract"]
    assert [one["passes"] for one in ended] == ["fused", "double-pass"]


def test_the_way_is_told_and_no_part_of_the_content(
    pair: tuple[HuggingFaceBackend, HuggingFaceBackend],
) -> None:
    fused, double = pair
    assert (fused.info.passes, double.info.passes) == ("fused", "double-pass")
    assert fused.info.content == double.info.content


def test_rows_of_like_length_stand_together(
    small: HuggingFaceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention is computed by groups, over the tokens of the longest row of each."""

    def computed(lengths: Sequence[int]) -> int:
        groups = [lengths[at : at + 4] for at in range(0, len(lengths), 4)]
        return sum(len(group) * max(group) for group in groups)

    session = small.open_session(spec_of(tokens=120))
    assert isinstance(session, FusedSession)
    monkeypatch.setattr(session._batch._decoder, "group", 4)
    lengths_of = itertools.cycle([20, 110, 60, 90, 35, 120, 75])
    monkeypatch.setattr(session, "limit", lambda work: next(lengths_of))
    pending, found, least = Pending(work_of(60)), 0, 0
    while pending or session.in_flight:
        room = Room(max(0, 12 - session.in_flight.rows), None, 0, 4096)
        session.admit(pending.take(room, session.cost, not session.in_flight))
        session.advance(room)
        lengths = [row.next for row in session._batch.rows]
        found += computed(lengths)
        least += computed(sorted(lengths, reverse=True))
    session.close()
    assert least <= found < 1.03 * least


def test_a_new_row_takes_a_free_slot_and_no_other_row_moves(
    small: HuggingFaceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU all slots are one group, so that no row has to be copied but at the run's end."""
    session = small.open_session(spec_of(tokens=60))
    assert isinstance(session, FusedSession)
    monkeypatch.setattr(session._batch._decoder, "group", 1 << 30)
    lengths_of = itertools.cycle([20, 50, 35])
    monkeypatch.setattr(session, "limit", lambda work: next(lengths_of))
    moved: list[int] = []
    move = session._batch._move
    monkeypatch.setattr(session._batch, "_move", lambda a, b: (moved.append(a), move(a, b)))
    pending, finished = Pending(work_of(30)), 0
    while pending or session.in_flight:
        room = Room(max(0, 6 - session.in_flight.rows), None, 0, 4096)
        session.admit(pending.take(room, session.cost, not session.in_flight))
        refilled = bool(pending)
        step = session.advance(room)
        finished += len(step.finished) + len(step.failed)
        if refilled:
            assert not moved
    session.close()
    assert finished == 30
    assert moved

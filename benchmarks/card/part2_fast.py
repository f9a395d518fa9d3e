"""Part 2, fast? The original's method against one pass on an architecture of 8 billion parameters,
beside the card's limits, and where a decoding step's time goes.

Both sides run as the library sets torch up on a card: attention is kept off cuDNN.
"""

from __future__ import annotations

import contextlib
import time
from functools import cache, partial
from typing import Any

import attrs
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from common import backend
from extraction_sides import FUSED, Took, arranged, original, ours, session_spec, stopping
from figures import Figures, Row
from kit import GIB, limits, main, peak, posed, settle
from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_core.domain.trace import Work
from rjepa_core.ports.backend import Observation, Room
from rjepa_core.settings import SamplingSettings

WHOLE = 21_456  # problems of the original project
PROFILE = "profile.txt"
_KERNELS = 40  # lines of it
_STEPS = 16  # of an advance of the session


@attrs.frozen
class Sizes:
    """The model; rows of one pass, in order of worth; problems for each row; batches of 8 of the
    original; most tokens."""

    model: str = "shape:qwen3-8b"
    dtype: str = "bfloat16"
    rows: tuple[int, ...] = (64, 128, 256)
    share: int = 2
    batches: int = 2
    batch: int = 8
    tokens: int = 300


CARD = Sizes()
REHEARSAL = Sizes(model="shape:tiny", rows=(8, 4), batches=1, batch=2, tokens=12)


def run(figures: Figures, device: str, sizes: Sizes) -> None:
    card = limits(figures, device)

    @cache
    def model() -> HuggingFaceBackend:
        return backend(sizes.model, device, sizes.dtype)

    def one_pass(rows: int) -> None:
        call = partial(fused, model, rows, device, card, sizes)
        figures.measure(f"one pass, {rows} rows", call)

    first, *others = sizes.rows
    one_pass(first)
    name = f"original, batch {sizes.batch}"
    figures.measure(name, lambda: theirs(model(), device, card, sizes))
    figures.measure("a decoding step", lambda: step(figures, model(), first, device, sizes))
    for rows in others:
        one_pass(rows)


def fused(model: Any, rows: int, device: str, card: Row, sizes: Sizes) -> Row:
    some, length = posed(sizes.share * rows, sizes.tokens)
    sampling = SamplingSettings(max_new_tokens=sizes.tokens)
    ours(model(), some[:rows], rows, sampling, length=lambda problem: 4)  # first use of kernels
    seen: list[Observation] = []
    peak(device)
    took = ours(model(), some, rows, sampling, length=length, watch=seen.append)
    full = [one for one in seen if one.rows >= 0.9 * rows]
    steady = sum(one.new_tokens for one in full) / max(1e-9, sum(one.seconds for one in full))
    return speed(model(), took, rows, card, device, steady)


def theirs(model: HuggingFaceBackend, device: str, card: Row, sizes: Sizes) -> Row:
    some, length = posed(sizes.batches * sizes.batch, sizes.tokens)
    sampling = SamplingSettings(max_new_tokens=sizes.tokens)
    original(model, some[: sizes.batch], sizes.batch, sampling, lambda problem: 4)
    peak(device)
    took = original(model, some, sizes.batch, sampling, length)
    found = speed(model, took, sizes.batch, card, device)
    found["text"] += f"; the second pass {took.encode / took.seconds:.0%} of the time"
    return found


def speed(
    model: HuggingFaceBackend, took: Took, rows: int, card: Row, device: str, steady: float = 0.0
) -> Row:
    """Rates beside the two limits; `steady` is that of the time in which all rows were busy: a long
    run has hardly any other."""
    whole = took.tokens / took.seconds
    rate = steady or whole
    hours = WHOLE * took.tokens / took.problems / rate / 3600
    tensors = (*model.model.parameters(), *model.model.buffers())
    weights = sum(t.numel() * t.element_size() for t in tensors)
    bandwidth = rows * card["bandwidth"] / weights
    operations = card["rate"] / (2 * multiplied(model.model.config))
    most = peak(device)
    text = (
        f"{rate:,.0f} token/s (limits: bandwidth {bandwidth:,.0f}, operations {operations:,.0f}), "
        f"{hours:.2f} h for {WHOLE:,} problems, peak {most / GIB:.1f} GiB"
    )
    return {
        **attrs.asdict(took),
        "rate": rate,
        "rate_with_the_end": whole,
        "bandwidth_limit": bandwidth,
        "operations_limit": operations,
        "hours": hours,
        "peak": most,
        "weights": weights,
        "text": text,
    }


def multiplied(config: Any) -> int:
    """Weights that every generated token is multiplied with."""
    heads = (2 * config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim
    layer = config.hidden_size * (heads + 3 * config.intermediate_size)
    return config.num_hidden_layers * layer + config.vocab_size * config.hidden_size


def step(figures: Figures, model: HuggingFaceBackend, rows: int, device: str, sizes: Sizes) -> Row:
    """A profiler's trace of some steps with all rows busy, as a table of what runs longest."""
    some, _ = posed(rows, sizes.tokens)
    tokens = max(5 * _STEPS, sizes.tokens)
    spec = session_spec(model, SamplingSettings(max_new_tokens=tokens))
    room = Room(rows=0, tokens=None, given_tokens=0, encode_tokens=0)
    activities = [ProfilerActivity.CPU]
    activities += [ProfilerActivity.CUDA] if device == "cuda" else []
    with arranged(model, FUSED), stopping(model, lambda problem: tokens):
        session = model.open_session(spec)
        session.admit([Work(problem, 0) for problem in some])

        def advance() -> float:
            """Seconds a step."""
            settle(device)
            began = time.perf_counter()
            seen = session.advance(room).observation
            settle(device)
            return (time.perf_counter() - began) * len(some) / seen.new_tokens

        advance()  # reads the prompts
        plain = advance()
        with profile(activities=activities) as trace:
            profiled = advance()
        # The library keeps attention on a card off cuDNN; this is what that is worth.
        allowed = torch.backends.cuda.cudnn_sdp_enabled()
        torch.backends.cuda.enable_cudnn_sdp(True)
        cudnn = "no step"
        with contextlib.suppress(RuntimeError):
            cudnn = f"{1000 * advance():.1f} ms"
        torch.backends.cuda.enable_cudnn_sdp(allowed)
        session.close()
    kind = DeviceType.CUDA if device == "cuda" else DeviceType.CPU
    spent = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    events = [e for e in trace.key_averages() if e.device_type == kind]
    events.sort(key=lambda event: getattr(event, spent), reverse=True)
    busy = sum(getattr(event, spent) for event in events) / 1e6 / _STEPS
    lines = [f"a step of {len(some)} rows: milliseconds, calls, kernel"]
    for event in events[:_KERNELS]:
        own = getattr(event, spent) / 1e3 / _STEPS
        lines.append(f"{own:10.3f} {event.count / _STEPS:8.1f}  {event.key[:150]}")
    (figures.folder / PROFILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    top = [f"{e.key[:40]} {getattr(e, spent) / 1e6 / _STEPS / busy:.0%}" for e in events[:3]]
    text = (
        f"{1000 * plain:.1f} ms for {len(some)} rows, {cudnn} with cuDNN's attention; under the "
        f"profiler {1000 * profiled:.1f}, its kernels {1000 * busy:.1f}, of these {', '.join(top)}"
    )
    found = {"seconds": plain, "profiled": profiled, "busy": busy, "text": text}
    return {**found, "kernels": sum(event.count for event in events) / _STEPS}


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main("part2_fast", run, CARD, REHEARSAL)

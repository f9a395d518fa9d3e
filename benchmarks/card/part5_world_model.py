"""Part 5, the world model: training at the original project's size, and the service with batching
on and off."""

from __future__ import annotations

import contextlib
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from figures import Figures, Row
from kit import limits, main
from rjepa_adapters.world_model.inference import JepaWorldModel
from rjepa_adapters.world_model.run import train
from rjepa_core import TrainSettings, open_store
from rjepa_core.config import structure
from rjepa_core.ports.world_model import TrainProgress, TrainWatch
from rjepa_core.testing.samples import sample_identity, sample_record
from serving import arithmetic, ask, check
from serving_sides import ALONE, BATCHED, BYTES, SHAPES, bodies, make_run, sequences, service

_WARM = 4  # steps of the optimiser


@attrs.frozen
class Sizes:
    """The world model's settings; its input; traces, enough for an epoch; batch sizes, in order of
    worth, and the steps of each that are timed; the service's shape, sides, callers and seconds a
    side."""

    model: dict[str, Any]
    input: int = 4096
    traces: int = 4096
    steps: dict[int, int] = attrs.field(factory=lambda: {64: 40, 256: 6})
    shape: str = "large"
    sides: tuple[str, ...] = (BATCHED, ALONE)
    clients: int = 64
    seconds: float = 4.0


CARD = Sizes(
    {
        "objective": "ema",
        "width": 1024,
        "depth": 12,
        "heads": 16,
        "predictor_width": 1024,
        "predictor_depth": 8,
        "predictor_heads": 16,
        "linear_path": False,
    }
)
REHEARSAL = Sizes(
    {"objective": "ema", "width": 16, "heads": 2, "predictor_width": 16, "linear_path": False},
    input=32,
    traces=128,
    steps={8: 4},
    shape="small",
    sides=(BATCHED,),
    clients=2,
    seconds=0.5,
)


class Enough(Exception):  # noqa: N818  no error: what was to be measured is measured
    """Ends a training run from within, before it writes gigabytes of checkpoints."""


def run(figures: Figures, device: str, sizes: Sizes) -> None:
    card = limits(figures, device)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        calls = {
            f"training, batches of {size}": partial(training, home, size, device, card, sizes)
            for size in sizes.steps
        }
        first = next(iter(calls))
        figures.measure(first, calls.pop(first))
        for side in sizes.sides:
            figures.measure(f"serving, {side}", partial(serving, home, side, device, sizes))
        for name, call in calls.items():
            figures.measure(name, call)


def training(home: Path, size: int, device: str, card: Row, sizes: Sizes) -> Row:
    """Samples a second of the product's own training run, and the operations of a sample, counted
    while it warms up."""
    seen: list[tuple[float, int]] = []
    counter = FlopCounterMode(display=False)

    def see(progress: TrainProgress) -> None:
        # The loss has been read, so that the device has done the step.
        seen.append((time.perf_counter(), progress.samples))
        if len(seen) == 1:
            counter.__enter__()
        elif len(seen) == _WARM:
            counter.__exit__(None, None, None)
            seen[-1] = (time.perf_counter(), progress.samples)
        elif len(seen) == _WARM + sizes.steps[size]:
            raise Enough

    tree = {
        "model": sizes.model,
        "training": {"batch_size": size, "precision": "bfloat16", "device": device},
        "data": {"stores": [str(traces(home, sizes))]},
    }
    settings = structure(TrainSettings, tree)
    with contextlib.suppress(Enough):
        train(tempfile.mkdtemp(dir=home), settings, TrainWatch(report=see))
    timed = seen[_WARM - 1 :]
    seconds, samples = (last - first for first, last in zip(timed[0], timed[-1], strict=True))
    operations = counter.get_total_flops() / (seen[_WARM - 1][1] - seen[0][1])
    rate = samples / seconds
    share = rate * operations / card["rate"] if card["rate"] else 0.0
    text = (
        f"{rate:,.0f} samples/s in bfloat16, {share:.1%} of the rate of a large product "
        f"({operations:.2e} operations a sample, {1000 * seconds / (len(timed) - 1):.1f} ms a step)"
    )
    return {"samples": rate, "operations": operations, "share": share, "text": text}


def traces(home: Path, sizes: Sizes) -> Path:
    """A store of noise, wide as the LLM, of 6 to 9 steps a trace."""
    place = home / "traces"
    if not place.exists():
        identity = sample_identity(width=sizes.input)
        with open_store(str(place), "write") as store:
            store.begin(identity)
            for number in range(0, sizes.traces, 64):
                names = range(number, number + 64)
                store.write([sample_record(identity, f"p-{i}", steps=6 + i % 4) for i in names])
    return place


def serving(home: Path, side: str, device: str, sizes: Sizes) -> Row:
    """Requests a second of callers over loopback, every answer compared with the model's own."""
    shape = SHAPES[sizes.shape]
    given = sequences(shape)
    world_model = str(home / "run") if (home / "run").exists() else make_run(home, shape)
    model = JepaWorldModel(world_model, device)
    wanted = [model.surprise([one], shape.context)[0] for one in given]
    made = bodies(given, model.info.space.fingerprint, shape, BYTES)
    kept = home / "bodies.npz"
    np.savez(kept, **{f"body_{i}": np.frombuffer(one, np.uint8) for i, one in enumerate(made)})
    with service(world_model, device, side) as address:
        ask(address, kept, BYTES, sizes.clients, 0.5)
        found = ask(address, kept, BYTES, sizes.clients, sizes.seconds)
    far = check(found.pop("answers"), BYTES, wanted)
    alone, together = arithmetic(model, given, shape.context, sizes.seconds / 4)
    text = (
        f"{found['rate']:,.0f} requests/s, p50 {1000 * found['p50']:.0f} ms, p99 "
        f"{1000 * found['p99']:.0f} ms; without a service {alone:,.0f}/s one by one, "
        f"{together:,.0f}/s in batches of 64; answers at most {far:.0e} from the model's own"
    )
    return {**found, "alone": alone, "together": together, "text": text}


if __name__ == "__main__":
    main("part5_world_model", run, CARD, REHEARSAL)

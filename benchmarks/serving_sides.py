"""What the benchmarks of the service share: shapes, world models, bodies, services."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from rjepa_adapters.remote import protocol as wire
from rjepa_adapters.world_model.run import train
from rjepa_core.config import structure
from rjepa_core.plugins import open_store
from rjepa_core.ports.world_model import Context, LatentSequence
from rjepa_core.settings import TrainSettings
from rjepa_core.testing.samples import sample_identity, sample_record

# Different bodies; each caller draws from all of them.
BODIES = 128
BATCHED, ALONE, BYTES, JSON = "batched", "alone", "bytes", "JSON"


@attrs.frozen
class Shape:
    """What is asked for.

    Attributes:
        width: D.
        steps: fewest and most of a request.
        context: of the scores.
        model: settings of the world model.
        text: for the report.
    """

    width: int
    steps: tuple[int, int]
    context: Context
    model: dict[str, Any]
    text: str


DEFAULT = Shape(576, (1, 9), Context.OTHERS, {}, "the default model on SmolLM2's width")
SHAPES = {
    "small": Shape(
        4096,
        (2, 8),
        Context.PAST,
        {"width": 256, "depth": 3, "linear_path": False},
        "latents 4,096 wide, 2 to 8 steps, 3 blocks × 256, each step scored from its past",
    ),
    "large": Shape(
        1024,
        (2, 20),
        Context.OTHERS,
        {
            "width": 512,
            "depth": 6,
            "heads": 8,
            "predictor_width": 384,
            "predictor_depth": 3,
            "predictor_heads": 6,
            "linear_path": False,
        },
        "latents 1,024 wide, 2 to 20 steps, 6 blocks × 512 and a predictor of 3 × 384, "
        "leave-one-out",
    ),
}


def make_run(home: Path, shape: Shape) -> str:
    """A world model of that shape, trained for an epoch on noise: enough to be timed."""
    identity = sample_identity(width=shape.width)
    with open_store(str(home / "store"), "write") as store:
        store.begin(identity)
        store.write([sample_record(identity, f"p-{i}", steps=2 + i % 3) for i in range(60)])
    tree = {
        "model": shape.model,
        "training": {"max_epochs": 1, "batch_size": 16, "device": "cpu"},
        "data": {"stores": [str(home / "store")]},
    }
    train(str(home / "run"), structure(TrainSettings, tree))
    return str(home / "run")


def sequences(shape: Shape) -> list[LatentSequence]:
    """As many of each length; values as a store in float16 would hold them."""
    source = np.random.default_rng(0)
    few, most = shape.steps
    found = []
    for number in range(BODIES):
        steps = few + number % (most - few + 1)
        latents = source.standard_normal((steps, shape.width)).astype(np.float16)
        prompt = source.standard_normal(shape.width).astype(np.float16)
        found.append(LatentSequence(latents.astype(np.float32), prompt.astype(np.float32), "math"))
    return found


def bodies(given: Sequence[LatentSequence], space: str, shape: Shape, body: str) -> list[bytes]:
    """What callers send."""
    context = shape.context.value
    if body == BYTES:
        return [wire.pack([one], space=space, context=context) for one in given]
    return [
        json.dumps(
            {
                "space": space,
                "context": context,
                "latents": one.latents.tolist(),
                "prompt": one.prompt.tolist(),
                "domain": one.domain,
            }
        ).encode()
        for one in given
    ]


@contextmanager
def service(run: str, device: str, batching: str) -> Iterator[str]:
    """The address of a service in a process of its own."""
    # Each request alone: whatever costs more than a batch may hold is run by itself.
    alone = ["--set", "service.batch_tokens=1", "--set", "service.batch_wait_ms=0"]
    words = [sys.executable, "-m", "rjepa_cli", "serve", "--world-model", run, "--port", "0"]
    words += ["--device", device, *(alone if batching == ALONE else [])]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "serving http" in line)
        yield line.split()[-1]
    finally:
        process.terminate()
        if process.wait(60) != 0:
            sys.exit("a service did not end well")

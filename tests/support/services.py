"""A service on a real socket in a thread of this process, and what it serves."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx2
from evaluation_stores import encode_solutions, make_store, solution, statement

from rjepa_adapters.service.app import make_app
from rjepa_adapters.service.server import address_of, listen, server_of
from rjepa_adapters.service.settings import HttpSettings
from rjepa_adapters.world_model.run import train
from rjepa_core.config import structure
from rjepa_core.domain.provenance import CLEAN, KIND, WRONG_STEP
from rjepa_core.plugins.locate import open_store
from rjepa_core.ports.world_model import TrainWatch
from rjepa_core.scoring.serving import Served, ServeRunSettings, ServeSettings, open_served
from rjepa_core.settings.extraction import AdapterSettings, ModelSettings
from rjepa_core.settings.training import TrainSettings

SMALL = {"width": 16, "heads": 2, "depth": 1, "predictor_width": 16, "predictor_heads": 2}


def make_trained(home: Path, objective: str = "frozen", count: int = 60) -> tuple[str, str]:
    """A store of given solutions from the seeded backend, and a world model trained on it."""
    store = make_store(home, count=count)
    run = str(home / f"run-{objective}")
    training = {"max_epochs": 2, "batch_size": 8, "device": "cpu"}
    tree = {
        "model": {**SMALL, "objective": objective},
        "training": training,
        "data": {"stores": [store]},
    }
    train(run, structure(TrainSettings, tree), TrainWatch())
    return store, run


def make_verifier(home: Path, count: int = 60) -> tuple[str, str]:
    """A store of two solutions of each problem, the second of them with a wrong step, and a
    verifier that knows the wrong step by its latent."""
    rows = [
        {
            "id": f"q{i}",
            "question": statement(i),
            "answer": str(i + 2),
            "solutions": [solution(i + 2), solution(i + 2, slips=1)],
        }
        for i in range(count)
    ]
    (home / "v.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = encode_solutions(home / "v.jsonl", home / "v")
    with open_store(store, "write") as target:
        for key in list(target.keys()):
            record = target.get(key)
            metadata, latents = {KIND: CLEAN}, record.latents.copy()
            latents[0, :, 0] *= 0.1
            if key.sample:
                wrong = len(key.problem_id) % latents.shape[1]
                metadata = {KIND: "result", WRONG_STEP: str(wrong)}
                latents[0, wrong, 0] += 4.0
            trace = attrs.evolve(record.trace, metadata=metadata)
            target.write([attrs.evolve(record, trace=trace, latents=latents)])
    run = str(home / "verifier")
    tree = {
        "model": {"width": 16, "heads": 2, "depth": 1, "objective": "verifier"},
        "training": {"max_epochs": 3, "batch_size": 8, "lr": 1e-2, "device": "cpu", "patience": 0},
        "data": {"stores": [store]},
    }
    train(run, structure(TrainSettings, tree))
    return store, run


@contextmanager
def opened(run: str, store: str | None = None, model: str | None = None) -> Iterator[Served]:
    """What a service serves, on the CPU."""
    settings = ServeRunSettings(
        serve=ServeSettings(world_model=run, store=store, device="cpu"),
        model=None if model is None else ModelSettings(name=model),
        backend=AdapterSettings(name="seeded"),
    )
    with open_served(settings) as served:
        yield served


@contextmanager
def running(served: Served, token: str | None = None, **limits: Any) -> Iterator[str]:
    """The address of a service that answers until the block ends."""
    settings = HttpSettings(port=0, **limits)
    listening = listen(settings)
    server = server_of(make_app(served, settings, token), settings, lambda: None)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        until = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the service ended before it began"
            assert time.monotonic() < until, "the service does not begin"
            time.sleep(0.01)
        yield address_of(listening)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the service does not end"


def client(address: str, **options: Any) -> httpx2.Client:
    """A plain client of a service."""
    return httpx2.Client(base_url=address, timeout=30.0, **options)


def problem(answer: httpx2.Response, status: int, kind: str) -> dict[str, object]:
    """The problem details of an answer, checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    facts: dict[str, object] = answer.json()
    assert facts["type"] == f"/problems#{kind}"
    assert facts["status"] == status
    assert facts["title"]
    assert facts["detail"]
    return facts

"""Part 1, right? Small Qwen3 and Llama models: the same ids and vectors by every way, and a run
that is killed and resumed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from hf_checkpoints import llama, qwen3

from common import backend
from extraction_sides import DOUBLE_PASS, FUSED, LAYER, ours, session_spec
from figures import Figures, Row
from kit import apart, main, posed
from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_core import LatentRecord, RJepaError, open_store, run_extraction
from rjepa_core.domain.problem import Problem
from rjepa_core.domain.trace import Failure, RecordKey
from rjepa_core.settings import (
    AdapterSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    RunSettings,
    SamplingSettings,
)

# How far vectors may be from transformers' own, and from those of a second pass.
CLOSE = {"float32": 1e-3, "bfloat16": 0.1}
MODELS = {"Qwen3": qwen3, "Llama": llama}
Records = Mapping[RecordKey, LatentRecord]


@attrs.frozen
class Sizes:
    """Rows side by side, few and many; problems, tokens of an answer, dtypes."""

    rows: tuple[int, int] = (4, 32)
    problems: int = 48
    tokens: int = 48
    dtypes: tuple[str, ...] = ("float32", "bfloat16")


CARD, REHEARSAL = Sizes(), Sizes(rows=(2, 8), problems=8, tokens=12)


class Kept:
    """A sink that keeps records in memory."""

    def __init__(self) -> None:
        self.records: dict[RecordKey, LatentRecord] = {}

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        if failures:
            raise AssertionError(f"failed: {failures[0]}")
        self.records.update((record.trace.key, record) for record in records)

    def commit(self) -> None:
        """Nothing to do."""


def run(figures: Figures, device: str, sizes: Sizes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        places = {name: make(home / name.lower()) for name, make in MODELS.items()}
        for name, place in places.items():
            for dtype in sizes.dtypes:
                call = partial(ways, place, device, dtype, sizes)
                figures.measure(f"{name} in {dtype}", call)
        figures.measure("killed and resumed", partial(killed, home, places["Qwen3"], device, sizes))


def ways(place: Path, device: str, dtype: str, sizes: Sizes) -> Row:
    """The same problems one pass at a time, in two passes, and by transformers' own forward."""
    model = backend(str(place), device, dtype)
    some, _ = posed(sizes.problems, sizes.tokens)
    few, many = (extracted(model, some, rows, sizes) for rows in sizes.rows)
    twice = extracted(model, some, sizes.rows[1], sizes, DOUBLE_PASS)
    found = {
        "same_ids": same_ids(few, many),
        "same_ids_twice": same_ids(twice, many),
        "second_pass": second_pass(model, list(many.values()), sizes),
        "own_forward": own_forward(model, many.values()),
    }
    model.close()
    wrong = [name for name in ("second_pass", "own_forward") if not found[name] < CLOSE[dtype]]
    if dtype == "float32":
        wrong += [name for name in ("same_ids", "same_ids_twice") if found[name] < 1]
    text = (
        f"the same ids at {sizes.rows[0]} and {sizes.rows[1]} rows {found['same_ids']:.0%}, in two "
        f"passes {found['same_ids_twice']:.0%}; vectors at most {found['second_pass']:.1e} from a "
        f"second pass, {found['own_forward']:.1e} from transformers' own forward"
    )
    if wrong:
        raise AssertionError(f"{', '.join(wrong)} out of bounds: {text}")
    return {**found, "traces": len(many), "text": text}


def extracted(
    model: HuggingFaceBackend, some: list[Problem], rows: int, sizes: Sizes, way: str = FUSED
) -> Records:
    sink = Kept()
    ours(model, some, rows, SamplingSettings(max_new_tokens=sizes.tokens), way, sink=sink)
    if len(sink.records) != len(some):
        raise AssertionError(f"{len(sink.records)} records of {len(some)} problems")
    return sink.records


def same_ids(a: Records, b: Records) -> float:
    """Share of the traces whose tokens are equal."""
    equal = [np.array_equal(a[k].trace.completion_ids, b[k].trace.completion_ids) for k in b]
    return sum(equal) / len(b)


def second_pass(model: HuggingFaceBackend, records: list[LatentRecord], sizes: Sizes) -> float:
    """How far the vectors are from those that encoding the finished traces gives."""
    sampling = SamplingSettings(max_new_tokens=sizes.tokens)
    encoding = session_spec(model, sampling, "float32").encoding
    found: Any = model.encode([record.trace for record in records], encoding)
    pairs = zip(records, found, strict=True)
    return max(apart(tensor(own.latents), tensor(other.latents)) for own, other in pairs)


def own_forward(model: HuggingFaceBackend, records: Iterable[LatentRecord]) -> float:
    """How far the vectors are from `output_hidden_states=True`, one trace at a time."""
    worst = 0.0
    for record in records:
        trace, prompt = record.trace, len(record.trace.prompt_ids)
        ids = [*trace.prompt_ids.tolist(), *trace.completion_ids.tolist()]
        with torch.inference_mode():
            given = torch.tensor([ids], device=model.model.device)
            states = model.model(given, output_hidden_states=True).hidden_states[LAYER][0]
        own = [states[prompt + s.start : prompt + s.stop].float().mean(0) for s in trace.spans]
        worst = max(worst, apart(tensor(record.latents[0]), torch.stack(own)))
    return worst


def tensor(values: Any) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


def killed(home: Path, place: Path, device: str, sizes: Sizes) -> Row:
    """A run of the command line killed midway, resumed and verified; its ids are those of an
    undisturbed one."""
    some, _ = posed(sizes.problems, sizes.tokens)
    store, problems = home / "store", home / "problems.jsonl"
    lines = [{"id": one.id, "problem": one.statement, "domain": one.domain} for one in some]
    problems.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    command = ["extract", "--problems", problems, "--model", place, "--store", store]
    command += ["--device", device, "--dtype", "float32", "--max-new-tokens", sizes.tokens]
    command += ["--scheduler", "fixed", "--batch-size", sizes.rows[0], "--checkpoint-every", 1]
    process = cli(*command)
    while count(store) < 2 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        raise AssertionError(f"the run ended before it was killed, with {process.returncode}")
    after = count(store)
    settings = ExtractionSettings(
        model=ModelSettings(name=str(place), device=device, dtype="float32"),
        problems=ProblemSettings(sources=(str(problems),)),
        sampling=SamplingSettings(max_new_tokens=sizes.tokens),
        scheduler=AdapterSettings(name="fixed", options={"batch_size": sizes.rows[1]}),
        run=RunSettings(resume=True),
        store=store,
    )
    run_extraction(settings)
    verified = cli("store", "verify", store).wait()
    whole = extracted(backend(str(place), device, "float32"), some, sizes.rows[1], sizes)
    with open_store(str(store)) as opened:
        records = {key: opened.get(key) for key in opened.keys()}  # noqa: SIM118  not a mapping
    text = (
        f"killed with {after} of {len(some)} stored, {len(records)} after resuming, `verify` exits "
        f"{verified}, the ids are those of an undisturbed run"
    )
    if verified or records.keys() != whole.keys() or same_ids(records, whole) < 1:
        raise AssertionError(f"not so: {text}")
    return {"after": after, "records": len(records), "text": text}


def cli(*words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "rjepa_cli", *map(str, words)], stdout=subprocess.DEVNULL
    )


def count(store: Path) -> int:
    if not store.exists():
        return 0
    try:
        with open_store(str(store)) as opened:
            return len(opened)
    except RJepaError:
        return 0


if __name__ == "__main__":
    main("part1_right", run, CARD, REHEARSAL)

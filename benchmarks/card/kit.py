"""What the parts of the run share: how they start, their problems, and the card's two limits."""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch

from common import problems
from figures import Figures, Row
from rjepa_core.domain.problem import Problem

MEAN = 205  # tokens of an answer, as measured with SmolLM2
GIB = 1 << 30
S = TypeVar("S")


def main(part: str, run: Callable[[Figures, str, S], None], card: S, rehearsal: S) -> None:
    """Run a part with the sizes of a card, or of the rehearsal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rehearse", action="store_true")
    args = parser.parse_args()
    if not args.rehearse and not torch.cuda.is_available():
        sys.exit("there is no card; --rehearse runs every part on a CPU")
    device = "cpu" if args.rehearse else "cuda"
    general, here = Figures(args.out), machine(device)
    before = general.find("machine")
    if before is None:
        general.keep("machine", **here)
    elif before["device"] != here["device"]:
        sys.exit(f"{args.out} holds figures of {before['device']}; name another folder for this")
    run(Figures(args.out, part), device, rehearsal if args.rehearse else card)
    sys.stdout.flush()
    os._exit(0)  # all is written, and to take torch apart is a second more


def machine(device: str) -> Row:
    """What it ran on."""
    found = {name: version(name) for name in ("torch", "transformers", "triton")}
    facts: Row = {"device": "cpu (a rehearsal)", "python": platform.python_version(), **found}
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        facts["device"] = card.name
        facts["memory"] = card.total_memory
        facts["capability"] = f"{card.major}.{card.minor}"
        facts["cuda"] = torch.version.cuda
    memory = f", {facts['memory'] / GIB:.0f} GiB" if "memory" in facts else ""
    text = f"{facts['device']}{memory}, torch {found['torch']}"
    return {**facts, "cores": os.cpu_count(), "text": text}


def posed(count: int, most: int) -> tuple[list[Problem], Callable[[Problem], int]]:
    """So many problems, or as many as there are, and the tokens of each one's answer, at most
    `most`: from what was packed, else the demo's with lengths that are made up."""
    packed = os.environ.get("RJEPA_CARD_PROBLEMS")
    if packed is None:
        own = problems(min(count, 24), "demo")
        return own, lambda problem: min(most, 4 + len(problem.statement) % 9)
    rows = [json.loads(line) for line in Path(packed).read_text(encoding="utf-8").splitlines()]
    words = {row["id"]: row["words"] for row in rows}
    factor = MEAN / statistics.mean(words.values())
    own = problems(min(count, len(rows)), packed)
    return own, lambda problem: max(8, min(most, round(factor * words[problem.id])))


def settle(device: str) -> None:
    """Wait until the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def release(device: str) -> None:
    """Give back to the device what nothing holds any more."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def seconds_of(call: Callable[[], Any], device: str, times: int = 10) -> float:
    """The median time of a call, by the device's own clock where it has one."""
    for _ in range(3):
        call()
    found = []
    for _ in range(times):
        if device == "cuda":
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            began.record()
            call()
            ended.record()
            torch.cuda.synchronize()
            found.append(began.elapsed_time(ended) / 1000)
        else:
            at = time.perf_counter()
            call()
            found.append(time.perf_counter() - at)
    return statistics.median(found)


def limits(figures: Figures, device: str) -> Row:
    """Bytes a second of a large copy, read and written, and operations a second of a product in
    bfloat16; measured once for all parts."""
    general = Figures(figures.folder)
    return general.measure("limits", partial(_limits, device)) or {"bandwidth": 0.0, "rate": 0.0}


def _limits(device: str) -> Row:
    size, side = (1 << 31, 8192) if device == "cuda" else (1 << 22, 128)
    big: Any = torch.empty(size, dtype=torch.uint8, device=device).random_(0, 256)
    other: Any = torch.empty_like(big)
    bandwidth = 2 * size / seconds_of(partial(other.copy_, big), device)
    del big, other
    release(device)
    a, b = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    rate = 2 * side**3 / seconds_of(partial(torch.matmul, a, b), device)
    text = f"{bandwidth / 1e9:,.0f} GB/s copied, {rate / 1e12:,.3g} T operations/s in bfloat16"
    return {"bandwidth": bandwidth, "rate": rate, "text": text}


def peak(device: str) -> int:
    """Most bytes that tensors held since the last call; 0 on a CPU."""
    if device != "cuda":
        return 0
    found = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return found


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """‖a − b‖ / ‖b‖ of the row that is furthest off."""
    ours, theirs = ours.float().cpu(), theirs.float().cpu()
    return float(((ours - theirs).norm(dim=-1) / theirs.norm(dim=-1)).max())

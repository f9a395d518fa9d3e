"""Seconds a problem from problems to stored step latents: the original's method against ours.

    python benchmarks/extraction_throughput.py [--minutes 9]

Both sides in one process, in turn, on the same problems with the same model, sampling, dtype and
threads; a problem's random numbers are the same on both sides, and so are its answers. What has
been measured is kept in `--state`; with `--minutes` the script stops in time and goes on where it
stopped when it is run again, and it writes its section once every part is there. The original's
side runs a fixed part of the problems in each round, ours all of them, into a store.

`--ladder` measures what each measure contributed, on fewer problems.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from common import backend, problems
from extraction_sides import DOUBLE_PASS, LAYER, Took, original, ours
from reporting import table, write_section
from resumable import Part, run_parts
from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_adapters.probes.host import forget_peak, peak_bytes
from rjepa_core.domain.latents import Encoding, LatentRecord
from rjepa_core.domain.problem import Problem
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.segmentation import cut_completion
from rjepa_core.domain.trace import Work
from rjepa_core.extraction import Pending
from rjepa_core.ports.backend import Room, SessionSpec
from rjepa_core.settings import DEFAULT_TEMPLATES, EncodingSettings, SamplingSettings

MIB = 2**20
BARS = {8: (4.0, 5.0), 16: (2.7, 3.3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--problems", type=int, default=256)
    parser.add_argument("--share", type=int, default=48, help="of them, for the original's side")
    parser.add_argument("--ladder-problems", type=int, default=48)
    parser.add_argument("--rows", type=int, default=64, help="of our side")
    parser.add_argument("--ladder-rows", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-new-tokens", type=int, default=300)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--state", type=Path, default=Path("runs/extraction_throughput.json"))
    parser.add_argument("--minutes", type=float, default=0.0, help="stop in time; 0 for no limit")
    parser.add_argument("--no-ladder", action="store_true")
    parser.add_argument("--no-report", action="store_true")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = backend(args.model, "cpu", "float32")
    some = problems(args.problems)
    sampling = SamplingSettings(max_new_tokens=args.max_new_tokens)
    if args.memory_of:
        print(memory_of(model, some, args.memory_of, sampling))
        return
    about = {
        key: value
        for key, value in vars(args).items()
        if key not in ("state", "minutes", "no_report", "memory_of")
    }
    found = run_parts(args.state, args.minutes, list(parts(args, model, some, sampling)), about)
    if found is not None:
        report(args, model, found)


def parts(
    args: argparse.Namespace,
    model: HuggingFaceBackend,
    some: list[Problem],
    sampling: SamplingSettings,
) -> Sequence[Part]:
    """Every measurement, interleaved."""
    few = evenly(some, args.share)
    sides: dict[str, Callable[[], Took]] = {
        "original 8": partial(original, model, few, 8, sampling),
        "ours": partial(stored, model, some, args.rows, sampling),
        "original 16": partial(original, model, few, 16, sampling),
    }
    steps = {} if args.no_ladder else ladder(args, model, some, sampling)
    found: list[Part] = [("warm-up", lambda: warm_up(model, some))]
    for number in range(args.rounds):
        order = list(sides.items()) if number % 2 == 0 else list(sides.items())[::-1]
        found += [(f"{name}@{number}", partial(as_facts, side)) for name, side in order]
    for number in range(args.rounds):
        order = list(steps.items()) if number % 2 == 0 else list(steps.items())[::-1]
        found += [(f"ladder {name}@{number}", partial(as_facts, side)) for name, side in order]
    found.append(("agreement", lambda: agreement(model, some[:100], sampling)))
    for side in ("original", "fused"):
        for rows in (8, 16):
            found.append((f"memory {side} {rows}", partial(memory, args, side, rows)))
    return found


def evenly(some: list[Problem], count: int) -> list[Problem]:
    """So many of them from all over the list."""
    return some[:: max(1, len(some) // count)][:count]


def as_facts(side: Callable[[], Took]) -> dict[str, Any]:
    return attrs.asdict(side())


def warm_up(model: HuggingFaceBackend, some: list[Problem]) -> dict[str, Any]:
    """First use costs what no later one does."""
    few = SamplingSettings(max_new_tokens=4)
    original(model, some[:8], 8, few)
    ours(model, some[:8], 8, few)
    return {}


def stored(
    model: HuggingFaceBackend, some: list[Problem], rows: int, sampling: SamplingSettings
) -> Took:
    with tempfile.TemporaryDirectory() as folder:
        return ours(model, some, rows, sampling, store=Path(folder) / "store")


STEPS = {
    "original 8": "the original's method, batches of 8",
    "original 16": "batches of 16",
    "second pass": "second pass in batches, up to the wanted layer, without logits "
    "(`double-pass`, 16 rows)",
    "rows": "{rows} rows, problems of like length together (`double-pass`)",
    "one pass": "one pass, cache written in place, finished rows leave (whole batches of {rows})",
    "refill": "the next problem takes the slot at once",
    "prefix": "the common beginning computed once (`fused`)",
}


def ladder(
    args: argparse.Namespace,
    model: HuggingFaceBackend,
    some: list[Problem],
    sampling: SamplingSettings,
) -> dict[str, Callable[[], Took]]:
    """Each measure on top of those before it."""
    few, rows = evenly(some, args.ladder_problems), args.ladder_rows
    own = partial(ours, model, few, sampling=sampling)
    return {
        "second pass": partial(own, 16, way=DOUBLE_PASS),
        "rows": partial(own, rows, way=DOUBLE_PASS),
        "one pass": partial(own, rows, refill=False, share=False),
        "refill": partial(own, rows, share=False),
        "prefix": partial(own, rows),
    }


def agreement(
    model: HuggingFaceBackend, some: list[Problem], sampling: SamplingSettings
) -> dict[str, Any]:
    """Fused vectors against those of the second pass over the same traces."""
    layers = tuple(layer % model.info.hidden_states for layer in (0, LAYER, -1))
    encoding = EncodingSettings(layers=layers, store_dtype="float32")
    spec = SessionSpec(
        sampling=sampling,
        encoding=encoding,
        pose=lambda work: pose(work.problem, work.sample, DEFAULT_TEMPLATES),
        cut=cut_completion,
        clock=lambda: 0.0,
    )
    session, pending = model.open_session(spec), Pending([Work(p) for p in some])
    records: list[LatentRecord] = []
    while pending or session.in_flight:
        room = Room(max(0, 32 - session.in_flight.rows), None, 0, 4096)
        session.admit(pending.take(room, session.cost, not session.in_flight))
        records += session.advance(room).finished
    session.close()
    worst, vectors = [0.0] * len(layers), 0
    for begin in range(0, len(records), 8):
        part = records[begin : begin + 8]
        for record, wanted in zip(
            part, model.encode([r.trace for r in part], encoding), strict=True
        ):
            assert isinstance(wanted, Encoding)
            vectors += len(record.trace.spans) + 1
            for i in range(len(layers)):
                a = np.concatenate([record.latents[i], record.prompt_latent[i : i + 1]])
                b = np.concatenate([wanted.latents[i], wanted.prompt_latent[i : i + 1]])
                error = np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)
                worst[i] = max(worst[i], float(error.max()))
    return {"traces": len(records), "vectors": vectors, "layers": layers, "worst": worst}


def memory(args: argparse.Namespace, side: str, rows: int) -> dict[str, Any]:
    """The peak of a side in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", f"{side} {rows}", "--model", args.model]
    command += ["--problems", str(2 * rows), "--max-new-tokens", str(args.max_new_tokens)]
    command += ["--threads", str(args.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"bytes": int(done.stdout.split()[-1])}


def memory_of(
    model: HuggingFaceBackend, some: list[Problem], what: str, sampling: SamplingSettings
) -> int:
    """Peak resident set while a side runs, the model's weights included."""
    side, rows = what.split()
    forget_peak()
    if side == "original":
        original(model, some, int(rows), sampling)
    else:
        ours(model, some, int(rows), sampling)
    peak = peak_bytes()
    if peak is None:
        sys.exit("this kernel does not tell the peak of a process (/proc/self/clear_refs)")
    return peak


def report(args: argparse.Namespace, model: HuggingFaceBackend, found: dict[str, Any]) -> None:
    def each(name: str, key: str = "seconds") -> list[float]:
        rounds = [found[f"{name}@{n}"] for n in range(args.rounds)]
        return [one[key] / one["problems"] for one in rounds]

    mine = each("ours")
    rows = []
    for name in ("original 8", "original 16", "ours"):
        times = each(name)
        label = f"ours, {args.rows} rows" if name == "ours" else name.replace(" ", ", batch ")
        ratios = [t / m for t, m in zip(times, mine, strict=True)]
        rows.append(
            [
                label,
                spread(times, "{:.2f}"),
                "" if name == "ours" else f"**{spread(ratios, '{:.2f}')}**",
                spread(each(name, "cpu"), "{:.2f}"),
                f"{statistics.median(each(name, 'tokens')):.0f}",
            ]
        )
    asked = found["ours@0"]["problems"]
    text = (
        f"Seconds a problem, wall time, model {model.info.name} ({model.info.compute_dtype}), "
        f"{asked} GSM8K problems (the original's side a fixed {args.share} of them each round), at "
        f"most {args.max_new_tokens} new tokens, {args.threads} threads; {args.rounds} rounds, in "
        "turn. Median (smallest to largest); ratios are those of the same round. Our side is the "
        "real loop with `--extraction fused`, and its store is written.\n\n"
        + table(["side", "s/problem", "times ours", "processor s/problem", "tokens"], rows)
        + "\n\n"
        + bars(args, each)
    )
    if not args.no_ladder:
        text += "\n\n" + contributions(args, found, each)
    text += "\n\n" + rest(found)
    if args.no_report:
        print(text)
    else:
        command = "python benchmarks/extraction_throughput.py"
        write_section("extraction throughput", "From problems to step latents", text, command)


def bars(args: argparse.Namespace, each: Callable[..., list[float]]) -> str:
    lines = []
    for batch, (least, aim) in BARS.items():
        ratios = [a / b for a, b in zip(each(f"original {batch}"), each("ours"), strict=True)]
        middle = statistics.median(ratios)
        held = "held" if middle >= least else "**missed**"
        theirs, own = (
            statistics.median(each(side, "tokens")) for side in (f"original {batch}", "ours")
        )
        lines.append(
            f"Against batch {batch}: {middle:.2f} times; the bar of {least} is {held}, the aim of "
            f"{aim} {'reached' if middle >= aim else 'not reached'}. A token of an answer costs "
            f"{middle * own / theirs:.2f} times less: the problems of the original's side have "
            f"answers of {theirs:.0f} tokens, all of them of {own:.0f}."
        )
    return "\n".join(lines)


def contributions(
    args: argparse.Namespace, found: dict[str, Any], each: Callable[..., list[float]]
) -> str:
    """A table of the measures, each on top of those before."""
    names = ["original 8", "original 16", *(f"ladder {n}" for n in list(STEPS)[2:])]
    rows, before = [], None
    for name in names:
        now = statistics.median(each(name))
        gain = "" if before is None else f"{before / now:.2f}"
        text = STEPS[name.removeprefix("ladder ")].format(rows=args.ladder_rows)
        own = statistics.median(each(name, "encode"))
        rows.append([text, spread(each(name), "{:.2f}"), f"{own:.2f}" if own else "", gain])
        before = now
    final = statistics.median(each("ours"))
    rows.append(
        [f"{args.rows} rows, {args.problems} problems", f"{final:.2f}", "", f"{before / final:.2f}"]
    )
    return (
        f"What each measure contributed, on top of those before it; {args.ladder_problems} "
        "problems, at whose end rows run out that a longer run would refill:\n\n"
        + table(["measure", "s/problem", "of it in a second pass", "times faster"], rows)
    )


def rest(found: dict[str, Any]) -> str:
    agreed = found["agreement"]
    errors = ", ".join(
        f"{worst:.1e} at layer {layer}"
        for layer, worst in zip(agreed["layers"], agreed["worst"], strict=True)
    )
    rows = []
    for count in (8, 16):
        theirs, own = (found[f"memory {side} {count}"]["bytes"] for side in ("original", "fused"))
        rows.append([count, f"{theirs / MIB:.0f}", f"{own / MIB:.0f}", f"{own / theirs:.2f}"])
    return (
        f"Vectors of the single pass against those of a second pass over the same "
        f"{agreed['traces']} traces ({agreed['vectors']} vectors, float32), largest ‖a−b‖/‖b‖: "
        f"{errors}.\n\nPeak resident set with the same number of rows, the weights included, each "
        "in a process of its own:\n\n"
        + table(["rows", "original, MiB", "ours, MiB", "ours / original"], rows)
    )


def spread(values: Sequence[float], form: str) -> str:
    low, middle, high = (form.format(f(values)) for f in (min, statistics.median, max))
    return f"{middle} ({low}–{high})"


if __name__ == "__main__":
    main()

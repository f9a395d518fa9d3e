"""The original's method against ours on a CUDA card, a Qwen3-8B shape in bfloat16 or AWQ 4-bit.

    python benchmarks/extraction_cuda.py --model shape:qwen3-8b --rows 64 128
    python benchmarks/extraction_cuda.py --model shape:qwen3-8b-awq --rows 64 128

Random weights never stop by themselves: how long each problem's answer is, is drawn from the worked
solutions of GSM8K (their words, times a factor that makes their mean 205 tokens) and is the same on
both sides. Beside the token rates stand the card's two limits: the weights' bytes over the measured
bandwidth for each decoding step, and the operations over the measured rate of a matrix product.
Not part of the tests; it needs a card.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import torch

from common import GSM8K, backend, problems
from extraction_sides import original, ours
from reporting import table, write_section
from resumable import Part, run_parts
from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_core.opening import open_sources
from rjepa_core.plugins import Registry
from rjepa_core.problems import Problem
from rjepa_core.settings import ProblemSettings, SamplingSettings

PROBLEMS, AUDIT_HOURS = 21_456, 34
MEAN = 205


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="shape:qwen3-8b")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--problems", type=int, default=256)
    parser.add_argument("--share", type=int, default=64, help="of them, for the original's side")
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-new-tokens", type=int, default=300)
    parser.add_argument("--state", type=Path, default=Path("runs/extraction_cuda.json"))
    parser.add_argument("--minutes", type=float, default=0.0, help="stop in time; 0 for no limit")
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("this needs a CUDA card; extraction_throughput.py measures on a CPU")
    model = backend(args.model, "cuda", args.dtype)
    some = problems(args.problems)
    sampling = SamplingSettings(max_new_tokens=args.max_new_tokens)
    lengths = drawn_lengths(some, args.max_new_tokens)
    few = some[:: max(1, len(some) // args.share)][: args.share]

    def length(problem: Problem) -> int:
        return lengths[problem.id]

    sides: dict[str, Any] = {
        "original 8": partial(original, model, few, 8, sampling, length),
        **{
            f"ours {rows}": partial(ours, model, some, rows, sampling, length=length)
            for rows in args.rows
        },
    }
    parts: list[Part] = [("limits", partial(limits, model)), ("warm-up", partial(warm, sides))]
    for number in range(args.rounds):
        order = list(sides.items()) if number % 2 == 0 else list(sides.items())[::-1]
        parts += [(f"{name}@{number}", partial(facts, side)) for name, side in order]
    about = {k: v for k, v in vars(args).items() if k not in ("state", "minutes", "no_report")}
    found = run_parts(args.state, args.minutes, parts, about)
    if found is not None:
        report(args, model, found)


def drawn_lengths(some: list[Problem], most: int) -> dict[str, int]:
    """Tokens of each problem's answer: in the proportions of the worked solutions."""
    if not GSM8K.exists():
        sys.exit(f"{GSM8K} is not there; real answers are needed for their lengths")
    [source] = open_sources(ProblemSettings(traces=(str(GSM8K),)), Registry())
    words = {row.problem.id: row.solutions[0].length for row in source.rows() if row.solutions}
    chosen = [words[problem.id] for problem in some]
    factor = MEAN / statistics.mean(chosen)
    return {
        problem.id: max(8, min(most, round(factor * own)))
        for problem, own in zip(some, chosen, strict=True)
    }


def facts(side: Any) -> dict[str, Any]:
    torch.cuda.reset_peak_memory_stats()
    took = attrs.asdict(side())
    torch.cuda.synchronize()
    return {**took, "peak": torch.cuda.max_memory_allocated()}


def warm(sides: dict[str, Any]) -> dict[str, Any]:
    """First use of every kernel; a side's own problems, cut short by its own lengths."""
    for side in sides.values():
        side()
    return {}


def limits(model: HuggingFaceBackend) -> dict[str, Any]:
    """Bytes a second of a large copy (read and written), and operations a second of a product."""
    big: Any = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    other: Any = torch.empty_like(big)
    bandwidth = 2 * big.numel() / timed(partial(other.copy_, big))
    big = other = None
    a = torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda")
    rate = 2 * 8192**3 / timed(lambda: a @ a)
    tensors = (*model.model.parameters(), *model.model.buffers())
    weights = sum(t.numel() * t.element_size() for t in tensors)
    return {"bandwidth": bandwidth, "rate": rate, "weights": weights}


def timed(call: Any, times: int = 20) -> float:
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / times


def report(args: argparse.Namespace, model: HuggingFaceBackend, found: dict[str, Any]) -> None:
    def each(name: str) -> list[float]:
        rounds = [found[f"{name}@{n}"] for n in range(args.rounds)]
        return [one["seconds"] / one["problems"] for one in rounds]

    card = found["limits"]
    config = model.model.config
    active = multiplied(config)
    theirs = each("original 8")
    rows = [["original, batch 8", *cells(found["original 8@0"], theirs, card, 8, active), "", ""]]
    for count in args.rows:
        mine = each(f"ours {count}")
        ratios = [t / m for t, m in zip(theirs, mine, strict=True)]
        hours = statistics.median(mine) * PROBLEMS / 3600
        ratio = f"**{statistics.median(ratios):.1f}** ({min(ratios):.1f}–{max(ratios):.1f})"
        own = cells(found[f"ours {count}@0"], mine, card, count, active)
        rows.append([f"ours, {count} rows", *own, ratio, f"{hours:.1f} h"])
    text = (
        f"{model.info.name} ({model.info.compute_dtype}, {model.info.quantisation}), random "
        f"weights; {args.problems} GSM8K problems (the original's side {args.share}), each "
        f"answer's length drawn from real ones and the same on both sides; {args.rounds} rounds in "
        f"turn. Measured on this card: {card['bandwidth'] / 1e9:.0f} GB/s, "
        f"{card['rate'] / 1e12:.0f} T operations/s; weights {card['weights'] / 2**30:.1f} GiB. "
        "*Bandwidth limit*: rows over the time in which the weights are read once; *operations "
        f"limit*: two for each weight and token. {PROBLEMS:,} problems took the audit's method "
        f"{AUDIT_HOURS} hours on its card.\n\n"
        + table(
            [
                "side",
                "s/problem",
                "token/s",
                "bandwidth limit",
                "operations limit",
                "peak GiB",
                "times faster",
                f"{PROBLEMS:,} problems",
            ],
            rows,
        )
    )
    if args.no_report:
        print(text)
        return
    write_section(
        f"extraction cuda {args.model}",
        f"From problems to step latents on a card ({model.info.name})",
        text,
        f"python benchmarks/extraction_cuda.py --model {args.model}",
        model.info.device,
    )


def multiplied(config: Any) -> int:
    """Weights that every generated token is multiplied with."""
    heads = (2 * config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim
    layer = config.hidden_size * (heads + 3 * config.intermediate_size)
    return config.num_hidden_layers * layer + config.vocab_size * config.hidden_size


def cells(
    one: dict[str, Any], times: list[float], card: dict[str, Any], rows: int, active: int
) -> list[str]:
    middle = statistics.median(times)
    return [
        f"{middle:.2f} ({min(times):.2f}–{max(times):.2f})",
        f"{one['tokens'] / one['problems'] / middle:,.0f}",
        f"{rows * card['bandwidth'] / card['weights']:,.0f}",
        f"{card['rate'] / (2 * active):,.0f}",
        f"{one['peak'] / 2**30:.1f}",
    ]


if __name__ == "__main__":
    main()

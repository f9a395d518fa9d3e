"""How the cost of a problem grows with the rows in flight and the length of the answers; a plot.

    python benchmarks/extraction_scaling.py [--minutes 9]

Every row writes exactly so many tokens (no end of sequence), as many problems as there are rows.
What has been measured is kept in `--state`, as in `extraction_throughput.py`.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import torch

from common import backend, problems
from extraction_sides import FUSED, ours
from reporting import table, write_section
from resumable import Part, run_parts
from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_core.settings import SamplingSettings

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "extraction_scaling.svg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 16, 64, 128])
    parser.add_argument("--tokens", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--state", type=Path, default=Path("runs/extraction_scaling.json"))
    parser.add_argument("--minutes", type=float, default=0.0, help="stop in time; 0 for no limit")
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = backend(args.model, args.device, args.dtype)
    about = {k: v for k, v in vars(args).items() if k not in ("state", "minutes", "no_report")}
    parts: list[Part] = [("warm-up", partial(measured, model, min(args.rows), 4))]
    parts += [
        (f"{rows} rows {tokens} tokens@{number}", partial(measured, model, rows, tokens))
        for number in range(args.rounds)
        for tokens in args.tokens
        for rows in args.rows
    ]
    found = run_parts(args.state, args.minutes, parts, about)
    if found is not None:
        report(args, model, found)


def measured(model: HuggingFaceBackend, rows: int, tokens: int) -> dict[str, Any]:
    sampling = SamplingSettings(max_new_tokens=tokens)
    took = ours(model, problems(rows), rows, sampling, FUSED, length=lambda problem: tokens)
    return attrs.asdict(took)


def report(args: argparse.Namespace, model: HuggingFaceBackend, found: dict[str, Any]) -> None:
    def cost(rows: int, tokens: int) -> float:
        each = [found[f"{rows} rows {tokens} tokens@{n}"] for n in range(args.rounds)]
        return statistics.median(one["seconds"] / one["problems"] for one in each)

    lines = [[rows, *(f"{cost(rows, tokens):.2f}" for tokens in args.tokens)] for rows in args.rows]
    text = (
        f"Seconds a problem with `--extraction fused`, {model.info.name} "
        f"({model.info.compute_dtype}), {args.threads} threads: every row writes exactly so many "
        f"tokens, as many GSM8K problems as rows, so that no slot is refilled; "
        f"{args.rounds} round{'s' if args.rounds > 1 else ''}.\n\n"
        + table(["rows", *(f"{tokens} new tokens" for tokens in args.tokens)], lines)
    )
    if args.no_report:
        print(text)
        return
    plot(args, cost)
    text += f"\n\n![Seconds a problem by rows in flight](pictures/{PICTURE.name})"
    write_section(
        "extraction scaling",
        "Rows, tokens, and what a problem costs",
        text,
        "python benchmarks/extraction_scaling.py",
        model.info.device,
    )


def plot(args: argparse.Namespace, cost: Any) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": "rjepa"})
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    for tokens in args.tokens:
        values = [cost(rows, tokens) for rows in args.rows]
        axes.plot(args.rows, values, marker="o", label=f"{tokens} new tokens")
    axes.set(xscale="log", yscale="log", xlabel="rows in flight", ylabel="seconds a problem")
    axes.set_xticks(args.rows, [str(rows) for rows in args.rows])
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 3.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(PICTURE, metadata={"Date": None})
    print(f"written {PICTURE}")


if __name__ == "__main__":
    main()

"""Real out-of-memory errors on a CUDA card: the run backs off, and every problem is stored.

    python benchmarks/cuda_pressure.py

A Qwen3-shaped checkpoint with random weights is made in a temporary folder. What 8 and 16 rows take
on the card is measured first; then `torch.cuda.set_per_process_memory_fraction` is set between the
two, and the adaptive scheduler starts at 16. Plain allocations beyond that fail; nothing spills.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reporting import write_section

ROOT = Path(__file__).parents[1]
SMALL, LARGE = 8, 16
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=200, help="most new tokens a problem")
    parser.add_argument("--no-report", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(json.loads(args.child))))
        return
    import torch

    if not torch.cuda.is_available():
        sys.exit("cuda_pressure: cuda is not there")
    with tempfile.TemporaryDirectory() as folder:
        text = compare(Path(folder), args)
    if args.no_report:
        print(text)
    else:
        title = "Out of memory on a card"
        write_section(
            "cuda pressure", title, text, "python benchmarks/cuda_pressure.py", device="cuda"
        )


def compare(folder: Path, args: argparse.Namespace) -> str:
    model, problems = make_model(folder), make_problems(folder, args.problems)
    common = {"model": str(model), "problems": str(problems), "tokens": args.tokens}
    peaks = {
        rows: run(common, store=str(folder / f"fixed-{rows}"), rows=rows, limit=rows)["peak"]
        for rows in (SMALL, LARGE)
    }
    if peaks[LARGE] < 1.15 * peaks[SMALL]:
        sys.exit(f"cuda_pressure: 16 rows take hardly more than 8: {peaks}")
    allowed = (peaks[SMALL] + peaks[LARGE]) // 2
    done = run(common, store=str(folder / "adaptive"), limit=args.problems, allowed=allowed)
    if done["records"] != args.problems or done["failures"]:
        sys.exit(f"cuda_pressure: not every problem is stored: {done}")
    if not done["out_of_memory"]:
        sys.exit("cuda_pressure: nothing ran out of memory; the limit is too high")
    changes = "\n".join(f"- after {c['at']:.1f} s: {c['text']}" for c in done["changes"])
    return (
        f"A Qwen3-shaped model with random weights, {args.problems} problems, at most "
        f"{args.tokens} tokens each. {SMALL} rows reserve {peaks[SMALL] // MIB:,} MiB, {LARGE} "
        f"rows {peaks[LARGE] // MIB:,}; the process may have {allowed // MIB:,}. All "
        f"{done['records']} stored, {done['out_of_memory']} out-of-memory errors survived, peak "
        f"{done['peak'] // MIB:,} MiB.\n\n{changes}"
    )


def run(common: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A run in a process of its own: what the allocator keeps must not pass to the next."""
    command = [sys.executable, __file__, "--child", json.dumps({**common, **more})]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(wish: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    from rjepa_core import ExtractionSettings, ProblemSettings, open_store, run_extraction
    from rjepa_core.journal import stories
    from rjepa_core.settings import AdapterSettings, SamplingSettings

    if "allowed" in wish:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(wish["allowed"] / total)
    scheduler = AdapterSettings(name="adaptive")
    if "rows" in wish:
        scheduler = AdapterSettings(name="fixed", options={"batch_size": wish["rows"]})
    # The memory probe forgets the allocator's own peak after each batch, so it is sampled here.
    peak = Peak()
    peak.start()
    summary = run_extraction(
        ExtractionSettings(
            model=wish["model"],
            problems=ProblemSettings(sources=wish["problems"], limit=wish["limit"]),
            sampling=SamplingSettings(max_new_tokens=wish["tokens"]),
            scheduler=scheduler,
            store=wish["store"],
        )
    )
    with open_store(wish["store"]) as store:
        [story] = stories(store.history())
    return {
        "records": summary.progress.records,
        "failures": summary.progress.failures,
        "out_of_memory": summary.progress.out_of_memory,
        "peak": peak.stop(),
        "changes": [
            {
                "at": change["at"],
                "text": f"{change['rows_before']} -> {change['rows_after']} rows, "
                f"{change['reason']}: {change['detail']}",
            }
            for change in story.changes
        ],
    }


class Peak(threading.Thread):
    """Most that the allocator has reserved, sampled every few milliseconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self._most = 0

    def run(self) -> None:
        import torch

        while torch.cuda.is_available() and not self._over.wait(0.002):
            self._most = max(self._most, torch.cuda.memory_reserved())

    def stop(self) -> int:
        """End the sampling; bytes."""
        self._over.set()
        self.join()
        return self._most


def make_model(folder: Path) -> Path:
    sys.path.insert(0, str(ROOT))
    from tests.support.hf_checkpoints import qwen3

    return qwen3(
        folder / "model",
        hidden_size=1024,
        intermediate_size=8192,
        num_hidden_layers=8,
        num_attention_heads=16,
        num_key_value_heads=16,
        head_dim=128,
        max_position_embeddings=4096,
    )


def make_problems(folder: Path, count: int) -> Path:
    path = folder / "problems.jsonl"
    rows = ({"id": f"p{i}", "problem": "How many apples? " * 40 + str(i)} for i in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()

"""Part 3, out of memory? A share of the card that 16 rows do not fit into; then another process
that takes all but a little of the card in mid-run. Every problem must be stored.

Memory is taken by plain allocations alone. A driver that spills into the host's memory in silence,
as some systems' do, cannot be made here and is not tested.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import torch
from hf_checkpoints import qwen3

from figures import Figures, Row
from kit import GIB, main, release
from rjepa_core import open_store, run_extraction
from rjepa_core.extraction.history import past_runs
from rjepa_core.ports.executor import Progress
from rjepa_core.settings import (
    AdapterSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    SamplingSettings,
)

SMALL, LARGE = 8, 16
MIB = 1 << 20
CHUNK = 256 * MIB


@attrs.frozen
class Sizes:
    """The model's shape; problems and their most tokens; bytes that the other process leaves, and
    the most that it takes."""

    shape: dict[str, int]
    problems: int = 96
    tokens: int = 160
    words: int = 160
    leave: int = 1 * GIB
    most: int = 1 << 50


# Mostly keys and values: 64 KiB a token.
CARD = Sizes(
    {
        "hidden_size": 1024,
        "intermediate_size": 1024,
        "num_hidden_layers": 8,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 128,
        "max_position_embeddings": 4096,
    }
)
REHEARSAL = Sizes({}, problems=20, tokens=8, words=4, leave=0, most=64 * MIB)


def run(figures: Figures, device: str, sizes: Sizes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with torch.device(device):
            model = qwen3(home / "model", **sizes.shape)
        problems = home / "problems.jsonl"
        text = "How many apples are left? " * (sizes.words // 5)
        rows = [{"id": f"p{i}", "problem": f"{text}{i}"} for i in range(sizes.problems)]
        problems.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        runs = Runs(home, model, problems, device, sizes)
        figures.measure(f"a share that {LARGE} rows do not fit into", runs.share)
        figures.measure("another process takes the card", runs.pressed)
        text = "not tested: no managed memory is asked for here"
        figures.measure("a silent spill into host memory", lambda: {"text": text})


@attrs.frozen
class Runs:
    """Extractions of the same problems.

    Attributes:
        home: folder of the stores.
        model, problems: as `extract` takes them.
    """

    home: Path
    model: Path
    problems: Path
    device: str
    sizes: Sizes

    def share(self) -> Row:
        """What 8 and 16 rows take, then a run within the middle of the two."""
        peaks = {rows: self._extract(f"fixed-{rows}", rows)["peak"] for rows in (SMALL, LARGE)}
        if self.device == "cuda" and peaks[LARGE] < 1.15 * peaks[SMALL]:
            raise AssertionError(f"{LARGE} rows take hardly more than {SMALL}: {peaks}")
        allowed = (peaks[SMALL] + peaks[LARGE]) // 2
        with limited(self.device, allowed):
            found = self._extract("share")
        text = (
            f"{SMALL} rows take {peaks[SMALL] // MIB:,} MiB, {LARGE} rows "
            f"{peaks[LARGE] // MIB:,}; within {allowed // MIB:,} MiB "
        )
        return self._checked({**found, "allowed": allowed}, text)

    def pressed(self) -> Row:
        """Another process takes the rest of the card when a quarter of the problems is stored."""
        command = [sys.executable, __file__, "--take", self.device]
        command += map(str, (self.sizes.leave, self.sizes.most))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **pipes) as other:  # type: ignore[call-overload]
            other.stdout.readline()  # it is ready
            taken: list[int] = []

            def see(progress: Progress) -> None:
                if not taken and progress.records >= self.sizes.problems // 4:
                    print("take", file=other.stdin, flush=True)
                    taken.append(int(other.stdout.readline()))

            try:
                # A rehearsal does not fill its machine.
                with nullcontext() if self.device == "cuda" else limited(self.device, 0):
                    found = self._extract("pressed", report=see)
            finally:
                other.kill()
        text = f"another process takes {taken[0] / GIB:.1f} GiB; "
        return self._checked({**found, "taken": taken[0]}, text, errors=False)

    def _extract(
        self,
        name: str,
        rows: int | None = None,
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> Row:
        """A run into a store of its own; with `rows`, of one batch of so many."""
        scheduler = AdapterSettings(name="adaptive", options={"batch_size": LARGE})
        if rows is not None:
            scheduler = AdapterSettings(name="fixed", options={"batch_size": rows})
        store = self.home / name
        settings = ExtractionSettings(
            model=ModelSettings(name=str(self.model), device=self.device),
            problems=ProblemSettings(sources=(str(self.problems),), limit=rows),
            sampling=SamplingSettings(max_new_tokens=self.sizes.tokens),
            scheduler=scheduler,
            store=store,
        )
        peaks = [0]

        def see(progress: Progress) -> None:
            report(progress)
            if progress.last is not None and progress.last.memory is not None:
                peaks.append(progress.last.memory.peak_bytes or 0)

        done = run_extraction(settings, report=see).progress
        release(self.device)
        with open_store(str(store)) as opened:
            [story] = past_runs(opened.history())
        changes = [
            f"after {c['at']:.1f} s: {c['rows_before']} -> {c['rows_after']} rows, {c['reason']}: "
            f"{c['detail']}"
            for c in story.changes
        ]
        return {
            "records": done.records,
            "failures": done.failures,
            "out_of_memory": done.out_of_memory,
            "peak": max(peaks),
            "changes": changes,
        }

    def _checked(self, found: Row, text: str, errors: bool = True) -> Row:
        """Every problem is stored, and the run backed off: after `errors`, or a probe's warning."""
        text += (
            f"{found['records']} of {self.sizes.problems} stored, {found['failures']} failed, "
            f"{found['out_of_memory']} errors survived, {len(found['changes'])} changes of size"
        )
        backed_off = found["out_of_memory"] or (found["changes"] and not errors)
        if found["records"] != self.sizes.problems or found["failures"] or not backed_off:
            raise AssertionError("\n".join([*found["changes"], f"not as it should be: {text}"]))
        return {**found, "text": text}


@contextmanager
def limited(device: str, allowed: int) -> Iterator[None]:
    """Within, this process may reserve no more; a rehearsal pretends so for more than 8 rows."""
    if device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(allowed / total)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return
    from rjepa_adapters.huggingface.fused.decoder import Decoder

    plain = Decoder.run

    def short(self: Any, cache: Any, ids: Any, layout: Any, *others: Any) -> Any:
        if layout.rows > SMALL:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0")
        return plain(self, cache, ids, layout, *others)

    with mock.patch.object(Decoder, "run", short):
        yield


def take(device: str, leave: int, most: int) -> None:
    """The other process: asked by a line, it fills the device, tells how much, and holds it."""
    held = [torch.ones(MIB, dtype=torch.uint8, device=device)]
    print("ready", flush=True)
    sys.stdin.readline()
    total = 0
    while total < most and (device != "cuda" or torch.cuda.mem_get_info()[0] > leave + CHUNK):
        size = min(CHUNK, most - total)
        held.append(torch.ones(size, dtype=torch.uint8, device=device))
        total += size
    print(total, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--take"]:
        take(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main("part3_memory", run, CARD, REHEARSAL)

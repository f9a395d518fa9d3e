"""Seconds a problem of each engine: the original's method, Hugging Face fused, and vLLM.

    .venv-vllm/bin/python benchmarks/engines.py [--problems 64] [--rounds 3]

In turn on one machine, each in a process of its own: same problems, model, dtype and sampling, and
records into a store on every side but the last. Loading is not counted. vLLM runs as its own
documentation wants it: on a CPU with tcmalloc and Intel's OpenMP preloaded where they are
installed, its threads bound, and compiled as well as eager. The last side is vLLM by itself, with
none of our parts in it: the difference is what the extraction costs. A seed gives each engine other
completions, so tokens a second count as much as seconds a problem.
"""

from __future__ import annotations

import argparse
import ctypes.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from reporting import table, write_section
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.segmentation import cut_completion
from rjepa_core.domain.trace import Work
from rjepa_core.extraction import Pending, identity_of, resolve_layers
from rjepa_core.extraction import extract as run_loop
from rjepa_core.plugins import BackendAdapter, Registry, open_store
from rjepa_core.ports.backend import SessionSpec
from rjepa_core.settings import (
    DEFAULT_TEMPLATES,
    EncodingSettings,
    ExtractionSettings,
    ModelSettings,
    SamplingSettings,
)

SIDES = {
    "original": "the original's method, batches of 8",
    "fused": "Hugging Face, one pass",
    "vllm": "vLLM, hidden states pooled, eager",
    "vllm compiled": "vLLM, hidden states pooled, compiled",
    "vllm alone": "vLLM without hidden states, eager",
    "vllm alone compiled": "vLLM without hidden states, compiled",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-new-tokens", type=int, default=300)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--no-report", action="store_true")
    parser.add_argument("--one", choices=list(SIDES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args)))
        return
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in args.sides}
    for number in range(args.rounds):
        order = args.sides if number % 2 == 0 else args.sides[::-1]
        for side in order:
            found[side].append(in_process(side))
            print(side, found[side][-1], file=sys.stderr, flush=True)
    report(args, found)


def in_process(side: str) -> dict[str, Any]:
    """Return what a side took, in a process of its own, and the most memory of all it started."""
    command = [sys.executable, *sys.argv, "--one", side]
    environment = {**os.environ, **(_preloaded() if side.startswith("vllm") else {})}
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out, env=environment)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(0.2)
        out.seek(0)
        lines = out.read().decode().strip().splitlines()
    if process.returncode or not lines:
        return {"error": f"exit code {process.returncode}"}
    return {**json.loads(lines[-1]), "peak_gib": round(peak / 2**30, 2)}


def _resident(pid: int) -> int:
    """Return the memory of a process and all that it started; what they share counts once."""
    total = 0
    try:
        top = psutil.Process(pid)
        for one in (top, *top.children(recursive=True)):
            info = one.memory_full_info()
            total += info.pss if hasattr(info, "pss") else info.uss
    except psutil.Error:
        return total
    return total


def _preloaded() -> dict[str, str]:
    """Return the environment that vLLM's documentation asks for on a CPU."""
    threads = f"0-{(os.cpu_count() or 1) - 1}"
    beside = Path(sys.prefix) / "lib" / "libiomp5.so"
    tcmalloc = ctypes.util.find_library("tcmalloc_minimal") or ctypes.util.find_library("tcmalloc")
    libraries = [name for name in (tcmalloc, str(beside) if beside.exists() else None) if name]
    if not tcmalloc:
        print("tcmalloc is not installed (apt-get install libtcmalloc-minimal4)", file=sys.stderr)
    return {
        "LD_PRELOAD": ":".join([*libraries, os.environ.get("LD_PRELOAD", "")]).strip(":"),
        "VLLM_CPU_OMP_THREADS_BIND": os.environ.get("VLLM_CPU_OMP_THREADS_BIND", threads),
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    from common import problems

    some = problems(args.problems)
    sampling = SamplingSettings(max_new_tokens=args.max_new_tokens)
    if args.one == "original":
        return _original(args, some, sampling)
    if args.one.startswith("vllm alone"):
        return _vllm_alone(args, some, sampling)
    return _stored(args, some, sampling)


def _timed(tokens: Callable[[], int], problems: int, began: float, **more: Any) -> dict[str, Any]:
    new = tokens()
    seconds = time.perf_counter() - began
    return {
        "s_per_problem": round(seconds / problems, 3),
        "tokens_per_s": round(new / seconds, 1),
        "tokens": new,
        **more,
    }


def _original(args: argparse.Namespace, some: Any, sampling: SamplingSettings) -> dict[str, Any]:
    from common import backend
    from extraction_sides import original

    model = backend(args.model, args.device, args.dtype)
    original(model, some[:8], 8, SamplingSettings(max_new_tokens=4))
    began = time.perf_counter()
    took = original(model, some, 8, sampling)
    return _timed(lambda: took.tokens, len(some), began)


def _stored(args: argparse.Namespace, some: Any, sampling: SamplingSettings) -> dict[str, Any]:
    """The library's own loop, from problems to a store."""
    from rjepa_adapters.schedulers.fixed import FixedScheduler, FixedSettings

    name = "huggingface" if args.one == "fused" else "vllm"
    model = ModelSettings(name=args.model, device=args.device, dtype=args.dtype)
    adapter = Registry().find(BackendAdapter, name)
    options: dict[str, Any] = {}
    if name == "vllm":
        options = {"max_model_len": 2048, "enforce_eager": not args.one.endswith("compiled")}
    backend = adapter.create(model, adapter.configure(options, "backend"))
    with tempfile.TemporaryDirectory() as folder:
        settings = ExtractionSettings(model=model, store=f"{folder}/store", sampling=sampling)
        encoding = EncodingSettings(
            layers=resolve_layers(settings.encoding.layers, backend.info), store_dtype="float16"
        )
        spec = SessionSpec(
            sampling=sampling,
            encoding=encoding,
            pose=lambda work: pose(work.problem, work.sample, DEFAULT_TEMPLATES),
            cut=cut_completion,
            clock=time.perf_counter,
        )
        session = backend.open_session(spec)
        began = time.perf_counter()
        with open_store(settings.store.path, "write") as store:
            store.begin(identity_of(settings, backend.info))
            _, progress = run_loop(
                Pending([Work(problem) for problem in some]),
                session,
                FixedScheduler(FixedSettings(batch_size=args.rows)),
                store,
            )
        took = _timed(lambda: progress.tokens, len(some), began, records=progress.records)
        session.close()
    backend.close()
    return took


def _vllm_alone(args: argparse.Namespace, some: Any, sampling: SamplingSettings) -> dict[str, Any]:
    from rjepa_vllm.backend import VllmBackend
    from rjepa_vllm.settings import VllmSettings
    from vllm import LLM, SamplingParams

    model = ModelSettings(name=args.model, device=args.device, dtype=args.dtype)
    known = VllmBackend(model, VllmSettings())
    cache = {"kv_cache_memory_bytes": 2 << 30} if known.info.device == "cpu" else {}
    llm = LLM(
        model=known.checkpoint.location,
        dtype=known.info.compute_dtype,
        max_model_len=2048,
        max_num_seqs=args.rows,
        enforce_eager=not args.one.endswith("compiled"),
        skip_tokenizer_init=True,
        **cache,
    )
    ids = [
        {"prompt_token_ids": known.codec.render(pose(p, 0, DEFAULT_TEMPLATES))[1].tolist()}
        for p in some
    ]
    params = SamplingParams(
        temperature=sampling.temperature,
        max_tokens=sampling.max_new_tokens,
        stop_token_ids=list(known.end_ids),
        detokenize=False,
        seed=0,
    )
    began = time.perf_counter()
    outputs = llm.generate(ids, params, use_tqdm=False)
    return _timed(lambda: sum(len(o.outputs[0].token_ids) for o in outputs), len(some), began)


def report(args: argparse.Namespace, found: dict[str, list[dict[str, Any]]]) -> None:
    rows = []
    for side, measured in found.items():
        good = [one for one in measured if "error" not in one]
        if not good:
            rows.append([SIDES[side], measured[0]["error"] if measured else "not run", "", ""])
            continue
        cells = [
            " / ".join(f"{one[key]}" for one in good)
            for key in ("s_per_problem", "tokens_per_s", "peak_gib")
        ]
        rows.append([SIDES[side], *cells])
    text = table(["engine", "s a problem", "tokens a second", "peak GiB"], rows)
    about = (
        f"{args.problems} problems, {args.model}, {args.dtype}, at most {args.max_new_tokens} "
        f"tokens, {args.rows} rows, {args.rounds} rounds in turn."
    )
    if args.no_report:
        print(f"{about}\n\n{text}")
    else:
        write_section("engines", "Engines", f"{about}\n\n{text}", "benchmarks/engines.py")


if __name__ == "__main__":
    main()

"""Quantise SmolLM2 to AWQ 4-bit (group size 64) and compare its latents with the float32 model's.

    python benchmarks/awq_smollm2.py [--quantiser autoawq|rtn] [--solutions 100]

`autoawq` is AutoAWQ's own quantiser, which takes some ten minutes on two cores; `rtn` rounds to
nearest and packs with AutoAWQ. Both models go through `rjepa-cli extract`, over the same solutions.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

from common import GSM8K, problems
from reporting import table, write_section
from rjepa_adapters.huggingface.checkpoints import content_of, find_checkpoint
from rjepa_adapters.huggingface.gguf import find_conversion
from rjepa_adapters.huggingface.loading import load
from rjepa_adapters.huggingface.settings import HuggingFaceSettings
from rjepa_core import ModelSettings, open_store

ROOT = Path(__file__).parents[1]
WORK = ROOT / "runs" / "awq"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quantiser", choices=["autoawq", "rtn"], default="rtn")
    parser.add_argument("--solutions", type=int, default=100)
    parser.add_argument(
        "--report-only", action="store_true", help="over the stores of the last run"
    )
    args = parser.parse_args()
    if not GSM8K.exists():
        sys.exit(f"needs worked solutions: {GSM8K}")
    WORK.mkdir(parents=True, exist_ok=True)
    packed = WORK / f"smollm2-awq-{args.quantiser}"
    if not (packed / "config.json").exists():
        source = plain_checkpoint()
        (by_autoawq if args.quantiser == "autoawq" else by_rounding)(source, packed)
    if args.report_only:
        report(args.quantiser, packed)
        return
    extract(str(packed), "generated", "--problems", "demo", "--max-new-tokens", "60")
    given = ["--traces", str(GSM8K), "--limit", str(args.solutions)]
    for layer in ("0", "8", "15", "22", "29", "30"):
        given += ["--layer", layer]
    extract(str(packed), "awq", *given)
    extract("smollm2", "float32", *given)
    report(args.quantiser, packed)


def plain_checkpoint() -> Path:
    found = find_checkpoint("smollm2")
    assert found.folder is not None
    content = content_of(found.folder, found.gguf_file)
    # Loading it converts it, unless the cache holds it already.
    load(ModelSettings(name="smollm2"), HuggingFaceSettings())
    converted = find_conversion(found, content)
    assert converted is not None, "the cache of conversions cannot be used"
    return Path(converted.location)


def by_rounding(source: Path, target: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from awq_pack import pack

    pack(source, target, group=64)


def by_autoawq(source: Path, target: Path) -> None:
    with warnings.catch_warnings(record=True):
        from awq import AutoAWQForCausalLM
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoAWQForCausalLM.from_pretrained(str(source), device_map="cpu", torch_dtype="float32")
    model.quantize(
        tokenizer,
        quant_config={"zero_point": True, "q_group_size": 64, "w_bit": 4, "version": "GEMM"},
        calib_data=[problem.statement for problem in problems(64)],
        max_calib_samples=8,
        max_calib_seq_len=256,
        apply_clip=False,  # the search for clipping takes most of the time
    )
    model.save_quantized(str(target))
    tokenizer.save_pretrained(target)


def extract(model: str, store: str, *more: str) -> None:
    command = [sys.executable, "-m", "rjepa_cli", "extract", "--model", model, *more]
    place = WORK / store
    subprocess.run(["rm", "-rf", str(place)], check=True)
    subprocess.run([*command, "--store", str(place), "--device", "cpu"], check=True)


def report(quantiser: str, packed: Path) -> None:
    ours, reference = open_store(str(WORK / "awq")), open_store(str(WORK / "float32"))
    pairs = [(ours.get(key), reference.get(key)) for key in reference.keys()]  # noqa: SIM118
    assert reference.identity is not None
    rows = []
    for i, layer in enumerate(reference.identity.space.layers):
        a = np.concatenate([r.latents[i] for r, _ in pairs]).astype(np.float64)
        b = np.concatenate([r.latents[i] for _, r in pairs]).astype(np.float64)
        raw = cosine(a, b)
        mean, spread = b.mean(0), b.std(0) + 1e-6
        own = cosine((a - mean) / spread, (b - mean) / spread)
        rows.append(
            [
                layer,
                f"{raw.mean():.4f}",
                f"{raw.min():.4f}",
                f"{own.mean():.4f}",
                f"{own.min():.4f}",
            ]
        )
    how = {
        "autoawq": "AutoAWQ's own quantiser, without clipping",
        "rtn": "round-to-nearest, packed with AutoAWQ",
    }
    text = (
        f"SmolLM2-135M in 4 bits, group size 64 ({how[quantiser]}), dequantised on a CPU: "
        f"cosine of its step latents with the float32 model's, over {len(a)} steps of {len(pairs)} "
        "worked GSM8K solutions, raw and with each dimension standardised (a few enormous "
        "dimensions rule the raw one).\n\n"
        + table(["layer", "mean", "worst", "standardised: mean", "worst"], rows)
        + f"\n\nThe packed weights, scaled back, differ from the originals by "
        f"{weight_error(packed):.0%} (‖a−b‖/‖b‖, mean over the layers' inputs)."
    )
    if quantiser == "autoawq":
        text += (
            " AutoAWQ 0.2.9 was last tested with transformers 4.51. Beside this version its search "
            "runs, on a CPU too, but what it packs is far from the model; the loading is the same "
            "as for round-to-nearest. Quantise elsewhere, or with its successors."
        )
    write_section(
        f"awq {quantiser}",
        f"AWQ 4-bit against float32 ({how[quantiser]})",
        text,
        f"python benchmarks/awq_smollm2.py --quantiser {quantiser}",
    )


def weight_error(packed: Path) -> float:
    """Mean relative error of the packed weights, what the norms before them took over undone."""
    import torch
    from safetensors.torch import load_file

    with warnings.catch_warnings(record=True):
        from awq.utils.packing_utils import dequantize_gemm
    ours = load_file(next(packed.glob("*.safetensors")))
    theirs = load_file(plain_checkpoint() / "model.safetensors")
    errors = []
    for name in [k.removesuffix(".qweight") for k in ours if k.endswith(".qweight")]:
        block, _, part = name.partition(".self_attn.")
        norm = f"{block}.input_layernorm.weight"
        if not part:
            block, _, part = name.partition(".mlp.")
            norm = f"{block}.post_attention_layernorm.weight"
        if part in ("o_proj", "down_proj"):
            continue  # their scales went into another layer's weights, not into a norm
        parts = (ours[f"{name}.{kind}"] for kind in ("qweight", "qzeros"))
        weight = dequantize_gemm(*parts, ours[f"{name}.scales"].float(), 4, 64).t()
        weight = weight * (ours[norm].float() / theirs[norm].float())
        original = theirs[f"{name}.weight"].float()
        errors.append((weight - original).norm() / original.norm())
    return float(torch.stack(errors).mean())


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


if __name__ == "__main__":
    main()

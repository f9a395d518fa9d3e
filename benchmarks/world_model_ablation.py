"""What each choice in the world model is worth, on the validation part.

Trains the default settings and one change at a time, the same data, seed and number of epochs, and
evaluates each on validation: masked-step retrieval and, where the damaged solutions have been
encoded (`rjepa-cli evaluate --parts foreign --split validation --model …`), the foreign step.

    python benchmarks/world_model_ablation.py --store DIR [--epochs 8] [--only NAME …]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reporting import table, write_section
from rjepa_core.evaluation import EvaluateRunSettings, EvaluateSettings, evaluate
from rjepa_core.structuring import structure
from rjepa_core.train_settings import TrainSettings
from rjepa_core.world_models import train_world_model

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "objective ema": {"model": {"objective": "ema"}},
    "objective sigreg": {"model": {"objective": "sigreg"}},
    "not standardised": {"model": {"standardise": False}},
    "without the prompt": {"model": {"prompt": False}},
    "without the linear path": {"model": {"linear_path": False}},
    "linear path from nothing": {"model": {"ridge": 0.0}},
    "width 128": {"model": {"width": 128, "predictor_width": 96}},
    "width 512": {"model": {"width": 512, "heads": 8, "predictor_width": 384}},
    "regression alone": {"training": {"contrastive": 0.0}},
    "contrast alone": {"training": {"regression": 0.0}},
    "loss l1": {"training": {"loss": "l1"}},
    "masks: contiguous alone": {"masker": {"masks": {"contiguous": 1.0}}},
    "masks: random alone": {"masker": {"masks": {"random": 1.0}}},
    "masks: causal alone": {"masker": {"masks": {"causal": 1.0}}},
    "masks: leave one out alone": {"masker": {"masks": {"leave_one_out": 1.0}}},
    "more contrast": {"training": {"contrastive": 1.0}},
    "swapped steps": {"masker": {"swap": 0.15}},
    "detection of replaced steps": {"training": {"detection": 1.0}},
}


def settings_of(name: str, store: str, epochs: int) -> TrainSettings:
    tree: dict[str, dict[str, Any]] = {
        "data": {"stores": [store]},
        "training": {"max_epochs": epochs, "patience": 0},
    }
    for section, values in CHANGES[name].items():
        tree.setdefault(section, {}).update(values)
    return structure(TrainSettings, tree)


def figures(run: str, store: str, parts: tuple[str, ...]) -> dict[str, float]:
    """Of one trained run on validation, without intervals."""
    settings = EvaluateRunSettings(
        evaluate=EvaluateSettings(
            world_models=(run,), stores=(store,), split="validation", parts=parts, draws=0
        )
    )
    return flat(evaluate(settings))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--only", nargs="*", choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument(
        "--keep", default=None, help="file of results that are kept and gone on with"
    )
    args = parser.parse_args()
    keep = Path(args.keep) if args.keep else None
    found = json.loads(keep.read_text()) if keep and keep.exists() else {}
    for name in args.only:
        if name in found:
            continue
        with tempfile.TemporaryDirectory() as folder:
            run = str(Path(folder) / "run")
            train_world_model(run, settings_of(name, args.store, args.epochs))
            found[name] = figures(run, args.store, ("retrieval", "foreign"))
        print(name, found[name], file=sys.stderr, flush=True)
        if keep:
            keep.write_text(json.dumps(found))
    report(found, args.epochs)


def flat(evaluation: Any) -> dict[str, float]:
    """The world model's figures, leave-one-out, by short names; ridge's beside them."""
    wanted = {"top-1": "top1", "MRR": "mrr", "named": "named", "AUROC max": "auroc"}
    short: dict[str, float] = {}
    for one in evaluation.tables:
        if "past" in one.name:
            continue
        for line in one.lines:
            prefix = {"world model": "", "baseline": f"{line.method}: "}.get(line.kind)
            if prefix is None:
                continue
            for column, name in wanted.items():
                if column in line.figures:
                    short[f"{prefix}{name}"] = round(line.figures[column].value, 4)
    return short


def report(found: Mapping[str, Mapping[str, float]], epochs: int) -> None:
    """The table into the page."""
    columns = ["top1", "mrr", "named", "auroc"]
    rows = [
        [name, *(f"{figures[c]:.3f}" if c in figures else "–" for c in columns)]
        for name, figures in found.items()
    ]
    any_ = next(iter(found.values()))
    ridge = [
        f"{any_[k]:.3f}" if k in any_ else "–" for k in (f"ridge regression: {c}" for c in columns)
    ]
    rows.append(["*ridge regression*", *ridge])
    text = (
        f"Each line is the default with one change, {epochs} epochs, one seed, leave-one-out, on "
        "the validation part; no intervals (for those see the evaluation). The foreign step is of "
        "as many validation solutions as have been damaged and encoded.\n\n"
        + table(["", "top-1", "MRR", "foreign step named", "AUROC (largest surprise)"], rows)
    )
    write_section(
        "world-model-ablation",
        "What each choice in the world model is worth",
        text,
        "python benchmarks/world_model_ablation.py --store DIR",
    )


if __name__ == "__main__":
    main()

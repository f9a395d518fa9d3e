"""What each choice in the world model is worth, on the validation part.

Trains the default settings and one change at a time, the same data, seed and number of epochs, and
evaluates each on validation: masked-step retrieval and, where the damaged solutions have been
encoded (`rjepa-cli evaluate --parts foreign --split validation --model …`), the foreign step.

    python benchmarks/world_model_ablation.py --store DIR --runs DIR [--epochs 8] [--only NAME …]

Runs that are in the folder already are not trained again.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reporting import table, write_section
from rjepa_core.config import structure
from rjepa_core.evaluation import EvaluateRunSettings, EvaluateSettings, evaluate
from rjepa_core.ports.trainer import TrainWatch
from rjepa_core.settings import TrainSettings
from rjepa_core.training import train_world_model

RIDGE = "*ridge regression*"
WANTED = (
    ("retrieval", "top-1"),
    ("retrieval", "MRR"),
    ("foreign", "named"),
    ("foreign", "AUROC max"),
)
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
    "masks: causal never tells the length": {"masker": {"known_length": 0.0}},
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


def trained(runs: Path, names: Sequence[str], store: str, epochs: int) -> dict[str, str]:
    """The runs by the changes' names, trained where they are not there yet."""
    places = {}
    for name in names:
        place = runs / re.sub("[^a-z0-9]+", "-", name)
        places[name] = str(place)
        begun = (place / "config.yaml").exists()
        if not (place / "report.html").exists():
            train_world_model(
                str(place), settings_of(name, store, epochs), TrainWatch(resume=begun)
            )
        print(f"trained: {name}", file=sys.stderr, flush=True)
    return places


def figures(places: Mapping[str, str], store: str) -> dict[str, dict[str, float]]:
    """Of all runs on validation, without intervals, ridge regression among them."""
    settings = EvaluateRunSettings(
        evaluate=EvaluateSettings(
            world_models=tuple(places.values()),
            stores=(store,),
            split="validation",
            parts=("retrieval", "foreign"),
            draws=1,
        )
    )
    names = {f"world model {place}": name for name, place in places.items()}
    names |= {"world model": next(iter(places)), "ridge regression": RIDGE}
    found: dict[str, dict[str, float]] = {}
    for one in evaluate(settings).tables:
        context = "past" if "past" in one.name else "others"
        for line in one.lines:
            for column, figure in line.figures.items():
                if line.method in names and (one.part, column) in WANTED:
                    kept = found.setdefault(names[line.method], {})
                    kept[f"{context} {column}"] = figure.value
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--runs", required=True, type=Path, help="folder for the trained runs")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--only", nargs="*", choices=list(CHANGES), default=list(CHANGES))
    args = parser.parse_args()
    places = trained(args.runs, args.only, args.store, args.epochs)
    report(figures(places, args.store), args.epochs)


def report(found: Mapping[str, Mapping[str, float]], epochs: int) -> None:
    """The table into the page."""
    columns = [f"{context} {column}" for context in ("others", "past") for _, column in WANTED]
    rows = [
        [name, *(f"{kept[c]:.3f}" if c in kept else "–" for c in columns)]
        for name, kept in found.items()
    ]
    rows.sort(key=lambda row: row[0] == RIDGE)
    text = (
        f"Each line is the default with one change, {epochs} epochs, one seed, on the validation "
        "part, from the other steps and from the past alone; no intervals (for those see the "
        "evaluation). A step of another problem: whether the largest surprise names it, and "
        "whether the largest surprise tells damaged solutions from whole ones.\n\n"
        + table(
            [
                "",
                "top-1",
                "MRR",
                "foreign step named",
                "AUROC",
                "past: top-1",
                "past: MRR",
                "past: named",
                "past: AUROC",
            ],
            rows,
        )
    )
    write_section(
        "world-model-ablation",
        "What each choice in the world model is worth",
        text,
        "python benchmarks/world_model_ablation.py --store DIR --runs DIR",
    )


if __name__ == "__main__":
    main()

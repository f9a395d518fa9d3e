"""What each choice in the world model is worth, on the validation part.

Trains the default settings with three seeds and one change at a time with one, on the same data and
for the same number of epochs, and shows what each run's own validation found in the checkpoint that
it opens with.

    python benchmarks/world_model_ablation.py --store DIR --runs DIR [--epochs N] [--only NAME …]

Runs that are in the folder already are not trained again, and unfinished ones are gone on with.
What is missing from the folder is left out of the table.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reporting import table, write_section
from rjepa_core.config import structure
from rjepa_core.ports.world_model import TrainWatch
from rjepa_core.settings import TrainSettings
from rjepa_core.training import train_world_model

FIGURES = {
    "val_top1_past": "past: top-1",
    "val_mrr_past": "past: MRR",
    "val_error_past": "past: error",
    "val_error_others": "others: error",
}
RIDGE_INPUTS = {"first_apart": False}
STRONG: Mapping[str, Mapping[str, Any]] = {
    "model": {"dropout": 0.3, "input_dropout": 0.2},
    "training": {"lr": 1e-3, "weight_decay": 0.1, "max_epochs": 8, "patience": 0},
}
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "default, seed 1": {"training": {"seed": 1}},
    "default, seed 2": {"training": {"seed": 2}},
    "linear map with the loss, ridge's inputs": {"model": {"network": "linear", **RIDGE_INPUTS}},
    "perceptron with the loss, ridge's inputs": {
        "model": {"network": "perceptron", "width": 512, **RIDGE_INPUTS}
    },
    "linear map with the loss, first step apart": {"model": {"network": "linear"}},
    "perceptron with the loss, first step apart": {
        "model": {"network": "perceptron", "width": 512}
    },
    "first step not apart": {"model": RIDGE_INPUTS},
    "linear path trained like all else": {"training": {"linear_lr": 1.0}},
    "without the linear path": {"model": {"linear_path": False}},
    "regression alone": {"training": {"contrastive": 0.0}},
    "more contrast": {"training": {"contrastive": 1.0}},
    "learning rate 1e-3": {"training": {"lr": 1e-3}},
    "learning rate 1e-4": {"training": {"lr": 1e-4}},
    "strong dropout, learning rate 1e-3, 8 epochs": STRONG,
    "the same, regression alone": {
        **STRONG,
        "training": {**STRONG["training"], "contrastive": 0.0},
    },
    "the same, a perceptron, first step apart": {
        "model": {**STRONG["model"], "network": "perceptron", "width": 512},
        "training": {**STRONG["training"], "contrastive": 0.0},
    },
    "twice as wide and deep": {
        "model": {"width": 512, "depth": 6, "predictor_width": 384, "predictor_depth": 4}
    },
    "masks: causal alone": {"masker": {"masks": {"causal": 1.0}}},
    "masks: leave one out alone": {"masker": {"masks": {"leave_one_out": 1.0}}},
}
UNTRAINED = "*the start of the default: the linear path alone*"
RIDGE = "*ridge regression, each figure with the strength that is best for it*"


def settings_of(name: str, store: str, epochs: int | None) -> TrainSettings:
    tree: dict[str, dict[str, Any]] = {"data": {"stores": [store]}}
    if epochs:
        tree["training"] = {"max_epochs": epochs}
    for section, values in CHANGES[name].items():
        tree[section] = {**tree.get(section, {}), **values}
    return structure(TrainSettings, tree)


def trained(runs: Path, names: Sequence[str], store: str, epochs: int | None) -> None:
    """Train what is not there yet."""
    for name in names:
        place = place_of(runs, name)
        begun = (place / "config.yaml").exists()
        if not (place / "report.html").exists():
            train_world_model(
                str(place), settings_of(name, store, epochs), TrainWatch(resume=begun)
            )
        print(f"trained: {name}", file=sys.stderr, flush=True)


def place_of(runs: Path, name: str) -> Path:
    return runs / re.sub("[^a-z0-9]+", "-", name)


def rows_of(runs: Path) -> Iterator[list[str]]:
    """Lines of the page: ridge regression, then the runs that are there."""
    default = place_of(runs, "default")
    if (default / "best.json").exists():
        yield [RIDGE, "", *cells(standing_of(default)["ridge"])]
        yield [UNTRAINED, "", *cells(standing_of(default)["start"])]
    for name in CHANGES:
        place = place_of(runs, name)
        if (place / "report.html").exists():
            best = json.loads((place / "best.json").read_text(encoding="utf-8"))
            epochs = standing_of(place)["epoch"]
            yield [name, f"{best['epoch']} of {epochs}", *cells(best)]
            if best["epoch"] == 0:
                yield ["… and its last epoch, not chosen", f"{epochs}", *cells(last_epoch(place))]


def cells(found: Mapping[str, float]) -> list[str]:
    return [f"{found[name]:.4f}" if name in found else "–" for name in FIGURES]


def last_epoch(place: Path) -> dict[str, float]:
    """What a run's last epoch had."""
    with (place / "metrics.csv").open(encoding="utf-8") as file:
        *_, last = csv.DictReader(file)
    return {name: float(value) for name, value in last.items() if value}


def standing_of(place: Path) -> dict[str, Any]:
    """Of a run's last checkpoint."""
    last = max((place / "checkpoints").glob("step-*"))
    state = json.loads((last / "state.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = state["standing"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--runs", required=True, type=Path, help="folder for the trained runs")
    parser.add_argument("--epochs", type=int, help="at most; by default as the settings say")
    parser.add_argument("--only", nargs="*", choices=list(CHANGES), default=list(CHANGES))
    args = parser.parse_args()
    trained(args.runs, args.only, args.store, args.epochs)
    report(args.runs)


def report(runs: Path) -> None:
    """The table into the page."""
    text = (
        "Each line is the default with one change, one seed; figures are those of the run's own "
        "validation for the checkpoint that it opens with: the whole validation part, where that "
        "has no more than some thousand steps, with the steps that the model was given left out "
        "of the pool. No intervals: differences in the third place are nothing. "
        "The epoch that was chosen is 0 where none was better than the start without being worse "
        "in another figure.\n\n" + table(["", "epoch", *FIGURES.values()], list(rows_of(runs)))
    )
    write_section(
        "world-model-ablation",
        "What each choice in the world model is worth",
        text,
        "python benchmarks/world_model_ablation.py --store DIR --runs DIR",
    )


if __name__ == "__main__":
    main()

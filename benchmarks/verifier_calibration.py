"""How far a verifier's probabilities can be believed where it was not calibrated: on test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from reporting import PAGE, table
from rjepa_adapters.world_model.calibration import reliability
from verifier_data import Array

FOLDER = PAGE.parent / "benchmarks" / "verifier"
# Probabilities that something is wrong, and whether it is.
Known = tuple[Array, Array]


def calibration(found: Mapping[str, Known]) -> tuple[str, dict[str, Any]]:
    """Table and figures of several outputs of verifiers: Brier score beside that of always saying
    the share that is wrong, and predicted and observed shares in ten bins."""
    facts: dict[str, Any] = {}
    for name, (likely, wrong) in found.items():
        share = float(wrong.mean())
        facts[name] = {
            "brier": float(np.square(likely - wrong).mean()),
            "brier of the share": share * (1 - share),
            "bins": [attrs.asdict(one) for one in reliability(likely, wrong)],
        }
    rows = []
    for name, one in facts.items():
        bins = ", ".join(f"{b['predicted']:.2f} → {b['observed']:.2f}" for b in one["bins"])
        rows.append([name, f"{one['brier']:.3f}", f"{one['brier of the share']:.3f}", bins])
    columns = ["", "Brier score", "of the share", "predicted → observed, in ten bins"]
    return table(columns, rows), facts


def picture(facts: Mapping[str, Any], path: Path) -> None:
    """Reliability: observed against predicted shares."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.4, 4.0), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for name, one in facts.items():
        predicted = [b["predicted"] for b in one["bins"]]
        axes.plot(predicted, [b["observed"] for b in one["bins"]], "o-", markersize=3, label=name)
    axes.set(xlabel="predicted share that is wrong", ylabel="observed share", aspect="equal")
    axes.legend(frameon=False, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def section(part: str, found: Mapping[str, Known], draw: bool) -> tuple[str, dict[str, Any]]:
    """Text of a part's section, and its figures."""
    told, facts = calibration(found)
    text = f"**Calibration**, as it was fitted on validation:\n\n{told}"
    if draw:
        path = FOLDER / f"{part}-reliability.svg"
        picture(facts, path)
        text += f"\n\n![Predicted and observed shares](benchmarks/verifier/{path.name})"
    return text, facts

"""Several seeds of each objective on the test part, from what `rjepa-cli evaluate` wrote.

    rjepa-cli evaluate --store DIR --split test --world-model RUN … --labelled FILE --out FOLDER
    python benchmarks/world_model_seeds.py FOLDER/evaluation.json

A figure is the mean over the seeds, with the lowest and the highest of them; what it is ahead of
ridge regression comes with the worst seed's 95 % interval (paired bootstrap over problems).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from reporting import table, write_section

OBJECTIVES = ("frozen", "ema", "sigreg")
RIDGE = "ridge regression"
COLUMNS = {
    "retrieval": ("top-1", "MRR"),
    "foreign": ("named", "AUROC max", "AUROC fitted"),
    "slip": ("named", "AUROC max", "AUROC fitted"),
    "correctness": None,
}


def grouped(found: Mapping[str, Any]) -> dict[str, list[str]]:
    """Names of the world models by objective."""
    groups: dict[str, list[str]] = {}
    for name, facts in found["world_models"].items():
        groups.setdefault(facts["objective"], []).append(name)
    return {o: groups[o] for o in OBJECTIVES if o in groups}


def over_seeds(figures: Sequence[Mapping[str, float]]) -> str:
    values = [one["value"] for one in figures]
    return f"{mean(values):.3f} ({min(values):.3f}–{max(values):.3f})"


def ahead(lines: Iterable[Mapping[str, Any]], column: str, other: str) -> str:
    """How far the seeds are ahead of `other`: the mean, and the interval of the worst."""
    differences = [
        line["differences"][other][column]
        for line in lines
        if column in line["differences"].get(other, {})
    ]
    if not differences:
        return "–"
    worst = min(differences, key=lambda one: one["low"])
    middle = mean(one["value"] for one in differences)
    return f"{middle:+.3f} [{worst['low']:+.3f}, {worst['high']:+.3f}]"


def rows_of(one: Mapping[str, Any], groups: Mapping[str, list[str]]) -> list[list[str]]:
    """Lines of the page for one table of the evaluation."""
    by_method = {line["method"]: line for line in one["lines"]}
    columns = COLUMNS[one["part"]] or tuple(one["columns"])
    rows = []
    for objective, names in groups.items():
        for suffix, against in (("", RIDGE), (" + log-probability", "log-probability")):
            lines = [by_method[name + suffix] for name in names if name + suffix in by_method]
            if not lines:
                continue
            cells = []
            for column in columns:
                kept = [line["figures"][column] for line in lines if column in line["figures"]]
                cells.append(over_seeds(kept) if kept else "–")
                cells.append(ahead(lines, column, against) if kept else "–")
            rows.append([f"`{objective}`{suffix}", f"{len(lines)}", *cells])
    for method in (RIDGE, "log-probability", "length"):
        if method in by_method:
            cells = []
            for column in columns:
                figure = by_method[method]["figures"].get(column)
                cells += [f"{figure['value']:.3f}" if figure else "–", ""]
            rows.append([f"*{method}*", "", *cells])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("evaluation", type=Path, help="evaluation.json of one evaluation")
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args()
    found = json.loads(args.evaluation.read_text(encoding="utf-8"))
    groups = grouped(found)
    parts = [
        f"The {found['split']} part, looked at once, with the default settings. Each figure is the "
        "mean over the seeds (lowest–highest); behind it, how far it is ahead of ridge regression "
        "(of log-probability alone, where the two are combined): the mean, and the 95 % interval "
        "of the worst seed."
    ]
    for one in found["tables"]:
        if one["part"] not in COLUMNS:
            continue
        columns = COLUMNS[one["part"]] or tuple(one["columns"])
        head = ["", "seeds", *(cell for c in columns for cell in (c, "ahead"))]
        parts.append(
            f"**{one['title']}** ({one['items']:,} items of {one['problems']:,} problems)\n\n"
            + table(head, rows_of(one, groups))
        )
    text = "\n\n".join(parts)
    print(text)
    if not args.no_report:
        write_section(
            "world-model-seeds",
            "The world model on the test part, three seeds of each objective",
            text,
            "python benchmarks/world_model_seeds.py FOLDER/evaluation.json",
        )


if __name__ == "__main__":
    main()

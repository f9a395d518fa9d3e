"""What the world model is worth, as a page: from what `rjepa-cli evaluate` wrote.

    rjepa-cli evaluate --store DIR --split test --parts prediction,damage --world-model RUN … \
        --model LLM --out FOLDER --predictions FILE
    python benchmarks/world_model_test.py FOLDER

Of several seeds the worst counts, of a trained baseline's the best. The tables hold the figures
alone; FOLDER/evaluation.md has each with its interval and its differences.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reporting import table, write_section

Facts = Mapping[str, Any]
# Columns of the page: table of the evaluation, its figure, heading.
PREDICTION = (
    ("prediction/past/1", "top-1", "top-1"),
    ("prediction/past/1", "MRR", "MRR"),
    ("prediction/past/1", "top-1 same place", "top-1, same place"),
    ("prediction/past/1", "error", "error"),
    ("prediction/past/1", "explained variance", "explained variance"),
    ("prediction/past/2", "error", "error, 2 ahead"),
    ("prediction/past/3", "error", "error, 3 ahead"),
    ("prediction/others/1", "error", "error, from the others"),
)
MAIN = "frozen"
OWN = ("top-1", "MRR", "top-1 same place", "error")
DAMAGE = {
    "clean fitted": "AUROC against the clean solutions of the same problems, a score fitted on the "
    "largest, mean and last of its steps (cross-fitted over two halves of the problems)",
    "edited fitted": "The same against correct solutions that were edited harmlessly",
    "named": "The share of damaged solutions whose wrong step scores highest",
}


def shown(one: Facts) -> list[Facts]:
    """The lines of a table without the single seeds of those that stand for several."""
    members = {name for line in one["lines"] for name in line["of"]}
    lines = [line for line in one["lines"] if line["method"] not in members]
    # World models with target spaces of their own stand side by side in the evaluation; what they
    # tell of damage compares all the same.
    groups: dict[str, list[Facts]] = {}
    for line in lines:
        found = re.fullmatch(r"world model (ema|sigreg)-\d+(, .*)?", line["method"])
        name = f"world model {found[1]}, the worst seed{found[2] or ''}" if found else ""
        groups.setdefault(name or line["method"], []).append(line)
    return [
        some[0] if len(some) == 1 else {**some[0], "method": name, "figures": worst_of(some)}
        for name, some in groups.items()
    ]


def worst_of(lines: Sequence[Facts]) -> dict[str, Facts]:
    """Figure by figure the line with the smallest one."""
    return {
        figure: min((line["figures"][figure] for line in lines), key=lambda one: one["value"])
        for figure in lines[0]["figures"]
    }


def value(line: Facts | None, figure: str) -> str:
    found = None if line is None else line["figures"].get(figure)
    return "–" if found is None or found["value"] is None else f"{found['value']:.3f}"


def interval(found: Facts) -> str:
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"


def plain(name: str) -> str:
    """A method's name without what the folder of its run repeats."""
    name = re.sub(r"^(linear map|perceptron) (linear|perceptron)\b", r"\1", name)
    return re.sub(r"-first-apart-\d+", ", first step apart", name)


def label(line: Facts) -> str:
    name = plain(line["method"])
    return f"**{name}**" if line["kind"] == "world model" else name


def predictions(tables: Mapping[str, Facts]) -> str:
    """The LLM's own space, all methods side by side."""
    rows = []
    for line in shown(tables["prediction/past/1"]):
        cells = [
            value(by_method(tables[name]).get(line["method"]), figure)
            for name, figure, _ in PREDICTION
        ]
        rows.append([label(line), *cells])
    return table(["from the past", *(heading for _, _, heading in PREDICTION)], rows)


def by_method(one: Facts) -> dict[str, Facts]:
    return {line["method"]: line for line in one["lines"]}


def differences(tables: Mapping[str, Facts]) -> Iterator[str]:
    """Each world model against each baseline, with intervals."""
    wanted = (
        ("prediction/past/1", "top-1", "top-1 from the past"),
        ("prediction/past/1", "error", "error from the past"),
        ("prediction/others/1", "error", "error from the others"),
    )
    for name, figure, what in wanted:
        for line in shown(tables[name]):
            if line["kind"] == "world model":
                own = ", ".join(
                    f"{interval(found[figure])} to {plain(other)}"
                    for other, found in line["differences"].items()
                )
                found = line["figures"][figure]
                yield (
                    f"- {what}, {plain(line['method'])}: {found['value']:.3f} "
                    f"[{found['low']:.3f}, {found['high']:.3f}]; {own}"
                )


def own_spaces(tables: Mapping[str, Facts]) -> str:
    """World models with targets of their own: each beside the baselines in its space."""
    rows = []
    for name, one in tables.items():
        if name.startswith("prediction/past/1/"):
            for line in one["lines"]:
                space = name.removeprefix("prediction/past/1/").removeprefix("world model ")
                rows.append([space, label(line), *(value(line, figure) for figure in OWN)])
    return table(["space", "from the past", *OWN], rows) if rows else ""


def damages(tables: Mapping[str, Facts], figure: str) -> str:
    """Methods by kinds of damage."""
    kinds = [name for name in tables if name.startswith("damage/")]
    lines_of = {name: {line["method"]: line for line in shown(tables[name])} for name in kinds}
    methods = dict.fromkeys(
        method
        for lines in lines_of.values()
        for method, line in lines.items()
        if line["kind"] != "combined" or method.startswith(f"world model {MAIN}")
    )
    head = [
        name.removeprefix("damage/") + (" (easy)" if tables[name]["facts"]["easy"] else "")
        for name in kinds
    ]
    rows = []
    for method in methods:
        lines = [lines_of[name].get(method) for name in kinds]
        first = next(line for line in lines if line is not None)
        cells = [value(line, figure) for line in lines]
        if set(cells) != {"–"}:
            rows.append([label(first), *cells])
    chance = [f"{tables[name]['chance'][figure]:.3f}" for name in kinds]
    return table(["", *head], [*rows, ["*chance*", *chance]])


def best_of(tables: Mapping[str, Facts], figure: str) -> Iterator[str]:
    """By kind: the better way to ask `frozen`, less the best baseline."""
    for name, one in tables.items():
        if not name.startswith("damage/"):
            continue
        lines = [line for line in shown(one) if figure in line["figures"]]
        ours = [line for line in lines if line["method"].startswith(f"world model {MAIN}")]
        ours = [line for line in ours if line["kind"] == "world model"]
        theirs = [line for line in lines if line["kind"] == "baseline"]
        best, rival = (
            max(some, key=lambda line: line["figures"][figure]["value"]) for some in (ours, theirs)
        )
        apart = best["differences"].get(rival["method"], {}).get(figure)
        told = interval(apart) if apart else "not compared"
        yield (
            f"- `{name.removeprefix('damage/')}`: {best['method'].rsplit(', ', 1)[1]} "
            f"{value(best, figure)}, {plain(rival['method'])} {value(rival, figure)}: {told}"
        )


def page(found: Facts) -> str:
    """The section's text."""
    tables = {one["name"]: one for one in found["tables"]}
    first = tables["prediction/past/1"]
    parts = [
        f"The {found['split']} part, by [the protocol](explanation/evaluation-protocol.md). Of "
        "three seeds of a world model the worst counts, of a trained baseline the best, each "
        f"figure by itself. Brackets: 95 % intervals over problems, {found['draws']:,} draws. "
        "[All figures, and the commands](benchmarks/world-model-gsm8k/README.md).",
        f"**Prediction**: {first['items']:,} steps of {first['problems']:,} problems, in the LLM's "
        f"own standardised latents; an error of {first['chance']['error']:.3f} is that of train's "
        "mean.",
        predictions(tables),
        "\n".join(differences(tables)),
    ]
    if own := own_spaces(tables):
        parts += [
            "**Targets of their own**: each space with baselines fitted in it; distances of "
            "different spaces mean nothing beside each other.",
            own,
        ]
    for figure, what in DAMAGE.items():
        parts += [f"**Damage**. {what}.", damages(tables, figure)]
        parts.append("`frozen`, the worst seed, asked in the better way, less the best baseline:")
        parts.append("\n".join(best_of(tables, figure)))
    return "\n\n".join(parts)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of `rjepa-cli evaluate --out`")
    parser.add_argument("--print", action="store_true", help="print it, and write nothing")
    args = parser.parse_args(argv)
    found = json.loads((args.folder / "evaluation.json").read_text(encoding="utf-8"))
    text = page(found)
    if args.print:
        print(text)
        return
    write_section(
        "world-model-test",
        f"The world model on the {found['split']} part",
        text,
        "python benchmarks/world_model_test.py FOLDER",
    )


if __name__ == "__main__":
    main()

"""Compute the prediction tables of `rjepa-cli evaluate` again, from the protocol alone.

    python benchmarks/world_model_check.py LATENTS PREDICTIONS
    python benchmarks/world_model_check.py LATENTS PREDICTIONS --json evaluation.json

Written from docs/explanation/evaluation-protocol.md with numpy, and without the evaluation's code:
the latents come from shards of safetensors, the split from the statements, the predictions from the
file that `evaluate --predictions` keeps. Standardisation, baselines and ridge regression are made
anew and held against the file's; errors, ranks and paired intervals are computed from the file, and
with --json held against the evaluation's. Exit code 1: something differs.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from safetensors import safe_open

from prediction_figures import (
    POOLS,
    STRENGTHS,
    VIEWS,
    Array,
    Latents,
    Scores,
    Steps,
    Traces,
    draws_of,
    paired,
    ranks,
    read_latents,
    ridges,
    squared_errors,
    standardise,
    summary,
)
from reporting import table

# The evaluation's names of the figures.
FIGURES = {
    "error": "error",
    "explained variance": "explained",
    "top-1": "top-1, all",
    "MRR": "MRR, all",
    "top-1 same place": "top-1, same place",
    "MRR same place": "MRR, same place",
}
RANKED = set(FIGURES.values()) - {"error", "explained"}
MEAN, COPY, RIDGE = "mean of the context", "copy of the previous step", "ridge regression"
GSM8K = Path(__file__).parents[1].parent / "shared" / "data" / "gsm8k_train.jsonl"
TOLERANCE = 1e-3
# How much worse than ours the file's ridge regression may be: its strengths are others.
SLACK = {"error": 1e-3, "top-1, all": 5e-3}
# The page ranks larger parts among a choice of steps, which it doesn't name to the letter.
MOST_STEPS = 20_000


def check_ridge(
    kept: Kept, train: Latents, validation: Latents, part: Latents
) -> Iterator[Finding]:
    """The file's ridge regression is no weaker than one of our own."""
    for context, ahead in kept.views(RIDGE):
        for_errors = kept.read(f"{RIDGE}/{context}/{ahead}")
        best: dict[str, tuple[float, float, Array]] = {}
        nearest = (np.inf, 0.0)
        parts = [validation] if part is validation else [validation, part]
        for strength, predicted in zip(
            STRENGTHS, ridges(train, parts, context, ahead), strict=True
        ):
            rows = validation.steps.asked(ahead)
            error = np.nanmean(squared_errors(predicted[0], validation.targets))
            pool = validation.steps.pool("all", context, ahead)
            first = (ranks(predicted[0], validation.targets, pool, rows)[rows] == 1).mean()
            for name, value in (("error", -error), ("top-1, all", first)):
                if name not in best or value > best[name][0]:
                    best[name] = (float(value), strength, predicted[-1])
            apart = float(np.sqrt(np.nanmean((for_errors - predicted[-1]) ** 2)))
            nearest = min(nearest, (apart, strength))
        where = f"{context}, {ahead} ahead"
        print(f"ridge, {where}: ours of {nearest[1]:g} is {nearest[0]:.5f} from the file's (rms)")
        for name, suffix in (("error", ""), ("top-1, all", " for ranks")):
            _, strength, predicted_part = best[name]
            ours = Scores.of(predicted_part, part.targets, part.steps, context, ahead)
            file = kept.read(f"{RIDGE}{suffix}/{context}/{ahead}")
            theirs = Scores.of(file, part.targets, part.steps, context, ahead)
            pair = ours.figures()[name], theirs.figures()[name]
            print(
                f"    {name}: ours {pair[0]:.4f} (strength {strength:g}), the file's {pair[1]:.4f}"
            )
            worse = pair[1] - pair[0] if name == "error" else pair[0] - pair[1]
            yield Finding(
                f"{name} of ridge regression, {where}, is worse than ours", worse, SLACK[name]
            )


# --- The file that the evaluation kept ---


class Kept:
    """A file of `evaluate --predictions`."""

    def __init__(self, path: Path) -> None:
        self._file = safe_open(path, "numpy")
        metadata = self._file.metadata() or {}
        if metadata.get("format") != "rjepa-predictions 1":
            sys.exit(f"{path} holds no predictions of format rjepa-predictions 1")
        self.steps = Steps([tuple(trace) for trace in json.loads(metadata["traces"])])
        self.names = sorted(self._file.keys())
        # World models with a target space of their own.
        start = "targets of "
        self.spaces = [name[len(start) :] for name in self.names if name.startswith(start)]

    def read(self, name: str) -> Array:
        return np.asarray(self._file.get_tensor(name), np.float64)

    def space(self, method: str) -> str:
        """The world model in whose space a method predicts; empty for the common one."""
        owners = [s for s in self.spaces if method == s or method.endswith(f" of {s}")]
        return max(owners, key=len, default="")

    def targets(self, space: str) -> Array:
        return self.read(f"targets of {space}" if space else "targets")

    def methods(self) -> list[str]:
        tensors = [name for name in self.names if re.search(r"/(past|others)/\d+$", name)]
        return list(dict.fromkeys(name.rsplit("/", 2)[0] for name in tensors))

    def views(self, method: str) -> list[tuple[str, int]]:
        return [(c, a) for c, a in VIEWS if f"{method}/{c}/{a}" in self.names]


@attrs.frozen
class Finding:
    """How far something is from what it should be."""

    what: str
    apart: float
    allowed: float = TOLERANCE

    @property
    def wrong(self) -> bool:
        return not self.apart <= self.allowed


def part_of(kept: Kept, parts: dict[str, dict[str, Traces]]) -> str:
    """The part whose traces the file holds, each exactly once."""
    names = [name for name, _, _ in kept.steps.traces]
    for part, traces in parts.items():
        if set(names) & set(traces):
            if sorted(names) != sorted(traces):
                sys.exit(
                    f"the file's {len(names)} traces are not the {len(traces)} of {part}: "
                    f"{len(set(names) - set(traces))} don't belong to it, "
                    f"{len(set(traces) - set(names))} are missing"
                )
            lengths = [len(traces[name][0]) for name in names]
            if lengths != kept.steps.lengths.tolist():
                sys.exit("the file's traces have other numbers of steps than the latents")
            return part
    sys.exit("the file's traces are not those of the latents")


def check_made_anew(kept: Kept, part: Latents) -> Iterator[Finding]:
    """Targets, copy and mean are those computed from the latents; hidden rows are NaN."""
    yield Finding("targets", float(np.abs(kept.targets("") - part.targets).max()))
    for method in kept.methods():
        space = kept.space(method)
        for context, ahead in kept.views(method):
            name = f"{method}/{context}/{ahead}"
            predicted, asked = kept.read(name), kept.steps.asked(ahead)
            blank = np.isnan(predicted)
            misplaced = (blank != ~asked[:, None]).sum()
            yield Finding(f"{name}: values that are or aren't NaN", float(misplaced), 0)
            last, mean = summary(kept.targets(space), kept.steps, context, ahead)
            plain = method.removesuffix(f" of {space}")
            if plain in (COPY, MEAN):
                apart = predicted - (last if plain == COPY else mean)
                yield Finding(name, float(np.abs(apart[asked]).max()))


def compare(kept: Kept, scores: dict[str, dict[tuple[str, int], Scores]]) -> list[Comparison]:
    """Every world model against the ridge regression of its space."""
    steps = kept.steps
    draws = draws_of(int(steps.problem.max()) + 1)
    found = []
    for method in scores:
        if not re.fullmatch(r"world model( .*)?", method):
            continue
        owner = f" of {kept.space(method)}" if kept.space(method) else ""
        for view, ours in scores[method].items():
            for figure, values in ours.values.items():
                rival = f"{RIDGE}{'' if figure == 'error' else ' for ranks'}{owner}"
                if view in scores.get(rival, {}):
                    theirs = scores[rival][view].values[figure]
                    apart = paired(values, theirs, steps.problem, draws)
                    found.append(Comparison(method, *view, figure, *apart))
    return found


@attrs.frozen
class Comparison:
    """A world model less ridge regression, with a 95 % interval."""

    method: str
    context: str
    ahead: int
    figure: str
    difference: float
    low: float
    high: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("latents", type=Path, help="folder of the shards")
    parser.add_argument("predictions", type=Path, help="file of `evaluate --predictions`")
    parser.add_argument(
        "--statements", type=Path, default=GSM8K, help="default: GSM8K's training set"
    )
    parser.add_argument("--json", type=Path, help="evaluation.json of the same evaluation")
    parser.add_argument("--no-ridge", action="store_true", help="fit none of our own")
    args = parser.parse_args()
    kept = Kept(args.predictions)
    if len(kept.steps.trace) > MOST_STEPS:
        sys.exit(
            f"the part has more than {MOST_STEPS} steps, which are ranked among a choice of them"
        )
    parts = read_latents(args.latents, args.statements)
    name = part_of(kept, parts)
    train = standardise(parts["train"], parts["train"])
    part = standardise({t[0]: parts[name][t[0]] for t in kept.steps.traces}, parts["train"])
    print(f"{name}: {len(part.steps.traces)} traces, {len(part.steps.trace)} steps")
    findings = list(check_made_anew(kept, part))
    if not args.no_ridge:
        chosen_on = (
            part if name == "validation" else standardise(parts["validation"], parts["train"])
        )
        findings += check_ridge(kept, train, chosen_on, part)
    scores = {
        method: {
            (context, ahead): Scores.of(
                kept.read(f"{method}/{context}/{ahead}"),
                kept.targets(kept.space(method)),
                kept.steps,
                context,
                ahead,
            )
            for context, ahead in kept.views(method)
        }
        for method in kept.methods()
    }
    show(scores)
    comparisons = compare(kept, scores)
    show_comparisons(comparisons)
    if args.json:
        findings += check_json(json.loads(args.json.read_text()), kept, scores, comparisons)
    for kind, some in (
        ("values", [f for f in findings if not f.what.endswith(" end")]),
        ("ends of intervals", [f for f in findings if f.what.endswith(" end")]),
    ):
        if some:
            worst = max(some, key=lambda finding: finding.apart)
            print(
                f"{len(some)} {kind} compared; largest difference {worst.apart:.2g}: {worst.what}"
            )
    wrong = [finding for finding in findings if finding.wrong]
    for finding in wrong:
        print(f"WRONG by {finding.apart:.3g}: {finding.what}")
    sys.exit(bool(wrong))


def check_json(
    evaluation: dict[str, Any],
    kept: Kept,
    scores: dict[str, dict[tuple[str, int], Scores]],
    comparisons: Sequence[Comparison],
) -> Iterator[Finding]:
    """Every figure of the evaluation's prediction tables is ours."""
    problem = kept.steps.problem
    draws = draws_of(int(problem.max()) + 1)
    compared = {(c.method, c.context, c.ahead, c.figure): c for c in comparisons}
    for one in evaluation["tables"]:
        place = re.match(r"prediction/(past|others)/(\d+)", one["name"])
        if not place:
            continue
        view = place[1], int(place[2])
        # A table of the target space of one world model names its baselines without it.
        spaces = {kept.space(line["method"]) for line in one["lines"]} - {""}
        owner = f" of {spaces.pop()}" if spaces else ""
        for line in one["lines"]:
            method = line["method"]
            for figure, theirs in line["figures"].items():
                name = FIGURES.get(figure)
                if name is None:
                    continue
                where = f"{one['name']}, {method}, {figure}"
                ranked = " for ranks" if method == RIDGE and name in RANKED else ""
                named = [f"{method}{ranked}{owner}", f"{method}{ranked}"]
                source = next((n for n in named if view in scores.get(n, {})), None)
                if source is None and line["of"]:
                    every = [
                        scores[n][view].figures()[name]
                        for n in line["of"]
                        if view in scores.get(n, {})
                    ]
                    if len(every) != len(line["of"]):
                        yield Finding(f"{where}: some have no predictions in the file", np.inf)
                        continue
                    high = (", the best of " in method) != (name == "error")
                    value = (max if high else min)(every)
                    yield Finding(where, abs(value - theirs["value"]), allowed_of(name, view, kept))
                    continue
                if source is None:
                    yield Finding(f"{where}: no such predictions in the file", np.inf)
                    continue
                ours = scores[source][view]
                apart = abs(ours.figures()[name] - theirs["value"])
                yield Finding(where, apart, allowed_of(name, view, kept))
                if name in ours.values:
                    values = ours.values[name]
                    bracket = paired(values, np.zeros_like(values), problem, draws)
                    yield from same_interval(where, bracket, theirs)
            for figure, theirs in line.get("differences", {}).get(RIDGE, {}).items():
                found = compared.get((method, *view, FIGURES.get(figure, "")))
                if found is not None:
                    where = f"{one['name']}, {method} less {RIDGE}, {figure}"
                    apart = abs(found.difference - theirs["value"])
                    yield Finding(where, apart, allowed_of(found.figure, view, kept))
                    mine = found.difference, found.low, found.high
                    yield from same_interval(where, mine, theirs)


def allowed_of(figure: str, view: tuple[str, int], kept: Kept) -> float:
    """Ranks may differ by one step more, as near to another as single precision can tell."""
    return TOLERANCE + (1 / kept.steps.asked(view[1]).sum() if figure in RANKED else 0)


def same_interval(
    where: str, ours: tuple[float, float, float], theirs: dict[str, float]
) -> Iterator[Finding]:
    """Both ends agree, as far as 2,000 draws of another generator can."""
    allowed = max(TOLERANCE, 0.1 * (ours[2] - ours[1]))
    yield Finding(f"{where}, low end", abs(ours[1] - theirs["low"]), allowed)
    yield Finding(f"{where}, high end", abs(ours[2] - theirs["high"]), allowed)


def show(scores: dict[str, dict[tuple[str, int], Scores]]) -> None:
    rows = []
    for method, views in scores.items():
        for (context, ahead), one in views.items():
            figures = one.figures()
            rows.append([context, ahead, method, *(f"{value:.4f}" for value in figures.values())])
    rows.sort(key=lambda row: (VIEWS.index((row[0], row[1])), row[2]))
    names = ["error", "explained", *(f"{m}, {pool}" for pool in POOLS for m in ("top-1", "MRR"))]
    print("\n" + table(["context", "ahead", "method", *names], rows))


def show_comparisons(comparisons: Sequence[Comparison]) -> None:
    rows = [
        [
            c.context,
            c.ahead,
            c.method,
            c.figure,
            f"{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}]",
        ]
        for c in comparisons
    ]
    print("\n" + table(["context", "ahead", "method", "figure", "less ridge regression"], rows))


if __name__ == "__main__":
    main()

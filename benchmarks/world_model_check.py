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
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from safetensors import safe_open

from reporting import table

PARTS = {8: "validation", 9: "test"}
VIEWS = (("past", 1), ("past", 2), ("past", 3), ("others", 1))
POOLS = ("all", "same place")
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
DRAWS = 2000
STRENGTHS = [10.0 ** (half / 2) for half in range(-2, 10)]
TOLERANCE = 1e-3
# How much worse than ours the file's ridge regression may be: its strengths are others.
SLACK = {"error": 1e-3, "top-1, all": 5e-3}
# The page ranks larger parts among a choice of steps, which it doesn't name to the letter.
MOST_STEPS = 20_000

Array = np.ndarray[Any, Any]
# Latents of the steps, and the prompt's.
Traces = tuple[Array, Array]


@attrs.frozen
class Steps:
    """The steps of several traces, one trace after the other."""

    traces: list[tuple[str, int, int]]

    @cached_property
    def lengths(self) -> Array:
        return np.array([length for _, _, length in self.traces])

    @cached_property
    def trace(self) -> Array:
        """The number of its trace, for each step."""
        return np.repeat(np.arange(len(self.traces)), self.lengths)

    @cached_property
    def number(self) -> Array:
        """Its place in its trace, from 0."""
        return np.concatenate([np.arange(length) for length in self.lengths])

    @cached_property
    def of(self) -> Array:
        """How many steps its trace has."""
        return np.repeat(self.lengths, self.lengths)

    @cached_property
    def problem(self) -> Array:
        problems = {name: at for at, name in enumerate(dict.fromkeys(t[0] for t in self.traces))}
        return np.array([problems[self.traces[at][0]] for at in self.trace])

    def asked(self, ahead: int) -> Array:
        """Steps with enough others before them to be predicted so far ahead."""
        return self.number >= ahead - 1

    def given(self, context: str, ahead: int) -> Array:
        """[step, step]: which steps a method is given for each."""
        same = self.trace[:, None] == self.trace[None]
        number, other = self.number[:, None], self.number[None]
        return same & (number != other if context == "others" else other <= number - ahead)

    def pool(self, name: str, context: str, ahead: int) -> Array:
        """[step, step]: among which steps each is looked for; itself is one of them."""
        if name == "all":
            return ~self.given(context, ahead)
        number, of = self.number, self.of
        return (number[:, None] == number[None]) & (of[:, None] == of[None])


@attrs.frozen
class Latents:
    """The traces of one part: latents of steps and prompts, standardised by train's."""

    steps: Steps
    targets: Array
    prompts: Array


def read_latents(folder: Path, statements: Path) -> dict[str, dict[str, Traces]]:
    """{part: {problem: (steps, prompt)}}, the split by the hash of the statement."""
    with statements.open(encoding="utf-8") as lines:
        questions = [json.loads(line)["question"] for line in lines]
    parts: dict[str, dict[str, Traces]] = {"train": {}, "validation": {}, "test": {}}
    for shard in sorted(folder.glob("*.safetensors")):
        with safe_open(shard, "numpy") as file:
            for name in sorted(file.keys()):
                if name.endswith("/prompt"):
                    continue
                question = questions[int(name.rsplit("-", 1)[1])]
                # The hash that a store's record keeps: the first half of the statement's SHA-256.
                digit = int(hashlib.sha256(question.encode()).hexdigest()[:32], 16) % 10
                pair = file.get_tensor(name), file.get_tensor(f"{name}/prompt")
                parts[PARTS.get(digit, "train")][name] = tuple(a.astype(np.float64) for a in pair)
    # Traces of one step are left out, in training as in the tables.
    return {
        part: {name: pair for name, pair in traces.items() if len(pair[0]) > 1}
        for part, traces in parts.items()
    }


def standardise(traces: dict[str, Traces], train: dict[str, Traces]) -> Latents:
    steps = np.concatenate([steps for steps, _ in train.values()])
    prompts = np.stack([prompt for _, prompt in train.values()])
    mine = Steps([(name, 0, len(steps)) for name, (steps, _) in traces.items()])
    return Latents(
        mine,
        (np.concatenate([a for a, _ in traces.values()]) - steps.mean(0)) / steps.std(0),
        ((np.stack([b for _, b in traces.values()]) - prompts.mean(0)) / prompts.std(0))[
            mine.trace
        ],
    )


# --- Figures ---


def squared_errors(predicted: Array, targets: Array) -> Array:
    return np.asarray(((predicted - targets) ** 2).mean(1))


def ranks(predicted: Array, targets: Array, pool: Array, rows: Array) -> Array:
    """The rank of each row's own target in its pool; NaN where nothing else is in it."""
    found = np.full(len(targets), np.nan)
    squares = (targets**2).sum(1)
    for some in np.array_split(np.flatnonzero(rows), max(1, len(targets) // 1000)):
        # Less the square of the prediction, which is the same for the whole row.
        far = squares - 2 * predicted[some] @ targets.T
        mine = far[np.arange(len(some)), some][:, None]
        tied = np.abs(far - mine) <= 1e-9 * squares.max()
        among = pool[some]
        closer = ((far < mine) & ~tied & among).sum(1)
        rank = closer + ((tied & among).sum(1) - 1) / 2 + 1
        found[some] = np.where(among.sum(1) > 1, rank, np.nan)
    return found


@attrs.frozen
class Scores:
    """What one method got in one view, step by step; NaN where a step doesn't count."""

    values: dict[str, Array]
    mean_square: float

    @classmethod
    def of(cls, predicted: Array, targets: Array, steps: Steps, context: str, ahead: int) -> Scores:
        asked = steps.asked(ahead)
        values = {"error": np.where(asked, squared_errors(predicted, targets), np.nan)}
        for pool in POOLS:
            rank = ranks(predicted, targets, steps.pool(pool, context, ahead), asked)
            values[f"top-1, {pool}"] = np.where(np.isnan(rank), np.nan, rank == 1)
            values[f"MRR, {pool}"] = 1 / rank
        return cls(values, float((targets[asked] ** 2).mean()))

    def figures(self) -> dict[str, float]:
        means = {name: float(np.nanmean(values)) for name, values in self.values.items()}
        return {
            "error": means.pop("error"),
            "explained": 1 - float(np.nanmean(self.values["error"])) / self.mean_square,
            **means,
        }


def draws_of(problems: int) -> Array:
    """[draw, problem]: how often each is drawn."""
    drawn = np.random.default_rng(0).integers(0, problems, (DRAWS, problems))
    return np.stack([np.bincount(draw, minlength=problems) for draw in drawn]).astype(float)


def paired(ours: Array, theirs: Array, problem: Array, draws: Array) -> tuple[float, float, float]:
    """Difference of two methods' means and its 95 % interval over problems."""
    counts = ~np.isnan(ours)
    sums = np.bincount(problem, np.where(counts, ours - theirs, 0), draws.shape[1])
    many = np.bincount(problem, counts, draws.shape[1])
    low, high = np.percentile((draws @ sums) / (draws @ many), [2.5, 97.5])
    return float(sums.sum() / many.sum()), float(low), float(high)


# --- Baselines of our own ---


def summary(targets: Array, steps: Steps, context: str, ahead: int) -> tuple[Array, Array]:
    """For each step the last step given before it and the mean of those given; 0 where none is."""
    last, mean = np.zeros_like(targets), np.zeros_like(targets)
    some = steps.number >= ahead
    last[some] = targets[np.flatnonzero(some) - ahead]
    for end, length in zip(np.cumsum(steps.lengths), steps.lengths, strict=True):
        own = targets[end - length : end]
        if context == "others":
            mean[end - length : end] = (own.sum(0) - own) / (length - 1)
        elif length > ahead:
            sums = np.cumsum(own[: length - ahead], 0)
            mean[end - length + ahead : end] = sums / np.arange(1, len(sums) + 1)[:, None]
    return last, mean


def inputs(latents: Latents, context: str, ahead: int) -> Array:
    """Last step given, mean of those given, prompt, whether there is one; from the others the next
    step as well, and whether there is one."""
    steps, targets = latents.steps, latents.targets
    last, mean = summary(targets, steps, context, ahead)
    columns = [last, mean, latents.prompts, (steps.number >= ahead)[:, None]]
    if context == "others":
        more = steps.number < steps.of - 1
        following = np.zeros_like(targets)
        following[more] = targets[np.flatnonzero(more) + 1]
        columns += [following, more[:, None]]
    return np.concatenate(columns, 1)[steps.asked(ahead)]


def spread_over(latents: Latents, rows: Array, predicted: Array) -> Array:
    whole = np.full(latents.targets.shape, np.nan)
    whole[rows] = predicted
    return whole


def ridges(
    train: Latents, parts: Sequence[Latents], context: str, ahead: int
) -> Iterator[list[Array]]:
    """What ridge regression of each of STRENGTHS predicts for each of the parts."""
    x, y = inputs(train, context, ahead), train.targets[train.steps.asked(ahead)]
    mean, spread, y_mean = x.mean(0), x.std(0), y.mean(0)
    x = (x - mean) / spread
    values, vectors = np.linalg.eigh(x.T @ x)
    right = vectors.T @ (x.T @ (y - y_mean))
    lefts = [(inputs(part, context, ahead) - mean) / spread @ vectors for part in parts]
    for strength in STRENGTHS:
        weights = right / (values + strength)[:, None]
        yield [
            spread_over(part, part.steps.asked(ahead), left @ weights + y_mean)
            for part, left in zip(parts, lefts, strict=True)
        ]


def check_ridge(
    kept: Kept, train: Latents, validation: Latents, part: Latents
) -> Iterator[Finding]:
    """The file's ridge regression is no weaker than one of our own."""
    for context, ahead in VIEWS:
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
                if source is None:
                    yield Finding(f"{where}: no such predictions in the file", np.inf)
                    continue
                ours = scores[source][view]
                yield Finding(where, abs(ours.figures()[name] - theirs["value"]))
                if name in ours.values:
                    values = ours.values[name]
                    bracket = paired(values, np.zeros_like(values), problem, draws)
                    yield from same_interval(where, bracket, theirs)
            for figure, theirs in line.get("differences", {}).get(RIDGE, {}).items():
                found = compared.get((method, *view, FIGURES.get(figure, "")))
                if found is not None:
                    where = f"{one['name']}, {method} less {RIDGE}, {figure}"
                    yield Finding(where, abs(found.difference - theirs["value"]))
                    mine = found.difference, found.low, found.high
                    yield from same_interval(where, mine, theirs)


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

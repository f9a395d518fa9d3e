"""Errors, ranks, intervals and ridge regression, as the protocol of the evaluation defines them.

Written from docs/explanation/evaluation-protocol.md for `world_model_check.py`, without the
evaluation's code. What the page leaves open and was guessed: the statement's hash is the one that a
store's record keeps, the first half of its SHA-256; the inputs of ridge regression are standardised
over the steps of train, its intercept isn't penalised, and from the others it is given the next
step too; mean and copy are 0, the mean of train, where no step is given.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from safetensors import safe_open

PARTS = {8: "validation", 9: "test"}
VIEWS = (("past", 1), ("past", 2), ("past", 3), ("others", 1))
POOLS = ("all", "same place")
DRAWS = 2000
STRENGTHS = [10.0 ** (half / 2) for half in range(-2, 10)]

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

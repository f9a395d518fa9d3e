"""Could the next step be found without any model? By the words of what stands before it.

    python benchmarks/next_step_words.py STORE PREDICTIONS [--write]

PREDICTIONS is what `rjepa-cli evaluate --store STORE --predictions FILE` kept of a part. Of each
step from its past alone: how often it is found first among all steps of the part but those before
it, and among the steps that follow in its own solution, where the topic gives nothing away. Words
are compared by TF-IDF (cosine of the statement and the steps so far with each candidate; the
frequencies are those of the train part); ties count half.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from safetensors import safe_open

from reporting import table, write_section
from rjepa_core import RecordKey, open_store
from rjepa_core.domain.problem import Split, split_of
from rjepa_core.domain.trace import Trace

Array = np.ndarray
WORDS = re.compile(r"[^\W\d_]+|\d[\d,]*(?:\.\d+)?")
DRAWS, SEED = 2000, 0
METHODS = {
    "world model": "world model/past/1",
    "ridge regression": "ridge regression for ranks/past/1",
    "copy of the previous step": "copy of the previous step/past/1",
}


class Words:
    """TF-IDF vectors as mappings of length 1."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._documents = len(texts)
        self._holding = Counter(word for text in texts for word in set(words(text)))

    def vector(self, text: str) -> dict[str, float]:
        counts = Counter(words(text))
        found = {
            word: (1 + math.log(n)) * math.log((1 + self._documents) / (1 + self._holding[word]))
            for word, n in counts.items()
        }
        norm = math.sqrt(sum(value * value for value in found.values())) or 1.0
        return {word: value / norm for word, value in found.items()}


def words(text: str) -> list[str]:
    return WORDS.findall(text.lower().replace(",", ""))


def similarities(traces: Sequence[Trace], known: Words) -> Array:
    """float64 [N, N]: of what stands before each step with every step of the part."""
    steps = [text for trace in traces for text in trace.step_texts]
    columns: dict[str, list[tuple[int, float]]] = {}
    for at, text in enumerate(steps):
        for word, value in known.vector(text).items():
            columns.setdefault(word, []).append((at, value))
    rows = []
    for trace in traces:
        before = trace.problem.statement
        for text in trace.step_texts:
            row = np.zeros(len(steps))
            for word, value in known.vector(before).items():
                for at, weight in columns.get(word, ()):
                    row[at] += value * weight
            rows.append(row)
            before += "\n" + text
    return np.stack(rows)


def found_first(scores: Array, lengths: Sequence[int]) -> Mapping[str, Array]:
    """Whether each step scores highest: 1, 0, or its share of a tie; float64 [N] by pool. In its
    own solution NaN for the last step, which nothing else follows."""
    starts = np.repeat(np.cumsum([0, *lengths[:-1]]), lengths)
    ends = starts + np.repeat(lengths, lengths)
    everywhere, within = np.zeros(len(scores)), np.full(len(scores), np.nan)
    for at, row in enumerate(scores):
        rest = row[at : ends[at]]
        if len(rest) > 1:
            within[at] = first(rest, 0)
        candidates = np.concatenate([row[: starts[at]], rest, row[ends[at] :]])
        everywhere[at] = first(candidates, starts[at])
    return {"all": everywhere, "own": within}


def first(scores: Array, true: int) -> float:
    best = scores.max()
    return float(scores[true] >= best) / max(1, int((scores >= best).sum()))


def interval(values: Array, problems: Array) -> str:
    """The mean, and where 95 % of the draws of problems have theirs."""
    kept = ~np.isnan(values)
    sums = np.bincount(problems[kept], values[kept], problems.max() + 1)
    sizes = np.bincount(problems[kept], minlength=problems.max() + 1)
    drawn = np.random.default_rng(SEED).integers(0, len(sums), (DRAWS, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
    return f"{values[kept].mean():.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("predictions")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    chosen = parser.parse_args()
    with open_store(chosen.store) as store, safe_open(chosen.predictions, "numpy") as kept:
        order = json.loads(kept.metadata()["traces"])
        traces = [store.get(RecordKey(key, sample)).trace for key, sample, _ in order]
        train = [
            text
            for record in store
            if split_of(record.trace.problem.statement_hash) is Split.TRAIN
            for text in (record.trace.problem.statement, *record.trace.step_texts)
        ]
        lengths = [steps for _, _, steps in order]
        targets = kept.get_tensor("targets")
        scores = {name: near(kept.get_tensor(place), targets) for name, place in METHODS.items()}
    scores["words"] = similarities(traces, Words(train))
    number = {key: at for at, key in enumerate(dict.fromkeys(key for key, _, _ in order))}
    problems = np.repeat([number[key] for key, _, _ in order], lengths)
    rows = []
    for name, score in scores.items():
        found = found_first(score, lengths)
        rows.append([name, interval(found["all"], problems), interval(found["own"], problems)])
    left = np.concatenate([np.arange(length, 0, -1) for length in lengths])
    guesses = interval(np.where(left > 1, 1 / left, np.nan), problems)
    rows.append(["*chance*", f"{1 / len(left):.4f}", guesses])
    text = (
        f"Top-1 of each next step from its past alone; {len(left):,} steps of {len(number):,} "
        f"problems; the second column leaves out the {len(lengths):,} last steps. Brackets: 95 % "
        f"intervals over problems, {DRAWS:,} draws. Measured after the test part had been looked "
        "at; nothing was chosen by it.\n\n"
    )
    text += table(["", "among all steps", "among those that follow in its solution"], rows)
    print(text)
    if chosen.write:
        command = "python benchmarks/next_step_words.py STORE PREDICTIONS"
        write_section("next-step-words", "The next step, found by words", text, command)


def near(predictions: Array, targets: Array) -> Array:
    """Minus squared distances: float64 [N, N]."""
    given, all_of = predictions.astype(np.float64), targets.astype(np.float64)
    return 2.0 * given @ all_of.T - (all_of**2).sum(1)[None]


if __name__ == "__main__":
    main()

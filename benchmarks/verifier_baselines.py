"""What a verifier has to beat: text alone, and log-probability with length, on its own labels."""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from verifier_data import Array, Solution
from verifier_runs import Said, of_steps

# Of the squared weights, halved, against the sum of the losses; chosen on validation.
PENALTIES = (0.1, 1.0, 10.0, 100.0)
_BUCKETS = 2**16
_TOKENS = re.compile(r"\w+|[^\w\s]")


def ngrams(text: str) -> list[int]:
    """Buckets of a text's words and pairs of words, each once."""
    words = _TOKENS.findall(text.lower())
    pairs = [f"{one} {other}" for one, other in itertools.pairwise(words)]
    return sorted({zlib.crc32(one.encode()) % _BUCKETS for one in [*words, *pairs]})


def count_features(texts: Sequence[str]) -> torch.Tensor:
    """Sparse [N, buckets]; rows have length 1."""
    rows, columns, values = [], [], []
    for row, text in enumerate(texts):
        found = ngrams(text)
        rows += [row] * len(found)
        columns += found
        values += [len(found) ** -0.5] * len(found)
    place = torch.tensor([rows, columns])
    size = len(texts), _BUCKETS
    return torch.sparse_coo_tensor(place, values, size, check_invariants=True).coalesce().float()


@attrs.frozen(eq=False)
class Logistic:
    """Weights of a logistic regression, and how features are standardised."""

    weight: torch.Tensor
    bias: torch.Tensor
    mean: Array
    spread: Array

    def logits(self, features: Any) -> Array:
        if isinstance(features, np.ndarray):
            features = torch.tensor((features - self.mean) / self.spread, dtype=torch.float32)
        return np.asarray((features @ self.weight + self.bias).numpy(), np.float64)


def fit(
    train: tuple[Any, Array], validation: tuple[Any, Array], penalties: Sequence[float] = PENALTIES
) -> Logistic:
    """A logistic regression by L-BFGS; the penalty is the one with the least log loss on
    validation."""
    features, positive = train
    mean, spread = np.zeros(1), np.ones(1)
    if isinstance(features, np.ndarray):
        mean, spread = features.mean(0), np.maximum(features.std(0), 1e-9)
        features = torch.tensor((features - mean) / spread, dtype=torch.float32)
    labels = torch.tensor(positive, dtype=torch.float32)
    best: tuple[float, Logistic] | None = None
    for penalty in penalties:
        weight = torch.zeros(features.shape[1], requires_grad=True)
        bias = torch.zeros((), requires_grad=True)
        search = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

        def step(
            search: torch.optim.LBFGS = search,
            weight: torch.Tensor = weight,
            bias: torch.Tensor = bias,
            penalty: float = penalty,
        ) -> torch.Tensor:
            search.zero_grad()
            logits = torch.mv(features, weight) + bias
            loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
            loss = loss + penalty * (weight**2).sum() / 2
            loss.backward()
            return loss

        search.step(step)
        made = Logistic(weight.detach(), bias.detach(), mean, spread)
        found = made.logits(validation[0])
        loss = float(np.mean(np.logaddexp(0, np.where(validation[1], -found, found))))
        if best is None or loss < best[0]:
            best = (loss, made)
    assert best is not None
    return best[1]


def step_numbers(one: Solution) -> Array:
    """Log-probability and length of each step, its place, and those of the whole: [S, F]."""
    lp, tokens, count = one.logprobs, one.tokens, len(one.tokens)
    place = np.arange(count)
    columns = [lp, lp - lp.mean(), tokens, tokens - tokens.mean(), place, place == count - 1]
    whole = [np.full(count, x) for x in (lp.mean(), lp.min(), count)]
    return np.stack([*columns, *whole], 1).astype(float)


def whole_numbers(one: Solution) -> Array:
    """[F]: mean, least and last log-probability, tokens, steps."""
    lp, tokens = one.logprobs, one.tokens
    return np.array([lp.mean(), lp.min(), lp[-1], tokens.sum(), len(tokens)], float)


@attrs.frozen(eq=False)
class Trained:
    """A cheap method trained on a verifier's labels: steps and wholes apart.

    Attributes:
        steps, whole: solutions to scores; higher is more probably wrong.
    """

    steps: Callable[[Sequence[Solution]], list[Array]] | None
    whole: Callable[[Sequence[Solution]], Array]


def _known_steps(solutions: Sequence[Solution]) -> tuple[list[tuple[Solution, int]], Array]:
    pairs = [(one, at) for one in solutions for at in np.flatnonzero(~np.isnan(one.wrong))]
    return pairs, np.array([one.wrong[at] == 1 for one, at in pairs])


def _wrong(solutions: Sequence[Solution]) -> Array:
    return np.array([not one.right for one in solutions])


def train_ngrams(train: Sequence[Solution], validation: Sequence[Solution]) -> Trained:
    """Text alone."""

    def wholes(solutions: Sequence[Solution]) -> torch.Tensor:
        return count_features(["\n".join(one.steps) for one in solutions])

    whole = fit((wholes(train), _wrong(train)), (wholes(validation), _wrong(validation)))
    parts = [_known_steps(some) for some in (train, validation)]
    steps = None
    if all(0 < labels.sum() < len(labels) for _, labels in parts):
        texts = [count_features([one.steps[at] for one, at in pairs]) for pairs, _ in parts]
        model = fit(*((x, labels) for x, (_, labels) in zip(texts, parts, strict=True)))

        def steps(solutions: Sequence[Solution]) -> list[Array]:
            flat = model.logits(count_features([text for one in solutions for text in one.steps]))
            return np.split(flat, np.cumsum([len(one.steps) for one in solutions])[:-1])

    return Trained(steps, lambda solutions: whole.logits(wholes(solutions)))


def train_numbers(train: Sequence[Solution], validation: Sequence[Solution]) -> Trained:
    """Log-probability and length."""

    def wholes(solutions: Sequence[Solution]) -> Array:
        return np.stack([whole_numbers(one) for one in solutions])

    whole = fit((wholes(train), _wrong(train)), (wholes(validation), _wrong(validation)))
    parts = [_known_steps(some) for some in (train, validation)]
    steps = None
    if all(0 < labels.sum() < len(labels) for _, labels in parts):
        tables = [np.stack([step_numbers(one)[at] for one, at in pairs]) for pairs, _ in parts]
        model = fit(*((x, labels) for x, (_, labels) in zip(tables, parts, strict=True)))

        def steps(solutions: Sequence[Solution]) -> list[Array]:
            return [model.logits(step_numbers(one)) for one in solutions]

    return Trained(steps, lambda solutions: whole.logits(wholes(solutions)))


def without_training(solutions: Sequence[Solution]) -> dict[str, Said]:
    """Words and numbers from nowhere, false equations, length, log-probability."""
    tokens = {"sum": np.array([one.tokens.sum() for one in solutions])}
    return {
        "lexical": of_steps([one.lexical for one in solutions]),
        "equations": of_steps([one.equations for one in solutions]),
        "number of tokens": of_steps([one.tokens for one in solutions], tokens),
        "log-probability": of_steps([-np.asarray(one.logprobs, float) for one in solutions]),
    }


def trained_on(
    train: Sequence[Solution], validation: Sequence[Solution], judged: Sequence[Solution]
) -> dict[str, Said]:
    """What the cheap methods say that learn from a verifier's labels."""
    found = {}
    for title, fit_it in (
        ("n-grams", train_ngrams),
        ("log-probability and length", train_numbers),
    ):
        made = fit_it(train, validation)
        whole = {"whole": made.whole(judged)}
        found[title] = (
            Said(None, whole) if made.steps is None else of_steps(made.steps(judged), whole)
        )
    return found

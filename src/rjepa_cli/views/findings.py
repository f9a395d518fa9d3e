"""What a world model found in solutions that were tampered with, beside what is cheaper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rjepa_core.evaluation.lexical import strange_words
from rjepa_core.evaluation.statistics import named
from rjepa_core.ports.world_model import Floats
from rjepa_core.scoring import HIGH_PERCENTILE, ScoredTrace
from rjepa_core.text import count

from .solution import WIDTH, above, stands_out, wrapped


def findings(read: Sequence[tuple[ScoredTrace, Floats]]) -> Iterator[str]:
    """Say of each solution, and of all together, how the foreign step stands in it."""
    tampered = [pair for pair in read if "foreign" in pair[0].trace.problem.metadata]
    clean = [one for one, _ in read if "clean" in one.trace.problem.metadata]
    for one, _ in tampered:
        at, found = _foreign(one), int(one.surprise.argmax())
        place = "" if one.percentiles is None else f", {above(one.percentiles[at])}"
        yield (
            f"  {one.trace.problem.id:<8} foreign: step {at + 1} of {len(one.surprise)}{place}; "
            f"largest: step {found + 1}{'' if at == found else ', not it'}"
        )
    every, high = len(tampered), f"above {HIGH_PERCENTILE:.0f} %"
    largest = sum(named(one.surprise, _foreign(one)) for one, _ in tampered)
    out = sum(stands_out(one, _foreign(one)) for one, _ in tampered)
    clean_out = sum(stands_out(one, i) for one in clean for i in range(len(one.surprise)))
    steps = sum(len(one.surprise) for one in clean)
    yield from wrapped(
        f"The foreign step is the largest in {largest:.0f} of {every}, and {high} (where it "
        f"stands out) in {out} of {every}; of {count(steps, 'step')} of the clean ones, "
        f"{clean_out} {'is' if clean_out == 1 else 'are'} {high}.",
        WIDTH,
    )
    guessed = sum(1 / len(one.surprise) for one, _ in tampered)
    words = sum(named(strange_words(one.trace), _foreign(one)) for one, _ in tampered)
    unlikely = sum(named(-logprobs, _foreign(one)) for one, logprobs in tampered)
    yield from wrapped(
        f"Largest by other means: guessing {guessed:.2g} of {every}, counting words that stand "
        f"nowhere else {words:.2g}, the LLM's own log-probability {unlikely:.2g}. These are easy "
        "ones, made by hand. How often a foreign step of GSM8K is named stands on the world "
        "model's card, which README links: counting words and the log-probability do better.",
        WIDTH,
    )


def sums(scored: list[ScoredTrace]) -> Iterator[str]:
    """Say what a wrong sum is worth beside the right one, of solutions that differ in it alone."""
    steps = [int(one.trace.problem.metadata["sum"]) - 1 for one in scored]
    texts = [(one.trace.step_texts or ("",) * 9)[at] for one, at in zip(scored, steps, strict=True)]
    values = [float(one.surprise[at]) for one, at in zip(scored, steps, strict=True)]
    yield "What it cannot see is whether a sum is right:"
    for text, value in zip(texts, values, strict=True):
        yield f"  {value:.2f}  {text.strip()}"


def _foreign(one: ScoredTrace) -> int:
    """Return the place of the foreign step, from 0."""
    return int(one.trace.problem.metadata["foreign"]) - 1

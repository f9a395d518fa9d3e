"""Samples that a world model refuses: they are left out, by name, and the rest is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ..domain.trace import RecordKey
from ..errors import InputError
from ..ports.world_model import Context, WorldModel
from ..scoring import reason_of, surprise_each
from .corpus import Sample
from .damage import Reading
from .methods import in_length_order
from .settings import EvaluateSettings

A = TypeVar("A")


class LeftOut:
    """What is left out, and why. Nobody is asked before something was refused.

    Args:
        models: world models by name.
        asked: what is evaluated.
    """

    def __init__(self, models: Mapping[str, WorldModel], asked: EvaluateSettings) -> None:
        self._models, self._asked = models, asked
        self._samples: set[int] = set()
        self.reasons: dict[RecordKey, str] = {}

    def add_too_long(self, records: Mapping[RecordKey, int]) -> None:
        """Records that are not read at all, and their steps."""
        most = self._asked.max_steps
        for key, steps in records.items():
            self.reasons[key] = f"{steps:,} steps, evaluate.max_steps is {most:,}"

    def attempt(self, make: Callable[[], A], used: Callable[[], Sequence[Sample]]) -> A:
        """What `make` makes; once more, without the samples that are refused, where some are.

        Raises:
            InputError: it was not about one of them, or none is left.
        """
        try:
            return make()
        except InputError:
            samples = used()
            if not self._find(samples):
                raise
        if not self.kept(samples):
            raise InputError(f"all {len(samples):,} records are refused: {self._first()}")
        return make()

    def kept(self, samples: Sequence[Sample]) -> list[Sample]:
        """Those that are not left out."""
        return [sample for sample in samples if id(sample) not in self._samples]

    def kept_readings(self, readings: Sequence[Reading]) -> list[Reading]:
        """Those that are not left out."""
        return [one for one in readings if id(one.sample) not in self._samples]

    def _find(self, samples: Sequence[Sample]) -> bool:
        """Ask on each sample by itself; whether some are refused that were not before."""
        before = len(self._samples)
        sequences = [sample.sequence for sample in samples]
        for places in in_length_order(sequences, self._asked.batch_size):
            for model in self._models.values():
                for context in Context:
                    rows = surprise_each(model, [sequences[i] for i in places], context)
                    for i, row in zip(places, rows, strict=True):
                        if isinstance(row, InputError):
                            self._samples.add(id(samples[i]))
                            self.reasons[samples[i].trace.key] = reason_of(row)
        return len(self._samples) > before

    def _first(self) -> str:
        key, reason = next(iter(self.reasons.items()))
        return f"{key}: {reason}"

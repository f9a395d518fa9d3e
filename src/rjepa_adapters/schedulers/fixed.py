"""The fixed scheduler: always the same batch size."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from attrs import validators as v

from rjepa_core.plugins import SchedulerAdapter, hookimpl
from rjepa_core.ports.backend import InFlight, Observation, Room


@attrs.frozen(kw_only=True)
class FixedSettings:
    """Settings of the fixed scheduler.

    Attributes:
        batch_size: rows generated at a time.
        encode_tokens: most tokens of one encoding batch, including padding, also of given
            solutions.
    """

    batch_size: int = attrs.field(default=8, validator=v.ge(1))
    encode_tokens: int = attrs.field(default=4096, validator=v.ge(1))


class FixedScheduler:
    """A scheduler with room for `batch_size` rows at any time.

    A batch that ran out of memory is halved until it fits; the size is restored once as many rows
    as fitted have ended, so that an engine that gives all its rows back makes progress. An encoding
    batch that ran out of memory lowers the encoding tokens for the rest of the run.
    """

    def __init__(self, settings: FixedSettings) -> None:
        self._size = settings.batch_size
        self._retry_size = settings.batch_size
        self._ended = 0
        self._encode_tokens = settings.encode_tokens

    def room(self, in_flight: InFlight) -> Room:
        return Room(
            rows=max(0, self._retry_size - in_flight.rows),
            tokens=None,
            given_tokens=max(0, self._encode_tokens - in_flight.given_tokens),
            encode_tokens=self._encode_tokens,
        )

    def observe(self, observation: Observation) -> None:
        if observation.phase == "encode":
            if observation.out_of_memory:
                tried = min(self._encode_tokens, observation.prompt_tokens)
                self._encode_tokens = max(1, tried // 2)
        elif observation.out_of_memory:
            self._retry_size = max(1, min(self._size, observation.rows) // 2)
            self._ended = 0
        else:
            self._ended += observation.rows if observation.ended is None else observation.ended
            if self._ended >= self._retry_size:
                self._retry_size = self._size


@hookimpl
def rjepa_schedulers() -> Iterable[SchedulerAdapter]:
    return [
        SchedulerAdapter(
            name="fixed",
            summary="the same number of rows every time",
            settings=FixedSettings,
            create=FixedScheduler,
        )
    ]

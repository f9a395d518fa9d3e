"""Find stored steps near a prediction, to show as text what a world model expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import attrs
import numpy as np
from numpy.typing import NDArray

from ..domain.trace import RecordKey
from ..errors import InputError
from ..ports.store import LatentStore
from ..ports.world_model import Floats, WorldModel
from ..stores import layer_in
from .surprise import call_each, in_batches, reason_of
from .text_encoder import sequence_of

MOST_STEPS = 200_000


@attrs.frozen
class Near:
    """A stored step near a prediction.

    Attributes:
        key: of its record.
        step: index among the record's steps.
        distance: mean over E of the squared difference from the prediction, in target space.
    """

    key: RecordKey
    step: int
    distance: float


class NearestSteps:
    """The targets of a store's steps, searched by squared distance.

    They are held as float16, which takes E × 2 bytes per step.

    Args:
        keys: of the records.
        records: int32 [N], the index of each step's record in `keys`.
        steps: int32 [N], the index of each step in its record.
        targets: float16 [N, E].
        refused: records that the world model refused, and why.
    """

    def __init__(
        self,
        keys: Sequence[RecordKey],
        records: NDArray[np.int32],
        steps: NDArray[np.int32],
        targets: NDArray[np.float16],
        refused: Mapping[RecordKey, str] | None = None,
    ) -> None:
        self.refused = refused or {}
        self._keys, self._records, self._steps, self._targets = keys, records, steps, targets
        # Of the rounded rows, so that a distance is not negative.
        self._squares = _in_parts(targets, lambda part: np.square(part).sum(1))

    def __len__(self) -> int:
        return len(self._steps)

    @classmethod
    def of(
        cls, store: LatentStore, world_model: WorldModel, most: int = MOST_STEPS
    ) -> NearestSteps:
        """Return the targets of a store's first steps, at most `most`, in the order of its keys.

        Raises:
            IdentityError: the store is of another latent space than the world model.
        """
        info = world_model.info
        layer = layer_in(store, info.space, info.location)
        keys: list[RecordKey] = []
        records: list[int] = []
        steps: list[int] = []
        targets: list[NDArray[np.float16]] = []
        refused: dict[RecordKey, str] = {}
        waiting = (key for key, entry in store.entries() if not entry.failed)
        read = ((key, sequence_of(store.get(key), layer)) for key in waiting)
        for batch in in_batches(read, lambda item: len(item[1].latents)) if most else ():
            rows = call_each(world_model.targets, [sequence for _, sequence in batch])
            for (key, _), row in zip(batch, rows, strict=True):
                if isinstance(row, InputError):
                    refused[key] = reason_of(row)
                    continue
                with np.errstate(over="ignore"):
                    kept = row[: most - len(steps)].astype(np.float16)
                if not np.isfinite(kept).all():
                    refused[key] = "the values of its targets are too large"
                    continue
                records += [len(keys)] * len(kept)
                steps += range(len(kept))
                keys.append(key)
                targets.append(kept)
            if len(steps) >= most:
                break
        width = info.target_size
        joined = np.concatenate(targets) if targets else np.empty((0, width), np.float16)
        return cls(keys, np.array(records, np.int32), np.array(steps, np.int32), joined, refused)

    def find(self, prediction: Floats, count: int) -> list[Near]:
        """Return the `count` steps nearest to a prediction [E], the nearest first."""
        return list(islice(self.by_distance(prediction), max(0, count)))

    def by_distance(self, prediction: Floats) -> Iterator[Near]:
        """Yield all steps, the nearest to a prediction [E] first."""
        if not len(self):
            return
        wanted = prediction.astype(np.float32)
        products = _in_parts(self._targets, lambda part: part @ wanted)
        distances = (self._squares - 2 * products + wanted @ wanted) / len(wanted)
        for i in np.argsort(distances, kind="stable"):
            key, step = self._keys[self._records[i]], int(self._steps[i])
            yield Near(key, step, max(0.0, float(distances[i])))


def _in_parts(
    targets: NDArray[np.float16], call: Callable[[Floats], Floats], size: int = 8192
) -> Floats:
    """Return float32 [N]: `call` applied to the rows, converted to float32 in parts."""
    parts = [
        call(targets[begin : begin + size].astype(np.float32))
        for begin in range(0, len(targets), size)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)

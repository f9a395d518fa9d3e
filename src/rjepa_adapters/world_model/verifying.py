"""What a run of a verifier has besides: labels to learn from, and a world model to read from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rjepa_core.domain.identity import check_space
from rjepa_core.errors import InputError, UsageError
from rjepa_core.evaluation.statistics import auroc
from rjepa_core.plugins import Registry, locate_world_model
from rjepa_core.ports.world_model import TrainWatch
from rjepa_core.settings import TrainSettings
from rjepa_core.text import count
from rjepa_core.training.labels import OTHER_KIND, UNGRADED, UNLABELLED

from ..hub.fetch import local_run
from . import checkpoint
from .calibration import Judged, better_than_chance
from .dataset import LatentDataset
from .index import Index
from .inference import find_checkpoint
from .network import Network, VerifierFacts
from .run_state import RunState, read_state
from .tasks import judged, measure_scalars, ordered
from .validation import look, sample

_UNUSED = {
    UNLABELLED: "without a label or grade",
    UNGRADED: "that could not be graded",
    OTHER_KIND: "of kinds that data.damage leaves out",
}


@attrs.frozen(eq=False)
class Base:
    """The trained run whose world model a verifier reads from.

    Attributes:
        location: of the run.
        state: of its best checkpoint.
        model: the tensors of its world model.
    """

    location: str
    state: RunState
    model: dict[str, Tensor]

    @classmethod
    def named(cls, location: str | None, warn: Callable[[str], None]) -> Base | None:
        """The run there, or the pretrained one of that name; None for none.

        Raises:
            UsageError: it is no run.
        """
        if location is None:
            return None
        try:
            named = locate_world_model(location, Registry())[1]
        except InputError:
            named = location
        place = Path(local_run(named))
        if not checkpoint.steps(place):
            raise UsageError(f"model.world_model: {location} holds no trained run")
        found = find_checkpoint(place, warn)
        return cls(location, read_state(found), found.model)

    @property
    def settings(self) -> TrainSettings:
        """Of its world model."""
        other = self.state.verifier and self.state.verifier.world_model
        return (other or self.state.settings).predicting

    @property
    def quantiles(self) -> dict[int, list[float]]:
        """Of its surprise."""
        return {int(steps): list(values) for steps, values in self.state.quantiles.items()}

    def check(self, data: Index) -> None:
        """Refuse data of another latent space (`IdentityError`)."""
        stores = ", ".join(part.location for part in data.stores)
        check_space(data.space, self.state.space, stores, f"model.world_model {self.location}")


def tell_labels(part: str, data: Index, watch: TrainWatch) -> None:
    """Say what a part is learned from, and warn of what it is not.

    Raises:
        UsageError: all that is known is that all of it is right, or all of it wrong.
    """
    found = data.supervision
    assert found is not None
    if not 0 < np.nansum(found.right) < (~np.isnan(found.right)).sum():
        which = "right" if np.nansum(found.right) else "wrong"
        raise UsageError(
            f"{', '.join(one.location for one in data.stores)}: all {len(data):,} solutions of the "
            f"{part} part are {which}; a verifier needs right and wrong ones"
        )
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in found.kinds.items())
    watch.say(f"{part} part: {kinds}")
    unused = [f"{number:,} {_UNUSED[reason]}" for reason, number in data.unused.items()]
    if unused:
        watch.warn(f"{part} part: left out: {'; '.join(unused)}")


def verifier_facts(
    settings: TrainSettings, data: Index, held_out: Index, base: Base | None, watch: TrainWatch
) -> VerifierFacts:
    """What the verifier of a new run sees.

    Raises:
        UsageError: it is to see log-probabilities that are not there.
    """
    missing, records = 0, len(data) + len(held_out)
    for one in (data, held_out):
        assert one.supervision is not None
        missing += one.supervision.without_logprobs
    asked = settings.model.logprobs
    if missing and asked:
        raise UsageError(
            f"model.logprobs: {missing:,} of {count(records, 'record')} have no log-probabilities; "
            "encode them with encoding.logprobs, or set model.logprobs to false"
        )
    if 0 < missing < records and asked is None:
        watch.warn(
            f"log-probabilities are not used: {missing:,} of {count(records, 'record')} have none"
        )
    model, logprobs = settings.model, not missing if asked is None else asked
    if not (logprobs or model.latents or model.surprise):
        raise UsageError(
            f"model.latents false, model.surprise false: {missing:,} of {count(records, 'record')} "
            "have no log-probabilities, and a verifier needs something to go by"
        )
    return VerifierFacts(
        logprobs=logprobs,
        world_model=None if base is None else base.settings,
    )


def right_ones(data: Index) -> NDArray[np.int64]:
    """Places of the solutions that are known to be right; all, where no labels are read."""
    if data.supervision is None:
        return np.arange(len(data))
    return np.flatnonzero(data.supervision.right == 1.0)


def prepare(
    network: Network,
    training: LatentDataset,
    validation: LatentDataset,
    quantiles: dict[int, list[float]],
    device: torch.device,
) -> dict[int, list[float]]:
    """Standardise what the verifier sees; return the percentiles of the world model's surprise, if
    need be those of the right solutions of the validation part."""
    with closing(ordered(training)) as batches:
        measure_scalars(network, batches, device)
    if quantiles:
        return quantiles
    right = right_ones(validation.index)
    chosen = right[sample(validation.index.steps[right], 0)]
    rest = np.setdiff1d(right, chosen)
    return look(network, ordered(validation, chosen), ordered(validation, rest), device).quantiles


def best_judged(run: Path, validation: LatentDataset, device: torch.device) -> Judged:
    """What the best checkpoint says of the validation part, calibrated."""
    found = find_checkpoint(run, lambda line: None)
    state = read_state(found)
    domains = len(state.domains)
    network = Network.of(state.settings, found.model, domains, state.verifier).to(device)
    verifier = network.verifier
    assert verifier is not None
    seen = judged(network, ordered(validation), device)
    slope, shift = verifier.slope.tolist(), verifier.shift.tolist()
    return Judged(
        (slope[0] * seen.steps[0] + shift[0], seen.steps[1]),
        (slope[1] * seen.answers[0] + shift[1], seen.answers[1]),
    )


def tell_chance(found: Judged, watch: TrainWatch) -> None:
    """Warn of what is told from nothing."""
    for name, (logits, wrong) in (("steps", found.steps), ("answers", found.answers)):
        if 0 < wrong.sum() < len(wrong) and not better_than_chance(logits, wrong):
            watch.warn(
                f"wrong {name} are not told from right ones: AUROC {auroc(logits, wrong):.3f} on "
                f"the validation part, where guessing gives 0.5; do not rely on what it says of "
                f"{name}"
            )

"""A trained run as a world model: predictions, surprise, embeddings, checked and in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from rjepa_core.errors import InputError, UnsupportedError, UsageError
from rjepa_core.ports.world_model import (
    Context,
    Floats,
    LatentSequence,
    ShownWorldModel,
    TargetSpace,
    Verification,
    WorldModelInfo,
    check_ahead,
    check_sequences,
    check_verifies,
)
from rjepa_core.scoring import check_finite
from rjepa_core.settings import TrainSettings

from . import checkpoint
from .checkpoint import DamagedCheckpointError
from .masks import split
from .network import Network
from .prediction import (
    MOST_STEPS,
    predict_each,
    predict_masked,
    surprise,
)
from .run_state import check_fits, check_values, read_state

# Steps of one batch of equally long traces, at most; or of a part of a trace.
_STEPS = 8192


class JepaWorldModel(ShownWorldModel):
    """Fills `rjepa_core.ports.world_model.WorldModel` from a run's best checkpoint.

    Args:
        run: the run's folder.
        device: `auto`, `cpu`, `cuda`, ….
        warn: told if the best checkpoint is damaged and another one is used.

    Raises:
        UsageError: it is no run, or no checkpoint of it is whole.
    """

    def __init__(
        self, run: str, device: str = "auto", warn: Callable[[str], None] = lambda line: None
    ) -> None:
        found = find_checkpoint(Path(run), warn)
        state = read_state(found)
        settings = self.settings = state.settings
        self._domains = list(state.domains)
        self._device = device_of(device)
        network = Network.of(settings, found.model, len(self._domains), state.verifier)
        self._network = network.to(self._device)
        self._network.eval().requires_grad_(False)
        model = self._model = self._network.settings.model
        configuration = configuration_of(settings)
        self.info = WorldModelInfo(
            location=run,
            space=state.space,
            hidden_size=len(self._network.step_mean),
            target_size=self._network.jepa.target_size,
            target_space=TargetSpace.MODEL if model.own_targets else TargetSpace.LLM,
            objective=settings.model.objective,
            quantiles={int(steps): values for steps, values in state.quantiles.items()},
            compared={int(steps): traces for steps, traces in state.compared.items()},
            problems=state.problems,
            horizon=MOST_STEPS,
            seed=settings.training.seed,
            network=model.network,
            configuration=configuration,
            verifies=state.verifier is not None,
            needs_logprobs=state.verifier is not None and state.verifier.logprobs,
        )

    def predict(
        self,
        sequences: Sequence[LatentSequence],
        context: Context = Context.OTHERS,
        ahead: int = 1,
    ) -> list[Floats]:
        check_ahead(self.info, context, ahead)
        return self._by_length(
            sequences,
            lambda steps, prompt, domain: predict_each(
                self._network.jepa, steps, prompt, domain, context, ahead=ahead
            ),
        )

    def predict_masked(
        self, sequences: Sequence[LatentSequence], masked: Sequence[Sequence[int]]
    ) -> list[Floats]:
        check_sequences(sequences)
        if len(masked) != len(sequences):
            raise InputError(f"{len(sequences)} sequences, but masks for {len(masked)}")
        found = []
        for number, (sequence, hidden) in enumerate(zip(sequences, masked, strict=True)):
            count = len(sequence.latents)
            places = sorted(set(hidden))
            if not places or len(places) != len(hidden) or places[0] < 0 or places[-1] >= count:
                raise InputError(
                    f"sequence {number}: masked steps {list(hidden)} are not different steps of "
                    f"0 to {count - 1}"
                )
            mask = split(torch.tensor([places]), count)
            made = self._by_length(
                [sequence],
                lambda steps, prompt, domain, mask=mask: predict_masked(
                    self._network.jepa, steps, prompt, domain, mask
                ),
                number,
            )[0]
            found.append(made[np.argsort(np.argsort(np.asarray(hidden)))])
        return found

    def targets(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        check_sequences(sequences)

        def of(steps: Tensor, prompt: Tensor, domain: Tensor) -> Tensor:
            # Each step by itself.
            pieces = torch.split(steps, _STEPS, 1)
            return torch.cat([self._network.targets(piece) for piece in pieces], 1)

        if self._model.domains:
            # Nor does a target depend on its problem's domain.
            sequences = [attrs.evolve(one, domain=self._domains[0]) for one in sequences]
        return self._by_length(sequences, of, most_steps=None)

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        def of(steps: Tensor, prompt: Tensor, domain: Tensor) -> Tensor:
            made = predict_each(self._network.jepa, steps, prompt, domain, context)
            return surprise(made, self._network.targets(steps), self._network.target_std)

        return self._by_length(sequences, of)

    def embeddings(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        def of(steps: Tensor, prompt: Tensor, domain: Tensor) -> Tensor:
            return self._network.jepa.embed(steps, prompt, domain)

        return self._by_length(sequences, of)

    def verify(self, sequences: Sequence[LatentSequence]) -> list[Verification]:
        check_verifies(self.info, sequences)
        verifier = self._network.verifier
        assert verifier is not None

        def of(latents: Tensor, prompts: Tensor, domain: Tensor, logprobs: Tensor) -> Tensor:
            found = verifier.calibrated(self._network.verdicts(latents, prompts, domain, logprobs))
            right = 1.0 - found.failed.sigmoid()
            return torch.cat([found.wrong.sigmoid(), right[:, None]], 1)

        rows = self._by_length(sequences, of, raw=True)
        return [Verification(row[:-1], float(row[-1])) for row in rows]

    def unstandardise(self, predictions: Floats) -> Floats:
        if self.info.target_space is not TargetSpace.LLM:
            raise UnsupportedError(
                f"{self.info.location} predicts in a space of its own (objective "
                f"{self.info.objective}); only objective frozen leads back to the LLM's latents"
            )
        std, mean = self._network.step_std.cpu().numpy(), self._network.step_mean.cpu().numpy()
        return np.asarray(predictions * std + mean, np.float32)

    def close(self) -> None:
        """Nothing is held open."""

    @torch.inference_mode()
    def _by_length(
        self,
        sequences: Sequence[LatentSequence],
        call: Callable[..., Tensor],
        first: int = 0,
        most_steps: int | None = MOST_STEPS,
        raw: bool = False,
    ) -> list[Floats]:
        """Call on batches of equally long sequences: standardised steps and prompts, and domains;
        or, `raw`, on these as they are, and the log-probabilities, NaN where there are none.
        Answers are in the order of the sequences."""
        check_sequences(sequences)
        groups: dict[int, list[int]] = {}
        for number, one in enumerate(sequences):
            self._check(one, first + number, most_steps)
            groups.setdefault(len(one.latents), []).append(number)
        found: dict[int, Floats] = {}
        for count, numbers in sorted(groups.items()):
            size = max(1, _STEPS // count)
            for begin in range(0, len(numbers), size):
                these = numbers[begin : begin + size]
                chosen = [sequences[i] for i in these]
                made = call(*(self._raw(chosen) if raw else self._tensors(chosen)))
                rows = made.float().cpu().numpy()
                for row, number in zip(rows, these, strict=True):
                    found[number] = row.copy()
        every = [found[i] for i in range(len(sequences))]
        check_finite(every, first)
        return every

    def _tensors(self, sequences: Sequence[LatentSequence]) -> tuple[Tensor, Tensor, Tensor]:
        latents, prompts, domains, _ = self._raw(sequences)
        return *self._network.standardise(latents, prompts), domains

    def _raw(self, sequences: Sequence[LatentSequence]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        latents = torch.from_numpy(np.stack([one.latents for one in sequences]))
        prompts = torch.from_numpy(np.stack([one.prompt for one in sequences]))
        none = np.full(latents.shape[1], np.nan, np.float32)
        kept = [none if one.logprobs is None else one.logprobs for one in sequences]
        logprobs = torch.from_numpy(np.stack(kept) if self.info.needs_logprobs else none[None])
        known = self._model.domains
        places = [self._domains.index(one.domain) if known else 0 for one in sequences]
        return (
            latents.float().to(self._device),
            prompts.float().to(self._device),
            torch.tensor(places, device=self._device),
            logprobs.float().to(self._device),
        )

    def _check(self, one: LatentSequence, number: int, most_steps: int | None) -> None:
        width = self.info.hidden_size
        if one.latents.ndim != 2 or not len(one.latents) or one.latents.shape[1] != width:
            raise InputError(
                f"sequence {number}: latents {list(one.latents.shape)}, expected [steps, {width}]"
            )
        if most_steps is not None and len(one.latents) > most_steps:
            raise InputError(
                f"sequence {number}: {len(one.latents):,} steps, at most {most_steps:,} are "
                "predicted from each other; cut it into longer steps, or into several traces"
            )
        if one.prompt.shape != (width,):
            raise InputError(
                f"sequence {number}: prompt {list(one.prompt.shape)}, expected [{width}]"
            )
        if not (np.isfinite(one.latents).all() and np.isfinite(one.prompt).all()):
            raise InputError(f"sequence {number}: a value is NaN or infinite")
        if self._model.domains and one.domain not in self._domains:
            raise InputError(
                f"sequence {number}: domain {one.domain!r} was not trained on; "
                f"known: {', '.join(self._domains)}"
            )


# They change neither what is learned nor from what.
_ARRANGEMENT = ("device", "num_workers", "compile", "checkpoint_minutes", "keep_last")


def configuration_of(settings: TrainSettings) -> dict[str, Any]:
    """All that decides what is learned, but for the seed."""
    found = attrs.asdict(settings)
    for name in ("seed", *_ARRANGEMENT):
        del found["training"][name]
    return found


def find_checkpoint(
    run: Path, warn: Callable[[str], None], latest: bool = False
) -> checkpoint.Checkpoint:
    """The best whole checkpoint, or the latest; a damaged one is told of and passed over.

    Raises:
        UsageError: there is none.
    """
    wanted = [place for _, place in reversed(checkpoint.steps(run))]
    if not latest:
        try:
            first = checkpoint.best(run)
        except DamagedCheckpointError as error:
            warn(f"{error}; the latest checkpoint is used")
            first = None
        wanted = [place for place in (first, *wanted) if place is not None]
    if not wanted:
        raise UsageError(f"{run}: no checkpoint was written there yet")
    damage = None
    for place in dict.fromkeys(wanted):
        try:
            return _read(place)
        except DamagedCheckpointError as error:
            damage = error
            warn(f"{error}; the one before it is used")
    raise UsageError(f"{run}: none of its checkpoints is whole; the last one: {damage}")


def _read(place: Path) -> checkpoint.Checkpoint:
    """A checkpoint whose model can be made, and scores."""
    found = checkpoint.read(place, check_fits)
    check_values(found)
    return found


def device_of(name: str) -> torch.device:
    """`auto` is a card where there is one.

    Raises:
        UsageError: torch has no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"training.device {name}: cannot be used here: {reason}") from None
    if device.type == "cuda":
        # cuDNN's attention makes a plan for each number of steps, visible and masked, anew.
        torch.backends.cuda.enable_cudnn_sdp(False)
    return device

"""AdamW as transformers are trained with it, its schedule, and its state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from rjepa_core.settings import TrainSettings

from ..dynamo import import_dynamo
from .checkpoint import Shapes
from .network import Network

_BETAS = (0.9, 0.98)
_STATE = "optimiser."


def optimiser_of(network: Network, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW; vectors (biases, norms, mask tokens) are not decayed, nor is a linear path that has a
    learning rate of its own."""
    import_dynamo()
    trained = [p for p in network.parameters() if p.requires_grad]
    slow = set() if (linear := network.jepa.linear) is None else set(linear.parameters())
    share = settings.linear_share
    if share == 1:
        slow = set()
    rest = [p for p in trained if p not in slow]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": _decay(settings), "share": 1.0},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "share": 1.0},
        {"params": [p for p in trained if p in slow], "weight_decay": 0.0, "share": share},
    ]
    groups = [group for group in groups if group["params"]]
    lr = settings.training.lr
    try:
        return torch.optim.AdamW(groups, lr=lr, betas=_BETAS, fused=True)
    except RuntimeError:
        # The device has no kernel for it.
        return torch.optim.AdamW(groups, lr=lr, betas=_BETAS, foreach=True)


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["share"]


def _decay(settings: TrainSettings) -> float:
    return settings.training.weight_decay


def learning_rate(step: int, steps: int, per_epoch: int, settings: TrainSettings) -> float:
    """Linear warm-up, then half a cosine down to `min_lr_ratio`."""
    training = settings.training
    warmup = min(training.warmup_epochs * per_epoch, steps / 2)
    if step < warmup:
        return training.lr * (step + 1) / warmup if warmup >= 1 else training.lr
    along = (step - warmup) / max(1.0, steps - warmup)
    low = training.min_lr_ratio
    return training.lr * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, along))))


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Its state by the parameters' positions."""
    found = {}
    for number, one in optimiser.state_dict()["state"].items():
        for name, value in one.items():
            found[f"{_STATE}{number}.{name}"] = torch.as_tensor(value)
    return found


def check_optimiser(optimiser: torch.optim.Optimizer, shapes: Shapes) -> None:
    """Compare a file's tensors with those that the optimiser may have.

    Raises:
        ValueError: one is not the optimiser's, or of another shape; the message names it.
    """
    trained = [one for group in optimiser.param_groups for one in group["params"]]
    expected: Shapes = {}
    for number, one in enumerate(trained):
        expected[f"{_STATE}{number}.step"] = ("F32", ())
        for name in ("exp_avg", "exp_avg_sq"):
            expected[f"{_STATE}{number}.{name}"] = ("F32", tuple(one.shape))
    for name, shape in shapes.items():
        if expected.get(name) != shape:
            raise ValueError(f"{name!r:.100} is none of the optimiser's, or of another shape")
        # What has had no gradient yet has no state; the others have all of it.
        for other in ("step", "exp_avg", "exp_avg_sq"):
            if f"{name.rpartition('.')[0]}.{other}" not in shapes:
                raise ValueError(f"{name.rpartition('.')[0]}.{other} is missing")


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Inverse of `optimiser_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(_STATE):
            number, name = key.removeprefix(_STATE).split(".", 1)
            state.setdefault(int(number), {})[name] = value
    whole = optimiser.state_dict()
    optimiser.load_state_dict({**whole, "state": state})


def computes_in_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether the forward pass runs in bfloat16: where it is asked for, or where a card does."""
    if precision != "auto":
        return precision == "bfloat16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported()

"""All that a training step draws from: kept with a run, and put back where a step comes again."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor

from .checkpoint import Shapes, shapes_of

_OWN, _TORCH, _CUDA = "generator", "torch", "cuda"


@attrs.frozen
class RandomStates:
    """The generators of a run.

    Attributes:
        generator: of masks and projections.
        device: that the model is on; torch's own generator of the CPU counts, too.
    """

    generator: torch.Generator
    device: torch.device

    def tensors(self) -> dict[str, Tensor]:
        """Where each of them is, uint8."""
        found = {_OWN: self.generator.get_state(), _TORCH: torch.get_rng_state()}
        if self.device.type == "cuda":
            found[_CUDA] = torch.cuda.get_rng_state(self.device)
        return found

    def check(self, shapes: Shapes) -> Shapes:
        """Those of a file's tensors that are theirs.

        Raises:
            ValueError: one is missing, or of another shape; a run of another device lacks its own.
        """
        expected = shapes_of(self.tensors())
        for name, shape in expected.items():
            if shapes.get(name, shape if name == _CUDA else None) != shape:
                raise ValueError(f"{name} is missing, or no state of a generator")
        return {name: shapes[name] for name in (_OWN, _TORCH, _CUDA) if name in shapes}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back there.

        Raises:
            RuntimeError: it is no state of theirs.
        """
        self.generator.set_state(tensors[_OWN])
        torch.set_rng_state(tensors[_TORCH])
        if self.device.type == "cuda" and _CUDA in tensors:
            torch.cuda.set_rng_state(tensors[_CUDA], self.device)

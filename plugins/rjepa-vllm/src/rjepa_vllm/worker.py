"""What the driver asks of vLLM's workers: to pool a request's hidden states, and let them go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from vllm.distributed.kv_transfer import get_kv_transfer_group
from vllm.distributed.parallel_state import get_tensor_model_parallel_rank

from .connector import StatesConnector

# What `pool` answers in place of vectors.
LATER, LOST = "later", "lost"
Segments = Sequence[tuple[int, int]]


class PoolingExtension:
    """Methods that vLLM adds to its worker (`worker_extension_cls`)."""

    def rjepa_has_norm(self) -> bool:
        """Return whether the model's final norm is where it is looked for."""
        return _final_norm(self) is not None

    def rjepa_pool(
        self,
        wanted: Sequence[tuple[str, Segments]],
        slots: Sequence[int],
        normed: Sequence[bool],
        pooling: str,
    ) -> list[bytes | str] | None:
        """Return float32 [L, N, D] for each request, one vector per segment, as bytes.

        Args:
            wanted: requests with token ranges; their blocks are released.
            slots: of each layer, its place among the layers that the engine keeps.
            normed: whether the final norm is applied to it.
            pooling: `mean`, `last` or `max`.

        Returns:
            `later` for a request whose end the worker has not heard of, `lost` for one some of
            whose tokens are gone; None in all workers but the first.
        """
        connector = _connector()
        if get_tensor_model_parallel_rank() != 0:
            connector.release([request for request, _ in wanted])
            return None
        answers: list[bytes | str] = []
        with torch.inference_mode():
            for request, segments in wanted:
                pages = connector.pages_of(request)
                if pages is None:
                    answers.append(LATER)
                    continue
                connector.release([request])
                if pages.tokens < max(stop for _, stop in segments):
                    answers.append(LOST)
                    continue
                pooled = _pool(self, connector, pages, segments, slots, normed, pooling)
                answers.append(pooled.cpu().numpy().tobytes())
        return answers

    def rjepa_release(self, requests: Sequence[str]) -> int:
        """Let requests go that nothing is wanted of; return how often one was preempted so far."""
        connector = _connector()
        connector.release(requests)
        return connector.preemptions


def _connector() -> StatesConnector:
    connector = get_kv_transfer_group()
    assert isinstance(connector, StatesConnector)
    return connector


def _pool(
    worker: Any,
    connector: StatesConnector,
    pages: Any,
    segments: Segments,
    slots: Sequence[int],
    normed: Sequence[bool],
    pooling: str,
) -> torch.Tensor:
    vectors = []
    norm = _final_norm(worker) if any(normed) else None
    for start, stop in segments:
        # Where the last token is enough, no other is read.
        first = stop - 1 if pooling == "last" else start
        states_TLD = connector.read(pages, first, stop)
        layers = []
        for slot, after_norm in zip(slots, normed, strict=True):
            tokens_TD = states_TLD[:, slot].contiguous()
            if after_norm and norm is not None:
                tokens_TD = norm(tokens_TD)
            layers.append(tokens_TD.float())
        tokens_LTD = torch.stack(layers)
        if pooling == "mean":
            vectors.append(tokens_LTD.mean(1))
        elif pooling == "max":
            vectors.append(tokens_LTD.amax(1))
        else:
            vectors.append(tokens_LTD[:, -1])
    return torch.stack(vectors, dim=1)


def _final_norm(worker: Any) -> Any | None:
    """Return the norm after the last layer: vLLM keeps that layer's states from before it."""
    model = worker.model_runner.get_model()
    for name in ("get_language_model", "language_model"):
        inner = getattr(model, name, None)
        if inner is not None:
            model = inner() if callable(inner) and name.startswith("get") else inner
            break
    return getattr(getattr(model, "model", model), "norm", None)

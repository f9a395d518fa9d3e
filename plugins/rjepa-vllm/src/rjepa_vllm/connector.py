"""A KV connector that keeps a finished request's hidden states until they have been pooled.

vLLM writes the wanted layers' hidden states into a paged buffer beside its KV cache. The half of
the connector in the scheduler says which pages a finished request has, and delays freeing them; the
half in the worker reads them where they are, and then lets them go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import torch
from vllm.config import VllmConfig, get_layers_from_vllm_config
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
    SupportsHMA,
)
from vllm.distributed.parallel_state import get_tensor_model_parallel_rank
from vllm.model_executor.models.extract_hidden_states import CacheOnlyAttentionLayer
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.kv_cache_interface import HiddenStateCacheSpec, KVCacheConfig


@attrs.frozen
class Pages:
    """Where a request's hidden states are.

    Attributes:
        blocks: ids of its blocks, in order.
        tokens: number of its tokens that have been run.
    """

    blocks: tuple[int, ...]
    tokens: int


class StatesMetadata(KVConnectorMetadata):
    """What the scheduler tells the worker with a step: requests that finished, and how often one
    had to make room for others."""

    def __init__(self, finished: dict[str, Pages], preempted: int) -> None:
        self.finished, self.preempted = finished, preempted


class StatesConnector(KVConnectorBase_V1, SupportsHMA):
    """See the module's docstring; vLLM makes one in its scheduler and one in each worker."""

    def __init__(
        self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: KVCacheConfig
    ) -> None:
        super().__init__(vllm_config=vllm_config, role=role, kv_cache_config=kv_cache_config)
        self._group = _group_of(kv_cache_config)
        self._finished: dict[str, Pages] = {}
        self._held: dict[str, Pages] = {}
        self._released: set[str] = set()
        self._cache: torch.Tensor | None = None
        self.preemptions = 0

    # In the scheduler.

    def request_finished_all_groups(
        self, request: Any, block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        blocks = block_ids[self._group] if self._group < len(block_ids) else []
        if not blocks:
            return False, None
        pages = Pages(tuple(blocks), request.num_computed_tokens)
        self._finished[request.request_id] = pages
        return True, None

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> KVConnectorMetadata:
        finished, self._finished = self._finished, {}
        return StatesMetadata(finished, len(scheduler_output.preempted_req_ids or ()))

    def get_num_new_matched_tokens(
        self, request: Any, num_computed_tokens: int
    ) -> tuple[int, bool]:
        return 0, False

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        """Do nothing: no blocks are loaded from elsewhere."""

    def get_finished_count(self) -> int:
        """Return 1: the first worker alone says when a request's blocks may go."""
        return 1

    @classmethod
    def get_required_kvcache_layout(cls, vllm_config: VllmConfig) -> str:
        return "LBNHC"

    # In the worker.

    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        layers = get_layers_from_vllm_config(
            self._vllm_config, CacheOnlyAttentionLayer, list(kv_caches)
        )
        (name,) = layers
        self._cache = kv_caches[name]

    def get_finished(self, finished_req_ids: set[str]) -> tuple[set[str] | None, set[str] | None]:
        if self.has_connector_metadata():
            said = self._get_connector_metadata()
            assert isinstance(said, StatesMetadata)
            self._held.update(said.finished)
            self.preemptions += said.preempted
        gone = self._released & self._held.keys()
        for request in gone:
            del self._held[request]
        self._released -= gone
        if get_tensor_model_parallel_rank() != 0:
            return None, None
        return gone or None, None

    def pages_of(self, request: str) -> Pages | None:
        """Return the pages of a finished request; None if it has not been heard of yet."""
        return self._held.get(request)

    def release(self, requests: Sequence[str]) -> None:
        """Let the blocks of requests go, those that have yet to finish included."""
        self._released.update(requests)

    def read(self, pages: Pages, start: int, stop: int) -> torch.Tensor:
        """Return the hidden states of some of a request's tokens, [T, L, D], as they were run."""
        assert self._cache is not None
        size = self._cache.shape[2]  # [blocks, L, tokens of a block, D]
        blocks = torch.tensor(pages.blocks, device=self._cache.device)
        at = torch.arange(start, stop, device=self._cache.device)
        states: torch.Tensor = self._cache[blocks[at // size], :, at % size]
        return states

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Do nothing: nothing is loaded."""

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Do nothing: nothing is loaded."""

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **_: Any) -> None:
        """Do nothing: the states stay where vLLM puts them."""

    def wait_for_save(self) -> None:
        """Do nothing: nothing is copied."""


def _group_of(kv_cache_config: KVCacheConfig | None) -> int:
    """Return the index of the group of caches that holds the hidden states."""
    groups = kv_cache_config.kv_cache_groups if kv_cache_config is not None else ()
    found = [
        i for i, one in enumerate(groups) if isinstance(one.kv_cache_spec, HiddenStateCacheSpec)
    ]
    if len(found) == 1:
        return found[0]
    if not found and len(groups) <= 1:
        return 0
    raise ValueError(
        f"the hidden states share one of {len(groups)} groups of caches with the model's own, "
        "which this backend cannot read"
    )

"""Stores as tables and as data for torch.

`to_pandas(store)` and `to_arrow(store)` return one row per step (`pip install 'rjepa[data]'`);
`TraceDataset(stores)` is a `torch.utils.data.Dataset` of traces; `collate` pads them to batches.
"""

from typing import TYPE_CHECKING, Any

from .tables import to_arrow, to_pandas

if TYPE_CHECKING:
    from .torch_dataset import TraceDataset, collate

__all__ = ["TraceDataset", "collate", "to_arrow", "to_pandas"]


def __getattr__(name: str) -> Any:
    # torch is loaded for those who want it.
    if name in ("TraceDataset", "collate"):
        from . import torch_dataset

        return getattr(torch_dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

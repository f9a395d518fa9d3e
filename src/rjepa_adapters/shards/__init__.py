"""Export and import stores as shards of safetensors and Parquet, or as Hugging Face datasets.

Everything here uses only the store port, so that any store can be exported and imported.
"""

from .dataset import export_dataset
from .export import export_shards
from .load import import_shards
from .manifest import CopyReport

__all__ = ["CopyReport", "export_dataset", "export_shards", "import_shards"]

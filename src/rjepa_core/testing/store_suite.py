"""The promises of every latent store, as tests that a store's own tests inherit.

    class TestMyStore(StoreContract):
        adapter = my_plugin.rjepa_stores()[0]

        def where(self, tmp_path, name):
            return str(tmp_path / name)

Each failure names the broken promise. `MaintenanceContract` is for an adapter whose descriptor
offers maintenance, `GradesContract` for one whose stores keep grades, `DigestContract` for one
whose stores have a digest.
"""

from __future__ import annotations

from .store_suite_arguments import ArgumentsContract
from .store_suite_digest import DigestContract
from .store_suite_grades import GradesContract
from .store_suite_lasting import LastingContract, MaintenanceContract
from .store_suite_opening import OpeningContract
from .store_suite_reading import ReadingContract
from .store_suite_writing import WritingContract

__all__ = ["DigestContract", "GradesContract", "MaintenanceContract", "StoreContract"]


class StoreContract(
    OpeningContract, WritingContract, ReadingContract, LastingContract, ArgumentsContract
):
    """The promises of the port `LatentStore`."""

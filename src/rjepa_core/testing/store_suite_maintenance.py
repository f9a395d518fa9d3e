"""What an adapter promises whose descriptor offers maintenance."""

from __future__ import annotations

import pytest

from ..domain.trace import TOO_LONG
from ..errors import UsageError
from ..ports.maintenance import Maintenance
from ..ports.progress import ToolProgress
from ..ports.store import LatentStore
from .promises import raises
from .samples import sample_failure, sample_identity, sample_record
from .store_case import Open, StoreCase, TmpPath, assert_same


class MaintenanceContract(StoreCase):
    """Whole stores are checked, repaired and compacted without a change to any record."""

    @pytest.fixture
    def maintenance(self) -> Maintenance:
        assert self.adapter.maintenance is not None, "the descriptor offers maintenance"
        return self.adapter.maintenance()

    def fill(self, store: LatentStore, numbers: range, failures: bool = True) -> None:
        """Write the records with these numbers, the same whatever the store."""
        identity = sample_identity(2, 16, "bfloat16", logprobs=True)
        store.begin(identity)
        for i in numbers:
            failed = [sample_failure(f"f-{i}", reason=TOO_LONG)] if failures and i % 4 == 0 else []
            store.write([sample_record(identity, f"p-{i // 2}", i % 2, steps=1 + i % 5)], failed)
        store.add_history({"kind": "extract", "records": len(numbers)})
        store.commit()

    def _fail(self, store: LatentStore) -> None:
        self.fill(store, range(4))
        raise RuntimeError

    def assert_equal(self, found: LatentStore, wanted: LatentStore, promise: str) -> None:
        """Fail unless two stores hold equal records and failures."""
        assert found.identity == wanted.identity, f"{promise}: the identity"
        assert set(found.keys()) == set(wanted.keys()), f"{promise}: the keys"
        for key in wanted.keys():  # noqa: SIM118
            assert_same(found.get(key), wanted.get(key), f"{promise}: record {key}")
        failures = {f.key: f for f in wanted.failures()}
        assert {f.key: f for f in found.failures()} == failures, f"{promise}: the failures"

    def test_verify_finds_nothing(
        self, open_store: Open, maintenance: Maintenance, tmp_path: TmpPath
    ) -> None:
        store = open_store()
        self.fill(store, range(20))
        store.close()
        seen: list[ToolProgress] = []
        report = maintenance.verify(self.where(tmp_path, "a"), seen.append)
        assert report.sound, f"a store that was written whole is sound: {report.damages}"
        assert (report.records, report.failures) == (20, 5), "verify() counts what is sound"

    def test_verify_beside_a_writer(
        self, open_store: Open, maintenance: Maintenance, tmp_path: TmpPath
    ) -> None:
        self.fill(open_store(), range(20))
        report = maintenance.verify(self.where(tmp_path, "a"))
        assert report.sound, f"a store can be verified while a run writes: {report.damages}"

    def test_repair_of_a_sound_store(
        self, open_store: Open, maintenance: Maintenance, tmp_path: TmpPath
    ) -> None:
        store = open_store()
        self.fill(store, range(20))
        target = self.where(tmp_path, "b")
        report = maintenance.repair(self.where(tmp_path, "a"), target)
        assert (report.records, report.failures, report.lost, report.missing) == (20, 5, (), 0), (
            "repair() of a sound store loses nothing"
        )
        mended = open_store("read", "b")
        self.assert_equal(mended, store, "repair() saves everything readable")
        assert mended.history() == store.history(), "repair() saves the run history"
        with raises(UsageError, "repair() overwrites no store"):
            maintenance.repair(self.where(tmp_path, "a"), target)

    def test_build(self, open_store: Open, maintenance: Maintenance, tmp_path: TmpPath) -> None:
        place = self.where(tmp_path, "a")
        with (
            raises(RuntimeError, "an error in build() reaches the caller"),
            maintenance.build(place) as refused,
        ):
            self._fail(refused)
        assert not self.adapter.exists(place), "build() leaves nothing behind after an error"
        with maintenance.build(place) as store:
            self.fill(store, range(4))
            assert not self.adapter.exists(place), "build() puts a store there when it is whole"
        assert len(open_store("read")) == 4, "build() makes a store"
        with raises(UsageError, "build() overwrites no store"), maintenance.build(place):
            pass

    def test_compact(self, open_store: Open, maintenance: Maintenance, tmp_path: TmpPath) -> None:
        whole, store = open_store(name="whole"), open_store()
        self.fill(whole, range(0, 40, 2))
        self.fill(store, range(40), failures=False)
        store.delete([k for k in store.keys() if k.sample])  # noqa: SIM118
        store.write([], list(whole.failures()))
        store.close()
        maintenance.compact(self.where(tmp_path, "a"))
        again = open_store("read")
        self.assert_equal(again, whole, "compact() changes no record")
        assert len(again.history()) == 1, "compact() keeps the run history"
        assert maintenance.verify(self.where(tmp_path, "a")).sound, "a compacted store is sound"

    def test_room(self, open_store: Open, maintenance: Maintenance, tmp_path: TmpPath) -> None:
        identity = sample_identity(1, 1024)
        store = open_store()
        store.begin(identity)
        store.write([sample_record(identity, f"p-{i}", steps=8) for i in range(200)])
        store.commit()
        needed = maintenance.room_needed(identity, 200, 8.0)
        taken = store.stats().bytes_on_disk
        assert 0.7 * taken < needed < 2 * taken, "room_needed() tells about what is taken"
        assert maintenance.room_free(self.where(tmp_path, "new/er")) > 0, (
            "room_free() of a place to be made is told"
        )

"""What an adapter promises whose descriptor offers tools."""

from __future__ import annotations

import pytest

from ..domain.identity import Identity
from ..domain.problem import Problem
from ..domain.trace import OUT_OF_MEMORY, TOO_LONG, RecordKey
from ..errors import IdentityError, MergeConflictError, UsageError
from ..ports.maintenance import StoreTools, ToolProgress
from ..ports.store import LatentStore
from .promises import raises
from .samples import sample_failure, sample_identity, sample_record, told_identity
from .store_case import Open, StoreCase, TmpPath, assert_same


class ToolsContract(StoreCase):
    """Whole stores are checked, mended and moved about without a change to any record."""

    @pytest.fixture
    def tools(self) -> StoreTools:
        assert self.adapter.tools is not None, "the descriptor offers tools"
        return self.adapter.tools()

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
        self, open_store: Open, tools: StoreTools, tmp_path: TmpPath
    ) -> None:
        store = open_store()
        self.fill(store, range(20))
        store.close()
        seen: list[ToolProgress] = []
        report = tools.verify(self.where(tmp_path, "a"), seen.append)
        assert report.sound, f"a store that was written whole is sound: {report.damages}"
        assert (report.records, report.failures) == (20, 5), "verify() counts what is sound"

    def test_verify_beside_a_writer(
        self, open_store: Open, tools: StoreTools, tmp_path: TmpPath
    ) -> None:
        self.fill(open_store(), range(20))
        report = tools.verify(self.where(tmp_path, "a"))
        assert report.sound, f"a store can be verified while a run writes: {report.damages}"

    def test_repair_of_a_sound_store(
        self, open_store: Open, tools: StoreTools, tmp_path: TmpPath
    ) -> None:
        store = open_store()
        self.fill(store, range(20))
        target = self.where(tmp_path, "b")
        report = tools.repair(self.where(tmp_path, "a"), target)
        assert (report.records, report.failures, report.lost, report.missing) == (20, 5, (), 0), (
            "repair() of a sound store loses nothing"
        )
        mended = open_store("read", "b")
        self.assert_equal(mended, store, "repair() saves everything readable")
        assert mended.history() == store.history(), "repair() saves the run history"
        with raises(UsageError, "repair() overwrites no store"):
            tools.repair(self.where(tmp_path, "a"), target)

    def test_build(self, open_store: Open, tools: StoreTools, tmp_path: TmpPath) -> None:
        place = self.where(tmp_path, "a")
        with (
            raises(RuntimeError, "an error in build() reaches the caller"),
            tools.build(place) as refused,
        ):
            self._fail(refused)
        assert not self.adapter.exists(place), "build() leaves nothing behind after an error"
        with tools.build(place) as store:
            self.fill(store, range(4))
            assert not self.adapter.exists(place), "build() puts a store there when it is whole"
        assert len(open_store("read")) == 4, "build() makes a store"
        with raises(UsageError, "build() overwrites no store"), tools.build(place):
            pass

    def test_compact(self, open_store: Open, tools: StoreTools, tmp_path: TmpPath) -> None:
        whole, store = open_store(name="whole"), open_store()
        self.fill(whole, range(0, 40, 2))
        self.fill(store, range(40), failures=False)
        store.delete([k for k in store.keys() if k.sample])  # noqa: SIM118
        store.write([], list(whole.failures()))
        store.close()
        tools.compact(self.where(tmp_path, "a"))
        again = open_store("read")
        self.assert_equal(again, whole, "compact() changes no record")
        assert len(again.history()) == 1, "compact() keeps the run history"
        assert tools.verify(self.where(tmp_path, "a")).sound, "a compacted store is sound"

    def test_merged_halves_are_the_whole(self, open_store: Open, tools: StoreTools) -> None:
        whole, one, two = (open_store(name=name) for name in ("whole", "one", "two"))
        self.fill(whole, range(30))
        self.fill(one, range(15))
        self.fill(two, range(15, 30))
        target = open_store(name="target")
        report = tools.merge(target, [one, two])
        assert (report.added, report.equal, report.failures) == (30, 0, 8), (
            "merge() counts what it did"
        )
        self.assert_equal(target, whole, "merged halves equal the whole")
        kinds = [entry["kind"] for entry in target.history()]
        assert kinds.count("extract") == 2, "merge() keeps the sources' run histories"
        again = tools.merge(target, [one])
        assert (again.added, again.equal, again.failures) == (0, 15, 0), "equal records are no news"

    def test_a_record_beats_a_failure(self, open_store: Open, tools: StoreTools) -> None:
        identity = sample_identity()
        one, two = open_store(name="one"), open_store(name="two")
        for store in (one, two):
            store.begin(identity)
        one.write([sample_record(identity, "a")], [sample_failure("b")])
        two.write([sample_record(identity, "b")], [sample_failure("a")])
        for store in (one, two):
            store.commit()
        tools.merge(one, [two])
        assert len(one) == 2, "a record replaces a failure of its key"
        assert not list(one.failures()), "a failure replaces no record"

    @pytest.mark.parametrize("statement", [None, "another statement"])
    def test_conflicts(self, open_store: Open, tools: StoreTools, statement: str | None) -> None:
        identity = sample_identity()
        ours = sample_record(identity, "p", seed=1)
        theirs = sample_record(identity, "p", seed=2, statement=statement)
        for winner, wanted in (("target", ours), ("source", theirs)):
            target, source = open_store(name=f"t-{winner}"), open_store(name=f"s-{winner}")
            for store, record in ((target, ours), (source, theirs)):
                store.begin(identity)
                store.write([record])
                store.commit()
            source.write([sample_record(identity, "new")])
            source.commit()
            with raises(MergeConflictError, "merge() refuses a conflict", match="p "):
                tools.merge(target, [source])
            assert len(target) == 1, "a refused merge changes nothing"
            tools.merge(target, [source], winner)  # type: ignore[arg-type]
            assert_same(target.get(ours.key), wanted, f"the {winner} wins a conflict")
            assert len(target) == 2, "what is in no conflict is merged"

    def test_other_identities_are_not_merged(self, open_store: Open, tools: StoreTools) -> None:
        one, two = open_store(name="one"), open_store(name="two")
        one.begin(sample_identity())
        two.begin(sample_identity(seed=1))
        two.write([sample_record(sample_identity(), "p")])
        two.commit()
        with raises(IdentityError, "merge() refuses another identity", match="seed"):
            tools.merge(one, [two])
        assert len(one) == 0, "a refused merge changes nothing"

    def test_merging_what_does_not_tell_with_what_does(
        self, open_store: Open, tools: StoreTools
    ) -> None:
        """As in stores of an older version and a newer one."""
        identities = {
            "old": sample_identity(),
            "new": told_identity("one"),
            "other": told_identity("other"),
        }
        stores = {name: open_store(name=name) for name in identities}
        for name, store in stores.items():
            store.begin(identities[name])
            store.write([sample_record(identities[name], name)])
            store.commit()
        with raises(IdentityError, "merge() compares all with all", match="tokenizer"):
            tools.merge(stores["old"], [stores["new"], stores["other"]])
        assert stores["old"].identity == identities["old"], "a refused merge changes nothing"
        tools.merge(stores["old"], [stores["new"]])
        assert len(stores["old"]) == 2, "what is unknown agrees with anything"
        assert stores["old"].identity == identities["new"], "a merge keeps what one of them knows"

    @pytest.mark.parametrize("per_shard", [7, 1000])
    def test_export_then_import(
        self, open_store: Open, tools: StoreTools, tmp_path: TmpPath, per_shard: int
    ) -> None:
        store, again = open_store(), open_store(name="b")
        self.fill(store, range(20))
        odd = [
            sample_record(store.identity or sample_identity(), i, k, thinking=k)
            for i in ("a#1", "a", "a/prompt", "__metadata__", "\ud800", "?", "x" * 600)
            for k in (0, 1)
        ]
        store.write(odd)
        store.commit()
        out = tools.export(store, str(tmp_path / "out"), per_shard=per_shard)
        assert (out.records, out.failures) == (34, 5), "export() counts what it wrote"
        tools.import_shards(str(tmp_path / "out"), again)
        self.assert_equal(again, store, "export, then import, gives an equal store")
        with raises(UsageError, "export() overwrites nothing"):
            tools.export(store, str(tmp_path / "out"))

    def test_shards_of_another_identity_are_refused(
        self, open_store: Open, tools: StoreTools, tmp_path: TmpPath
    ) -> None:
        store, other = open_store(), open_store(name="b")
        self.fill(store, range(3))
        other.begin(sample_identity())
        tools.export(store, str(tmp_path / "out"))
        with raises(IdentityError, "import_shards() refuses another identity"):
            tools.import_shards(str(tmp_path / "out"), other)

    def test_shards_without_an_identity(
        self, open_store: Open, tools: StoreTools, tmp_path: TmpPath, identity: Identity
    ) -> None:
        store = open_store()
        self.fill(store, range(4))
        tools.export(store, str(tmp_path / "out"))
        (tmp_path / "out" / "identity.json").unlink()
        other = open_store(name="b")
        with raises(
            UsageError, "shards without identity.json need an identity", match="name the model"
        ):
            tools.import_shards(str(tmp_path / "out"), other)
        with raises(
            UsageError, "shards must fit the identity that is given", match="identity says"
        ):
            tools.import_shards(str(tmp_path / "out"), other, identity)
        third = open_store(name="c")
        problems = {"p-0": Problem("p-0", "unused: the shards hold statements")}
        tools.import_shards(str(tmp_path / "out"), third, store.identity, problems)
        self.assert_equal(third, store, "shards need no identity.json if the identity is named")

    def test_remove(self, open_store: Open, tools: StoreTools) -> None:
        identity = sample_identity()
        store = open_store()
        store.begin(identity)
        store.write(
            [sample_record(identity, name, sample) for name in "abc" for sample in (0, 1)],
            [
                sample_failure("d", reason=OUT_OF_MEMORY),
                sample_failure("e", reason=TOO_LONG),
                sample_failure("f", reason=TOO_LONG),
            ],
        )
        store.commit()
        assert tools.remove(store, ["a", "b#1"], [OUT_OF_MEMORY]) == 4, "remove() counts"
        left = {RecordKey("b"), RecordKey("c"), RecordKey("c", 1)}
        assert set(store.keys()) == left, "remove() takes an id's samples, or the one named"
        assert {f.reason for f in store.failures()} == {TOO_LONG}, "remove() takes a reason"
        assert tools.remove(store, ["e"]) == 1, "remove() takes a failure by its id"
        with raises(
            UsageError,
            "remove() refuses a name that fits nothing",
            match="has neither record nor failure nope",
        ):
            tools.remove(store, ["nope", "c"])
        assert len(store) == 3, "a refused removal changes nothing"

    def test_remove_of_a_name_with_two_meanings(self, open_store: Open, tools: StoreTools) -> None:
        identity = sample_identity()
        keys = [RecordKey("a#1", 0), RecordKey("a#1", 1), RecordKey("a", 1), RecordKey("b#1")]
        store = open_store()
        store.begin(identity)
        store.write([sample_record(identity, key.problem_id, key.sample) for key in keys])
        store.write([], [sample_failure("a#01"), sample_failure("c", 1)])
        store.commit()
        both = r"a problem a#1 and a sample 1 of a; say a#1#0 a#1#1 for .* or a#001 for the sample"
        with raises(UsageError, "remove() refuses a name with two meanings", match=both):
            tools.remove(store, ["b#1", "a#1"])
        assert len(store) == 4, "a refused removal changes nothing"
        assert tools.remove(store, ["a#001"]) == 1, "zeros in front of a sample mean nothing"
        assert set(store.keys()) == {*keys} - {keys[2]}, "it takes the sample that was named"
        assert tools.remove(store, ["a#1#0", "c#1"]) == 2, "an id with a # is named with its sample"
        assert set(store.keys()) == {keys[1], keys[3]}, "it takes the sample that was named"
        assert tools.remove(store, ["a#1", "b#1", "a#01"]) == 3, "one meaning is enough"
        assert len(store) == 0, "remove() takes all that was named"

    def test_room(self, open_store: Open, tools: StoreTools, tmp_path: TmpPath) -> None:
        identity = sample_identity(1, 1024)
        store = open_store()
        store.begin(identity)
        store.write([sample_record(identity, f"p-{i}", steps=8) for i in range(200)])
        store.commit()
        needed = tools.room_needed(identity, 200, 8.0)
        taken = store.stats().bytes_on_disk
        assert 0.7 * taken < needed < 2 * taken, "room_needed() tells about what is taken"
        assert tools.room_free(self.where(tmp_path, "new/er")) > 0, (
            "room_free() of a place to be made is told"
        )

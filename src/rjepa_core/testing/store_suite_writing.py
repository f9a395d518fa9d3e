"""A store's promises about writing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ..domain.identity import Identity
from ..domain.trace import RecordKey
from ..errors import StatementChangedError, StoreClosedError, StoreError, StoreGoneError
from ..ports.store import LatentStore
from .promises import raises
from .samples import (
    Open,
    StoreCase,
    TmpPath,
    assert_same,
    sample_failure,
    sample_identity,
    sample_record,
)


class WritingContract(StoreCase):
    """What a store keeps of what is written."""

    def test_writing_needs_an_identity(self, open_store: Open, identity: Identity) -> None:
        store = open_store()
        with raises(StoreError, "writing before begin() is refused"):
            store.write([sample_record(identity)])

    def test_what_is_uncommitted(
        self, store: LatentStore, open_store: Open, identity: Identity
    ) -> None:
        reader = open_store("read")
        record, failure = sample_record(identity, "r", steps=4), sample_failure("f")
        store.write([record], [failure])
        assert len(store) == 1, "len() counts uncommitted records"
        entry, failed = store.entry(record.key), store.entry(failure.key)
        assert entry is not None, "entry() knows uncommitted records"
        assert failed is not None, "entry() knows uncommitted failures"
        assert (entry.failed, entry.steps, failed.failed) == (False, 4, True), (
            "entry() knows what is not committed yet"
        )
        for handle in (store, reader):
            seen = (list(handle.keys()), list(handle.failures()), handle.stats().records)
            assert seen == ([], [], 0), "keys(), failures(), stats() tell what is committed alone"
            with raises(KeyError, "get() of what is not committed is a KeyError"):
                handle.get(record.key)
        assert len(reader) == 0, "another handle does not see what is uncommitted"
        store.commit()
        assert list(reader.keys()) == [record.key], "a commit shows to other handles"
        assert list(reader.failures()) == [failure], "records and failures appear together"

    def test_checkpoint_every(self, open_store: Open, identity: Identity) -> None:
        store = open_store(checkpoint_every=3)
        store.begin(identity)
        reader = open_store("read")
        store.write([sample_record(identity, "a")], [sample_failure("f")])
        assert len(reader) == 0, "two are not yet three"
        store.write([sample_record(identity, "b")])
        assert len(reader) == 2, "checkpoint_every commits after this many records and failures"

    def test_a_record_replaces_its_failure(self, store: LatentStore, identity: Identity) -> None:
        for commit in (False, True):
            name = f"p-{commit}"
            store.write([], [sample_failure(name)])
            if commit:
                store.commit()
            store.write([sample_record(identity, name)])
            entry = store.entry(RecordKey(name))
            assert entry is not None, "entry() knows what was written"
            assert not entry.failed, "a record replaces the failure of its key"
            store.commit()
            assert not list(store.failures()), "a record replaces the failure of its key"

    def test_a_failure_replaces_no_record(self, store: LatentStore, identity: Identity) -> None:
        for commit in (False, True):
            record = sample_record(identity, f"p-{commit}")
            store.write([record])
            if commit:
                store.commit()
            store.write([], [sample_failure(f"p-{commit}")])
            entry = store.entry(record.key)
            assert entry is not None, "entry() knows what was written"
            assert not entry.failed, "a failure never replaces a record"
            store.commit()
            assert not list(store.failures()), "a failure never replaces a record"
            assert_same(store.get(record.key), record, "a failure never replaces a record")

    def test_a_failure_replaces_a_failure(self, store: LatentStore) -> None:
        store.write([], [sample_failure("f", reason="first")])
        store.commit()
        store.write([], [sample_failure("f", reason="second")])
        store.commit()
        found = [failure.reason for failure in store.failures()]
        assert found == ["second"], "the later failure of a key is kept"

    def test_a_record_written_again(self, store: LatentStore, identity: Identity) -> None:
        for commit in (False, True):
            store.write([sample_record(identity, "p", seed=1), sample_record(identity, "q")])
            if commit:
                store.commit()
            newer = sample_record(identity, "p", steps=5, seed=2)
            store.write([newer])
            assert len(store) == 2, "a record that is written again counts once"
            store.commit()
            assert_same(store.get(newer.key), newer, "the later record of a key is kept")
            stats = store.stats()
            assert (stats.records, stats.steps) == (2, 8), "stats() count what is kept"

    @pytest.mark.parametrize("commit", [False, True])
    @pytest.mark.parametrize("first", ["record", "failure"])
    @pytest.mark.parametrize("second", ["record", "failure"])
    def test_another_statement_is_refused(
        self, store: LatentStore, identity: Identity, commit: bool, first: str, second: str
    ) -> None:
        def write(kind: str, statement: str) -> None:
            record = sample_record(identity, "p", statement=statement)
            failure = sample_failure("p", statement=statement)
            other = sample_record(identity, f"beside {statement}")
            records = [other, record] if kind == "record" else [other]
            store.write(records, [failure] if kind == "failure" else [])

        write(first, "one")
        if commit:
            store.commit()
        with raises(
            StatementChangedError,
            "a key that is written with another statement is refused",
            match="p",
        ):
            write(second, "another")
        assert store.entry(RecordKey("beside another")) is None, "a refused batch leaves nothing"

    @pytest.mark.parametrize(
        "other",
        [sample_identity(width=9), sample_identity(2), sample_identity(dtype="float32")],
        ids=["width", "layers", "dtype"],
    )
    def test_vectors_of_another_space_are_refused(
        self, store: LatentStore, identity: Identity, other: Identity
    ) -> None:
        with raises(
            ValueError,
            "what is written is checked: vectors of another latent space are refused",
            match="wrong",
        ):
            store.write([sample_record(identity, "right"), sample_record(other, "wrong")])
        assert len(store) == 0, "a refused batch leaves nothing"

    def test_logprobs_are_all_or_none(self, store: LatentStore) -> None:
        with raises(
            ValueError,
            "what is written is checked: log-probabilities are kept by all records or by none",
            match="log-probabilities",
        ):
            store.write([sample_record(sample_identity(logprobs=True))])

    def test_a_store_that_is_gone_is_missed(
        self, open_store: Open, identity: Identity, tmp_path: TmpPath
    ) -> None:
        store = open_store(checkpoint_every=2)
        store.begin(identity)
        store.write([sample_record(identity, "a"), sample_record(identity, "b")])
        self.vanish(tmp_path, "a")
        store.write([sample_record(identity, "c")])
        uses: list[Callable[[], object]] = [
            lambda: store.write([sample_record(identity, "d")]),
            lambda: store.commit(),
            lambda: store.delete([RecordKey("a")]),
            lambda: store.add_history({}),
            lambda: store.close(),
        ]
        for use in uses:
            with raises(
                StoreGoneError, "a store that is gone is missed", match="the store is gone"
            ) as raised:
                use()
            assert "\n" not in str(raised), "the message is one line"
        with raises(StoreClosedError, "a store that is gone is closed by close()"):
            store.commit()

    def test_a_store_that_is_gone_is_missed_with_nothing_to_write(
        self, open_store: Open, tmp_path: TmpPath, identity: Identity
    ) -> None:
        whole, begun = open_store(), open_store(name="begun")
        whole.begin(identity)
        whole.write([sample_record(identity)])
        whole.commit()
        for name in ("a", "begun"):
            self.vanish(tmp_path, name)
        with raises(StoreGoneError, "a store that is gone is missed at close()"):
            whole.close()
        with raises(StoreGoneError, "a store that is gone is missed at begin()"):
            begun.begin(identity)
        with raises(
            StoreGoneError, "a store that is gone is missed at close(), even if nothing waits"
        ):
            begun.close()

    def test_delete(self, store: LatentStore, open_store: Open, identity: Identity) -> None:
        store.write(
            [sample_record(identity, "p", sample) for sample in range(3)], [sample_failure("f")]
        )
        gone = [RecordKey("p", 1), RecordKey("f"), RecordKey("nothing")]
        assert store.delete(gone) == 2, "delete() counts what there was, the uncommitted included"
        reader = open_store("read")
        left = {RecordKey("p", 0), RecordKey("p", 2)}
        assert set(reader.keys()) == left, "delete() is durable at once"
        assert not list(reader.failures()), "delete() removes failures"
        assert store.entry(gone[0]) is None, "nothing is known of a deleted key"
        stats = store.stats()
        assert (stats.records, stats.problems, stats.steps) == (2, 1, 6), "stats() follow delete()"
        assert store.delete(left) == 2, "delete() counts what there was"
        assert store.stats().problems == 0, "a problem without records is not counted"

    def test_a_deleted_key_is_new(self, store: LatentStore, identity: Identity) -> None:
        store.write([sample_record(identity, "p", statement="one")])
        store.delete([RecordKey("p")])
        other = sample_record(identity, "p", statement="another")
        store.write([other])
        store.commit()
        assert_same(store.get(other.key), other, "a deleted key may come with another statement")

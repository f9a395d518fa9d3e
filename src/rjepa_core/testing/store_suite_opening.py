"""A store's promises about opening, closing and its only writer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..domain.identity import Identity
from ..domain.trace import RecordKey
from ..errors import (
    IdentityError,
    StoreClosedError,
    StoreError,
    StoreLockedError,
    StoreNotFoundError,
)
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
    told_identity,
)


class OpeningContract(StoreCase):
    """Handles, identity and history of a store."""

    def test_exists_from_the_first_opening(self, tmp_path: TmpPath, open_store: Open) -> None:
        where = self.where(tmp_path, "a")
        assert not self.adapter.exists(where), "exists() is false where there is no store"
        open_store()
        assert self.adapter.exists(where), "exists() is true once a store was opened to write"

    def test_reading_nothing_is_refused(self, tmp_path: TmpPath, open_store: Open) -> None:
        with raises(StoreNotFoundError, "reading a store that is not there is refused"):
            open_store("read")
        where = self.where(tmp_path, "a")
        assert not self.adapter.exists(where), "a refused reading makes no store"

    def test_a_new_store_is_empty(self, open_store: Open) -> None:
        store = open_store()
        assert store.identity is None, "a store has no identity before begin()"
        stats = store.stats()
        counts = (stats.records, stats.problems, stats.steps, stats.tokens, stats.failures)
        assert counts == (0, 0, 0, 0, 0), "stats() of a new store are zero"
        found = (len(store), list(store.keys()), list(store.failures()), store.history())
        assert found == (0, [], [], []), "a new store holds nothing"

    def test_identity_is_kept(self, open_store: Open, identity: Identity) -> None:
        store = open_store()
        store.begin(identity)
        assert store.identity == identity, "begin() gives a new store its identity"
        store.close()
        again = open_store("read").identity
        assert again == identity, "the identity is there when the store is opened again"
        assert again is not None, "the identity is there when the store is opened again"
        assert again.labels == identity.labels, "the identity keeps its labels"

    def test_another_identity_is_refused(self, store: LatentStore) -> None:
        store.begin(sample_identity())
        with raises(
            IdentityError, "begin() checks the identity: another seed is refused", match="seed"
        ):
            store.begin(sample_identity(seed=1))
        with raises(
            IdentityError,
            "begin() checks the identity: another width is refused",
            match="hidden_size",
        ):
            store.begin(sample_identity(width=9))

    def test_what_was_unknown_is_kept_once_it_is_known(
        self, store: LatentStore, open_store: Open, identity: Identity
    ) -> None:
        """As for a store of an older version, whose unknown fields agree with any value."""
        record = sample_record(identity)
        store.write([record])
        store.commit()
        known, other = told_identity("one"), told_identity("other")
        store.begin(known)
        assert store.identity == known, "begin() keeps what the store's identity did not know"
        store.begin(identity)
        assert store.identity == known, "begin() forgets nothing: an identity that knows less fits"
        with raises(IdentityError, "begin() checks what it has learned", match="tokenizer"):
            store.begin(other)
        store.close()
        again = open_store("write")
        assert again.identity == known, "what begin() has learned is there when it is opened again"
        assert_same(again.get(record.key), record, "begin() leaves the records as they are")

    def test_closing_commits(
        self, store: LatentStore, open_store: Open, identity: Identity
    ) -> None:
        store.write([sample_record(identity)], [sample_failure("f")])
        store.close()
        store.close()
        reader = open_store("read")
        assert (len(reader), len(list(reader.failures()))) == (1, 1), "close() commits"

    def test_a_closed_store_says_so(self, store: LatentStore, identity: Identity) -> None:
        store.close()
        key = RecordKey("p")
        uses: list[Callable[[], object]] = [
            lambda: store.identity,
            lambda: store.begin(identity),
            lambda: len(store),
            lambda: store.write([sample_record(identity)]),
            lambda: store.commit(),
            lambda: store.entry(key),
            lambda: store.get(key),
            lambda: store.read_latents([key], np.zeros((1, 1, 3, 8), np.float16)),
            lambda: store.keys(),
            lambda: store.entries(),
            lambda: store.failures(),
            lambda: store.delete([key]),
            lambda: store.add_history({}),
            lambda: store.history(),
            lambda: store.stats(),
            lambda: store.snapshot().__enter__(),
        ]
        for use in uses:
            with raises(StoreClosedError, "a closed store says so", match="this handle is closed"):
                use()
        assert store.location, "a closed store still has its location"

    def test_one_writer(self, store: LatentStore, open_store: Open, identity: Identity) -> None:
        with raises(StoreLockedError, "a store has one writer at a time", match="writ"):
            open_store("write")
        store.write([sample_record(identity)])
        store.close()
        assert len(open_store("write")) == 1, "a closed writer makes room for the next"

    def test_a_forgotten_writer_holds_no_lock(self, open_store: Open, tmp_path: TmpPath) -> None:
        settings = self.adapter.configure({}, "store")
        forgotten = self.adapter.create(self.where(tmp_path, "a"), "write", settings)
        forgotten.begin(sample_identity())
        del forgotten
        assert open_store("write").identity == sample_identity(), "a stale lock is no obstacle"

    def test_readers_do_not_write(
        self, store: LatentStore, open_store: Open, identity: Identity
    ) -> None:
        store.close()
        reader = open_store("read")
        uses: list[Callable[[], object]] = [
            lambda: reader.write([sample_record(identity)]),
            lambda: reader.delete([RecordKey("p")]),
            lambda: reader.add_history({}),
        ]
        for use in uses:
            with raises(StoreError, "a handle that reads does not write", match="read"):
                use()

    def test_history(self, store: LatentStore, open_store: Open, identity: Identity) -> None:
        entries = [{"run": i, "nested": {"a": [1, None, "é"]}} for i in range(12)]
        store.write([sample_record(identity)])
        for entry in entries:
            store.add_history(entry)
        assert open_store("read").history() == entries, "the run history is durable and in order"

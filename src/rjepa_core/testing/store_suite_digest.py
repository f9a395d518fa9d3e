"""What a store promises that has a digest of its content, as tests that its own tests inherit."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ..domain.identity import Identity
from ..domain.trace import RecordKey
from ..ports.store import HasDigest, LatentStore
from .samples import Open, StoreCase, sample_failure, sample_record


def _digest(store: LatentStore) -> str:
    assert isinstance(store, HasDigest), "a store with a digest is a HasDigest"
    return store.digest()


class DigestContract(StoreCase):
    """Promises of the port `HasDigest`."""

    def test_the_order_of_writing_does_not_matter(
        self, open_store: Open, identity: Identity
    ) -> None:
        one, other = open_store(), open_store(name="b")
        for store, names in ((one, "abc"), (other, "cab")):
            store.begin(identity)
            for name in names:
                store.write([sample_record(identity, name)], [sample_failure(f"{name}-failed")])
                store.commit()
        assert _digest(one) == _digest(other), "equal content has an equal digest"

    def test_every_change_changes_it(self, store: LatentStore, identity: Identity) -> None:
        digests = [_digest(store)]
        record = sample_record(identity)
        other = attrs.evolve(record, latents=-record.latents)
        changes: list[Callable[[], object]] = [
            lambda: store.write([], [sample_failure("f")]),
            lambda: store.write([record]),
            lambda: store.write([other]),
            lambda: store.write([sample_record(identity, "p-1")]),
            lambda: store.delete([RecordKey("f")]),
        ]
        for change in changes:
            change()
            store.commit()
            digests.append(_digest(store))
        assert len(set(digests)) == len(digests), "other content has another digest"
        store.delete([RecordKey("p-1")])
        store.write([record], [sample_failure("f")])
        store.commit()
        assert _digest(store) == digests[2], "content that is back has its digest again"

    def test_it_lasts(self, store: LatentStore, open_store: Open, identity: Identity) -> None:
        store.write([sample_record(identity)])
        before = _digest(store)
        store.commit()
        digest = _digest(store)
        assert before != digest, "the digest is of what is committed"
        store.add_history({"kind": "note"})
        assert _digest(store) == digest, "the run history does not change the digest"
        store.close()
        assert _digest(open_store("read")) == digest, "a store opened again has the same digest"

"""What people name in a store, whatever keeps it; what is selected can be deleted."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from store_kinds import OpenStore

from rjepa_core.domain.trace import OUT_OF_MEMORY, TOO_LONG, RecordKey
from rjepa_core.errors import UsageError
from rjepa_core.ports.store import LatentStore
from rjepa_core.stores import select
from rjepa_core.testing.samples import sample_failure, sample_identity, sample_record


def remove(store: LatentStore, ids: Iterable[str], reasons: Iterable[str] = ()) -> int:
    return store.delete(select(store, ids, reasons).keys)


def test_ids_samples_and_reasons(new_store: OpenStore) -> None:
    identity = sample_identity()
    store = new_store("a")
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
    assert remove(store, ["a", "b#1"], [OUT_OF_MEMORY]) == 4
    assert set(store.keys()) == {RecordKey("b"), RecordKey("c"), RecordKey("c", 1)}
    assert {f.reason for f in store.failures()} == {TOO_LONG}
    assert remove(store, ["e"]) == 1, "a failure is named by its id, too"
    with pytest.raises(UsageError, match="has neither record nor failure nope"):
        remove(store, ["nope", "c"])
    assert len(store) == 3, "a refused removal changes nothing"


def test_a_name_with_two_meanings(new_store: OpenStore) -> None:
    identity = sample_identity()
    keys = [RecordKey("a#1", 0), RecordKey("a#1", 1), RecordKey("a", 1), RecordKey("b#1")]
    store = new_store("a")
    store.begin(identity)
    store.write([sample_record(identity, key.problem_id, key.sample) for key in keys])
    store.write([], [sample_failure("a#01"), sample_failure("c", 1)])
    store.commit()
    both = r"a problem a#1 and a sample 1 of a; say a#1#0 a#1#1 for .* or a#001 for the sample"
    with pytest.raises(UsageError, match=both):
        remove(store, ["b#1", "a#1"])
    assert len(store) == 4, "a refused removal changes nothing"
    assert remove(store, ["a#001"]) == 1, "zeros in front of a sample mean nothing"
    assert set(store.keys()) == {*keys} - {keys[2]}
    assert remove(store, ["a#1#0", "c#1"]) == 2, "an id with a # is named with its sample"
    assert set(store.keys()) == {keys[1], keys[3]}
    assert remove(store, ["a#1", "b#1", "a#01"]) == 3, "one meaning is enough"
    assert len(store) == 0

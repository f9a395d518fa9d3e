"""Merging stores, whatever keeps them."""

from __future__ import annotations

import pytest
from store_kinds import OpenStore, assert_equal, fill

from rjepa_core.errors import IdentityError, MergeConflictError, UsageError
from rjepa_core.ports.maintenance import ToolProgress
from rjepa_core.stores import Winner, merge
from rjepa_core.testing.samples import (
    assert_same,
    sample_failure,
    sample_identity,
    sample_record,
    told_identity,
)


def test_merged_halves_are_the_whole(new_store: OpenStore) -> None:
    whole, one, two, target = map(new_store, ("whole", "one", "two", "target"))
    fill(whole, range(30))
    fill(one, range(15))
    fill(two, range(15, 30))
    seen: list[ToolProgress] = []
    report = merge(target, [one, two], report=seen.append)
    assert (report.added, report.equal, report.failures) == (30, 0, 8)
    assert seen
    assert_equal(target, whole)
    kinds = [entry["kind"] for entry in target.history()]
    assert kinds.count("extract") == 2, "the sources' run histories are kept"
    again = merge(target, [one])
    assert (again.added, again.equal, again.failures) == (0, 15, 0), "equal records are no news"


def test_a_record_beats_a_failure(new_store: OpenStore) -> None:
    identity = sample_identity()
    one, two = new_store("one"), new_store("two")
    for store in (one, two):
        store.begin(identity)
    one.write([sample_record(identity, "a")], [sample_failure("b")])
    two.write([sample_record(identity, "b")], [sample_failure("a")])
    for store in (one, two):
        store.commit()
    merge(one, [two])
    assert len(one) == 2, "a record replaces a failure of its key"
    assert not list(one.failures()), "a failure replaces no record"


@pytest.mark.parametrize("winner", ["target", "source"])
@pytest.mark.parametrize("statement", [None, "another statement"])
def test_conflicts(new_store: OpenStore, statement: str | None, winner: Winner) -> None:
    identity = sample_identity()
    target, source = new_store("target"), new_store("source")
    records = {
        "target": sample_record(identity, "p", seed=1),
        "source": sample_record(identity, "p", seed=2, statement=statement),
    }
    for store, name in ((target, "target"), (source, "source")):
        store.begin(identity)
        store.write([records[name]])
        store.commit()
    source.write([sample_record(identity, "new")])
    source.commit()
    with pytest.raises(MergeConflictError, match="p "):
        merge(target, [source])
    assert len(target) == 1, "a refused merge changes nothing"
    merge(target, [source], winner)
    assert_same(target.get(records["target"].key), records[winner], f"the {winner} wins")
    assert len(target) == 2, "what is in no conflict is merged"


def test_other_identities_are_not_merged(new_store: OpenStore) -> None:
    one, two = new_store("one"), new_store("two")
    one.begin(sample_identity())
    two.begin(sample_identity(seed=1))
    two.write([sample_record(sample_identity(), "p")])
    two.commit()
    with pytest.raises(IdentityError, match="seed"):
        merge(one, [two])
    assert len(one) == 0, "a refused merge changes nothing"


def test_a_source_that_was_never_written_to(new_store: OpenStore) -> None:
    with pytest.raises(UsageError, match="never written to; leave it out"):
        merge(new_store("one"), [new_store("two")])


def test_what_does_not_tell_with_what_does(new_store: OpenStore) -> None:
    """As in stores of an older version and a newer one."""
    identities = {
        "old": sample_identity(),
        "new": told_identity("one"),
        "other": told_identity("other"),
    }
    stores = {name: new_store(name) for name in identities}
    for name, store in stores.items():
        store.begin(identities[name])
        store.write([sample_record(identities[name], name)])
        store.commit()
    with pytest.raises(IdentityError, match="tokenizer"):
        merge(stores["old"], [stores["new"], stores["other"]])
    assert stores["old"].identity == identities["old"], "a refused merge changes nothing"
    merge(stores["old"], [stores["new"]])
    assert len(stores["old"]) == 2, "what is unknown agrees with anything"
    assert stores["old"].identity == identities["new"], "a merge keeps what one of them knows"

"""Identities that lack later fields agree with any value of them, and keep their fingerprint."""

from __future__ import annotations

import json

import attrs
import pytest

from rjepa_core.domain.identity import (
    Identity,
    LatentSpace,
    PromptIdentity,
    check_same,
    differences,
    fingerprints_agree,
    known_together,
    later,
    unknown,
)
from rjepa_core.errors import IdentityError
from rjepa_core.testing.samples import sample_identity, told_identity

OLD, NEW = sample_identity(), told_identity("one", "2026-11-03")
OTHER = told_identity("other", "2026-11-03")


def test_what_is_unknown_is_not_written_and_not_in_the_fingerprint() -> None:
    written = json.loads(json.dumps(OLD.to_json()))
    assert not {"tokenizer", "end_ids", "sampler"} & {*written["space"], *written["generation"]}
    assert "date" not in written["space"]["prompt"]
    assert Identity.from_json(written) == OLD
    # Of version 0.1, for these very values.
    assert OLD.space.fingerprint == "ec8915c51d678277"


def test_what_is_known_is_written_and_in_the_fingerprint() -> None:
    assert Identity.from_json(json.loads(json.dumps(NEW.to_json()))) == NEW
    prints = [one.space.fingerprint for one in (OLD, NEW, OTHER)]
    assert len(set(prints)) == 3
    assert all(one.startswith(prints[0]) for one in prints)
    assert fingerprints_agree(prints[0], prints[1])
    assert fingerprints_agree(prints[2], prints[0])
    assert not fingerprints_agree(prints[1], prints[2])
    for nonsense in ("", "-", "ec8915c51d678278", prints[1].replace("-", "_"), "x" * 64):
        assert not fingerprints_agree(prints[1], nonsense)
    day = told_identity("one", "2026-11-04").space.fingerprint
    assert not fingerprints_agree(prints[1], day)
    assert fingerprints_agree(told_identity("one").space.fingerprint, day)


def test_the_parts_of_a_fingerprint_cannot_be_confused() -> None:
    later_fields = [
        field.name
        for kind in (LatentSpace, PromptIdentity)
        for field in attrs.fields(kind)
        if field.metadata.get("later", ...) is None
    ]
    assert len({name[0] for name in later_fields}) == len(later_fields)


def test_what_only_one_knows_is_no_difference() -> None:
    assert differences(OLD, NEW) == differences(NEW, OLD) == []
    keys = ["space.prompt.date", "space.tokenizer", "generation.end_ids", "generation.sampler"]
    assert unknown(OLD, NEW) == keys
    assert unknown(NEW, OLD) == []
    assert known_together(OLD, NEW) == known_together(NEW, OLD) == NEW
    assert known_together(NEW, OTHER) == NEW
    assert known_together(OLD, NEW).labels == OLD.labels


def test_what_both_know_is_compared_and_both_values_are_named() -> None:
    assert differences(NEW, OTHER) == [("space.tokenizer", '"one"', '"other"')]
    with pytest.raises(IdentityError, match=r'tokenizer is "other" there and "one" in this'):
        check_same(NEW, OTHER, "a store")
    ends = attrs.evolve(NEW, generation=attrs.evolve(NEW.generation, end_ids=(2, 7)))
    with pytest.raises(IdentityError, match=r"generation.end_ids is \[2\] there and \[2, 7\] in"):
        check_same(ends, NEW, "a store")


def test_the_order_of_end_ids_does_not_matter() -> None:
    one, other = (attrs.evolve(NEW.generation, end_ids=ids) for ids in ((7, 2), [2, 7]))
    assert one == other


def test_spaces_are_compared_as_identities_are() -> None:
    assert differences(NEW.space, OTHER.space) == [("tokenizer", '"one"', '"other"')]
    assert known_together(OLD.space, NEW.space) == NEW.space


@attrs.frozen
class Newer(LatentSpace):
    """A space with a field whose older value is known: all that lack it did the same."""

    cutting: int = later(1)


def test_a_later_field_may_have_an_older_value_of_its_own() -> None:
    fields = {field.name: getattr(OLD.space, field.name) for field in attrs.fields(LatentSpace)}
    before, same, changed = Newer(**fields), Newer(**fields, cutting=1), Newer(**fields, cutting=2)
    assert before.fingerprint == same.fingerprint == OLD.space.fingerprint
    assert before.to_json() == OLD.space.to_json()
    assert not fingerprints_agree(changed.fingerprint, before.fingerprint)
    assert changed.to_json()["cutting"] == 2
    assert differences(before, changed) == [("cutting", "1", "2")]
    assert Newer.from_json(before.to_json()) == before
    assert unknown(before, changed) == []


@pytest.mark.parametrize("where", ["space", "generation", "prompt"])
def test_an_identity_of_a_newer_version_is_refused_by_name(where: str) -> None:
    written = json.loads(json.dumps(NEW.to_json()))
    part = written["space"]["prompt"] if where == "prompt" else written[where]
    part["sorcery"] = 1
    with pytest.raises(IdentityError, match=r"has 'sorcery', which .* not know; update rjepa"):
        Identity.from_json(written)

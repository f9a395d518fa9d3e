"""Stores as the evaluation reads them."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.domain.problem import Split
from rjepa_core.evaluation import corpus
from rjepa_core.evaluation.corpus import Corpus
from rjepa_core.testing.memory_store import MemoryStore, forget
from rjepa_core.testing.samples import sample_identity, sample_record

NUMBERS = itertools.count()


@given(st.lists(st.integers(2, 40), min_size=1, max_size=60), st.integers(4, 64))
def test_no_batch_is_larger_than_its_bound(lengths: list[int], bound: int) -> None:
    name = f"corpus-{next(NUMBERS)}"
    store = MemoryStore(name, "write")
    before = corpus._STEPS_AT_ONCE
    corpus._STEPS_AT_ONCE = bound
    try:
        identity = sample_identity()
        store.begin(identity)
        store.write(
            [sample_record(identity, f"p{i}", steps=steps) for i, steps in enumerate(lengths)]
        )
        store.commit()
        read = Corpus([store], identity.space, "the test")
        places = [p for split in Split if read.statements(split) for p in read.places(split)]
        batches = list(read.latents(places))
        for batch in batches:
            longest = max(len(one.latents) for one in batch)
            assert len(batch) == 1 or len(batch) * longest <= bound
        assert sorted(len(one.latents) for batch in batches for one in batch) == sorted(lengths)
    finally:
        corpus._STEPS_AT_ONCE = before
        store.close()
        forget(name)

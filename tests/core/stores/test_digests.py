"""A table of texts by their digests, compared with a dictionary."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.stores.digests import DigestTable


@given(st.lists(st.text(st.characters(codec=None), max_size=3)))
def test_texts_are_numbered_in_order(texts: list[str]) -> None:
    table, known = DigestTable(), dict[str, int]()
    for text in texts:
        assert table.find(text) == known.get(text)
        new = text not in known
        assert table.add(text) == (known.setdefault(text, len(known)), new)
    assert len(table) == len(known)


def test_it_grows() -> None:
    table = DigestTable()
    for number in range(20_000):
        assert table.add(f"p-{number}") == (number, True)
    assert [table.find(f"p-{number}") for number in range(20_000)] == list(range(20_000))
    assert table.find("p-20000") is None


def test_a_text_takes_few_bytes() -> None:
    table = DigestTable()
    for number in range(20_000):
        table.add(f"{number}" * 50)
    held = sys.getsizeof(table._digests) + table._slots.itemsize * len(table._slots)
    assert held / len(table) < 40

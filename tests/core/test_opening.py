"""Opening stores by their places, whatever adapter keeps them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

from rjepa_core.errors import ArgumentError
from rjepa_core.opening import StorePlace, locate
from rjepa_core.plugins import StoreAdapter
from rjepa_core.testing.memory_store import MemorySettings, exists, forget, rjepa_stores


def test_an_adapter_is_not_asked_for_a_mode_that_there_is_not() -> None:
    asked: list[object] = []
    adapter = StoreAdapter(
        name="lax",
        summary="takes any mode",
        settings=MemorySettings,
        create=lambda *arguments: asked.append(arguments),  # type: ignore[arg-type,func-returns-value]
        exists=exists,
    )
    wrong: Any
    for wrong in ("rw", None, "", ["read"]):
        with pytest.raises(ArgumentError, match=r"^mode: got .*, expected 'read' or 'write'"):
            StorePlace("lax:x", adapter, "x").open(wrong)
    assert not asked


def test_a_path_names_what_its_text_names() -> None:
    place = locate(PurePosixPath("memory:some/where"))
    assert place == locate("memory:some/where")
    assert (place.path, place.adapter, place.place) == (
        "memory:some/where",
        next(iter(rjepa_stores())),
        "some/where",
    )
    place.open("write").close()
    assert place.exists
    forget("some/where")

"""Look into stores, and do them harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
from click.testing import Result

from rjepa_core import RecordKey, open_store
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.testing.samples import assert_same


def facts(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.exit_code == code, result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def records(place: str) -> dict[str, LatentRecord]:
    opened = open_store(place)
    found = {str(key): opened.get(key) for key in opened.keys()}  # noqa: SIM118
    opened.close()
    return found


def assert_equal_stores(found: str, wanted: str) -> None:
    ours, theirs = records(found), records(wanted)
    assert set(ours) == set(theirs)
    for name, record in ours.items():
        assert_same(record, theirs[name], name)


def damage(place: str, key: RecordKey) -> None:
    """Flip one bit in the middle of the record's vectors."""
    opened = open_store(place)
    vectors = opened.get(key).latents.tobytes()
    opened.close()
    path = Path(place, "data.mdb")
    data = bytearray(path.read_bytes())
    assert data.count(vectors) == 1
    data[data.index(vectors) + len(vectors) // 2] ^= 4
    path.write_bytes(data)


def change(place: str, key: RecordKey) -> None:
    """Give the record other vectors, as a run on other hardware might."""
    opened = open_store(place, "write")
    record = opened.get(key)
    opened.delete([key])
    opened.write([attrs.evolve(record, latents=record.latents + 1)])
    opened.close()

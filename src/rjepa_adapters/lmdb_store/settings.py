"""Settings of the LMDB store."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs import validators

GIB = 2**30


@attrs.frozen(kw_only=True)
class LmdbSettings:
    """Settings of the LMDB store.

    Attributes:
        checkpoint_every: commit after this many finished records and failures; None commits by
            time alone.
        checkpoint_seconds: without `checkpoint_every`, the longest time that a finished record
            waits for its commit.
        sync: what a commit waits for. `full`: data and meta page are on the disk; a power failure
            loses nothing that was committed. `data`: the meta page may follow later; a power
            failure may undo the last commit. `none`: the operating system decides when to write; a
            power failure may destroy the store. With any of them, a killed process loses nothing
            that was committed.
        verify_reads: check every record that is read against its checksum.
        map_bytes: address space to reserve at first; it grows as needed.
    """

    checkpoint_every: int | None = attrs.field(
        default=None, validator=validators.optional(validators.ge(1))
    )
    checkpoint_seconds: float = attrs.field(default=10.0, validator=validators.ge(0.0))
    sync: Literal["full", "data", "none"] = attrs.field(
        default="full", validator=validators.in_(("full", "data", "none"))
    )
    verify_reads: bool = True
    map_bytes: int = attrs.field(default=64 * GIB, validator=validators.ge(2**16))

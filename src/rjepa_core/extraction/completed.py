"""Recognise work that an earlier run completed, without reading it again.

The run history keeps the fingerprint of the sources that were completed and the digest of the store
afterwards. If both are still the same, so is the answer: nothing is missing.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import attrs

from ..errors import InputError
from ..ports.source import Fingerprints
from ..ports.store import HasDigest, LatentStore
from ..stores import digest_of
from ..version import __version__
from .work import StoredTraces, Survey, Worklist

_KEY = "completed"


@attrs.frozen
class Completed:
    """Work of which nothing is missing.

    Attributes:
        survey: of the work.
        failed: how much of it failed.
    """

    survey: Survey
    failed: int


def fingerprint_of(work: Worklist | StoredTraces) -> str | None:
    """Return a text that differs if the work does; None if a source cannot tell.

    Raises:
        InputError: a source cannot be read.
    """
    if isinstance(work, StoredTraces):
        store = work.store
        parts = [store.digest() if isinstance(store, HasDigest) else None]
        chosen: list[Any] = [work.limit, str(work.shard)]
    else:
        parts = [s.fingerprint() if isinstance(s, Fingerprints) else None for s in work.sources]
        chosen = [work.samples, work.limit, work.given, str(work.shard)]
    if None in parts:
        return None
    # Another version may read the same file in another way.
    return digest_of(json.dumps([__version__, type(work).__name__, chosen, parts])).hex()


def find_completed(store: LatentStore, fingerprint: str | None) -> Completed | None:
    """Return the work of that fingerprint if the store has all of it, as far as it is known."""
    if fingerprint is None or not isinstance(store, HasDigest):
        return None
    kept = [run[_KEY] for run in store.history() if isinstance(run.get(_KEY), dict)]
    known = {"work": fingerprint, "store": store.digest()}
    for one in reversed(kept):
        if known.items() <= one.items():
            return Completed(Survey(**one["survey"]), one["failed"])
    return None


def completed_fields(
    work: Worklist | StoredTraces,
    fingerprint: str | None,
    survey: Survey,
    failed: int,
    store: LatentStore,
) -> dict[str, Any]:
    """Return the fields of the run history by which `find_completed` recognises the work.

    There are none if that cannot be told, or if a source has changed since it was read.
    """
    if fingerprint is None or not isinstance(store, HasDigest):
        return {}
    now = None
    with contextlib.suppress(InputError):
        now = fingerprint_of(work)
    if now != fingerprint:
        return {}
    kept = {"work": fingerprint, "store": store.digest(), "failed": failed}
    return {_KEY: {**kept, "survey": attrs.asdict(survey)}}

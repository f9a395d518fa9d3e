"""Find records of a store by id or by the words of problem and solution."""

from __future__ import annotations

import threading
from itertools import islice

import attrs

from rjepa_core.domain.trace import RecordKey, Trace
from rjepa_core.ports.store import LatentStore

# Their folded texts are held in memory, about as many bytes as characters.
MOST_SEARCHED = 100_000


def fold(text: str) -> str:
    """Return a text without capitals, and with single spaces."""
    return " ".join(text.casefold().split())


@attrs.frozen
class Found:
    """Records that match.

    Attributes:
        keys: some of them, those whose id is what was looked for first.
        total: how many match.
        searched: how many records were searched.
    """

    keys: tuple[RecordKey, ...]
    total: int
    searched: int


class RecordSearch:
    """Searches a store's first `MOST_SEARCHED` records, whose texts are read at the first search.

    Thread-safe, as the store is.
    """

    def __init__(self, store: LatentStore) -> None:
        self._store, self._lock = store, threading.Lock()
        self._texts: dict[RecordKey, str] = {}
        self._known = -1

    def find(self, words: str, count: int, first: int = 0) -> Found:
        """Return `count` records that hold all the words, after `first` others."""
        texts = self._read()
        wanted = fold(words).split()
        matching = [key for key, text in texts.items() if all(word in text for word in wanted)]
        matching.sort(key=lambda key: words.strip() not in (key.problem_id, str(key)))
        return Found(tuple(matching[first : first + count]), len(matching), len(texts))

    def _read(self) -> dict[RecordKey, str]:
        with self._lock:
            # A store that is being written to is read anew when it has more records.
            if self._known != len(self._store):
                with self._store.snapshot() as store:
                    keys = list(islice(store.keys(), MOST_SEARCHED))
                    self._texts = {key: _text(store.get(key).trace) for key in keys}
                    self._known = len(store)
            return self._texts


def _text(trace: Trace) -> str:
    return fold(f"{trace.key}\n{trace.problem.statement}\n{trace.completion}")

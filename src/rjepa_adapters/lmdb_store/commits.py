"""What waits for the next commit, and when that is."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from rjepa_core.domain.trace import Failure, RecordKey
from rjepa_core.errors import StoreError, StoreGoneError
from rjepa_core.ports.store import Entry
from rjepa_core.text import count

from .codec import EncodedRecord
from .environment import Environment
from .settings import LmdbSettings
from .writing import Pending, apply_pending

# A commit's records wait in memory; bounding their size keeps merge and import flat.
_MOST_BYTES = 64 * 2**20


class Commits:
    """Gathers what is written and commits it when it is due, on a thread of its own if need be.

    Attributes:
        mutex: held while what waits is looked at or changed.
    """

    def __init__(self, environment: Environment, settings: LmdbSettings) -> None:
        self.mutex = threading.RLock()
        self._environment = environment
        self._settings = settings
        self._pending = Pending()
        self._timer: threading.Timer | None = None
        self._last = time.monotonic()
        self._stopped = False

    def take(self, records: Sequence[EncodedRecord], failures: Sequence[Failure]) -> None:
        """Add to what waits; commit if it is time."""
        with self.mutex:
            self._pending.add(records, failures)
            if self._due():
                self.commit()
            elif self._pending and self._timer is None:
                self._start_timer()

    def commit(self) -> None:
        """Commit what waits.

        Raises:
            DiskFullError: no room; it keeps waiting.
            StoreGoneError: the store is no longer at its path; see `require_current`.
        """
        with self.mutex:
            self._stop_timer()
            pending = self._pending
            try:
                require_current(self._environment)
                if pending:
                    self._environment.write(
                        lambda txn: apply_pending(self._environment, txn, pending)
                    )
                    self._pending = Pending()
            except StoreError as error:
                if not pending.records:
                    raise
                waiting = count(len(pending.records), "record")
                raise type(error)(
                    f"{error} (not stored: {waiting} since the last commit)"
                ) from None
            self._last = time.monotonic()

    def entry(self, key: RecordKey) -> Entry | None:
        """What waits under a key."""
        return self._pending.entry(key)

    def waiting(self) -> list[RecordKey]:
        """Keys of the records that wait."""
        with self.mutex:
            return list(self._pending.records)

    def stop(self) -> None:
        """Commit nothing by itself any more."""
        self._stopped = True
        self._stop_timer()

    def _due(self) -> bool:
        if self._pending.bytes > _MOST_BYTES:
            return True
        every = self._settings.checkpoint_every
        if every is not None:
            return self._pending.since_commit >= every
        return time.monotonic() - self._last >= self._settings.checkpoint_seconds

    def _start_timer(self) -> None:
        """Commit on time even if nothing more is written; with `checkpoint_every` there is none."""
        if self._settings.checkpoint_every is not None:
            return
        left = self._last + self._settings.checkpoint_seconds - time.monotonic()
        self._timer = threading.Timer(max(0.0, left), self._on_time)
        self._timer.daemon = True
        self._timer.start()

    def _on_time(self) -> None:
        with self.mutex:
            self._timer = None
            try:
                if not self._stopped:
                    self.commit()
            except StoreError:
                pass  # It keeps waiting: the next write or the closing tries again and tells.

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def require_current(environment: Environment) -> None:
    """Refuse to write where nobody would find it: LMDB writes on into a file that was deleted.

    Raises:
        StoreGoneError: the file at the store's path is not the one that is open.
    """
    if not environment.is_current():
        raise StoreGoneError(
            f"{environment.path}: the store is gone: it was deleted, moved or replaced while it "
            "was open; put it back, or start anew in another place"
        )

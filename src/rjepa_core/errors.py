"""The errors a user can meet. Each message says what was wrong, where, and what to do."""

from __future__ import annotations


class RJepaError(Exception):
    """A run cannot continue: disk full, device lost, store damaged. Exit code 1."""


class UsageError(RJepaError):
    """The user can fix this before anything runs: settings, names, input. Exit code 2."""


class ArgumentError(UsageError, ValueError):
    """A call from Python got an invalid argument; the message names it."""


class SettingsError(UsageError, ValueError):
    """A setting is unknown, of the wrong type or out of range; the message names its full key."""


class InputError(UsageError):
    """A source of problems cannot be read; the message names the file, and the line if known."""


class NotFiniteError(InputError):
    """A world model's output for a sequence is NaN or infinite: its latents are too large."""


class UnknownAdapterError(UsageError):
    """No adapter of that kind has that name."""


class PluginError(RJepaError):
    """A plugin broke a promise of the hook contract."""


class AmbiguousPluginError(PluginError, UsageError):
    """Two distributions offer an adapter of the same name."""


class IncompatiblePluginError(PluginError, UsageError):
    """A plugin was made for another version of the hooks; the message names it and what to do."""


class UnsupportedError(UsageError):
    """An adapter was asked for something that it does not offer."""


class StoreExistsError(UsageError):
    """A store that holds records was opened to start a new run."""


class StoreNotFoundError(UsageError):
    """There is no store at that place."""


class IdentityError(UsageError):
    """Two runs must not be mixed: their latent spaces or generations differ."""


class StatementChangedError(UsageError):
    """A problem's id is already known with another statement."""


class StoreError(RJepaError):
    """The store cannot be read or written."""


class StoreClosedError(StoreError):
    """A store's handle or snapshot was used after it was closed."""


class StoreGoneError(StoreError):
    """A store was deleted, moved or replaced while open; anything written would be lost."""


class StoreLockedError(UsageError):
    """Another process is writing to the store."""


class NoRoomError(UsageError):
    """The disk cannot hold what a run is expected to store."""


class DiskFullError(StoreError):
    """The disk is full; nothing that was committed is lost."""


class DamagedRecordError(StoreError):
    """A record does not match its checksum; the message names its key."""


class ProblemsFailedError(RJepaError):
    """A run finished, but more of its work failed than was allowed. Exit code 3."""


class BackendError(RJepaError):
    """The LLM backend cannot continue."""


class OutOfMemoryError(BackendError):
    """A batch did not fit into memory; its work is given back, not lost.

    Attributes:
        needed_bytes: memory that the process would have held with the failed request, weights
            included, where the engine reports it; at least this much is needed.
    """

    def __init__(self, message: str, needed_bytes: int | None = None) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes


class MergeConflictError(UsageError):
    """Stores to be merged hold different records for the same key."""

"""The errors a user can meet. Each message says what was wrong, where, and what to do."""

from __future__ import annotations


class RJepaError(Exception):
    """A run could not go on: disk full, device lost, store damaged. Exit code 1."""


class UsageError(RJepaError):
    """The user can mend this before anything runs: settings, names, input. Exit code 2."""


class ArgumentError(UsageError, ValueError):
    """A call from Python was given what it does not take; the message names the argument."""


class SettingsError(UsageError):
    """A setting is unknown, of the wrong type or out of range; the message names its full key."""


class InputError(UsageError):
    """A source of problems cannot be read; the message names the file, and the line if known."""


class NotFiniteError(InputError):
    """What a world model makes of a sequence is NaN or infinite: its latents are too large."""


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
    """Two runs that must not meet: their latent spaces or generations differ."""


class StatementChangedError(UsageError):
    """A problem's id is known, with another statement."""


class StoreError(RJepaError):
    """The store cannot be read or written."""


class StoreClosedError(StoreError):
    """A store's handle or snapshot was used after it was closed."""


class StoreGoneError(StoreError):
    """A store was deleted, moved or replaced while it was open; what is written would be lost."""


class StoreLockedError(UsageError):
    """Another process is writing to the store."""


class NoRoomError(UsageError):
    """The disk cannot hold what a run is expected to store."""


class DiskFullError(StoreError):
    """No room is left for the store; nothing that was committed is lost."""


class DamagedRecordError(StoreError):
    """A record does not match its checksum; the message names its key."""


class ProblemsFailedError(RJepaError):
    """A run did all its work, and more of it failed than was allowed. Exit code 3."""


class BackendError(RJepaError):
    """The LLM backend cannot go on."""


class OutOfMemoryError(BackendError):
    """A batch did not fit into memory; the work of the batch is given back, not lost.

    Attributes:
        needed_bytes: what the process would have held with the request that failed, weights
            included, where the engine tells: at least so much is needed.
    """

    def __init__(self, message: str, needed_bytes: int | None = None) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes


class MergeConflictError(UsageError):
    """Two stores that are to be merged hold different records for a key."""

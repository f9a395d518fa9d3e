"""The progress port: what shows a caller of the library how far a long call is."""

from __future__ import annotations

from typing import Protocol


class ProgressBar(Protocol):
    """A bar, a widget or a line; nothing is shown before the first call."""

    def show(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Show how far the work is; another phase counts from the beginning.

        Args:
            phase: what is being done, in a word or two.
            done, total: how much of it; total is 0 if unknown.
            note: what else there is to say, such as a loss.
        """
        ...

    def close(self) -> None:
        """Leave what is shown as it is, and show no more."""
        ...

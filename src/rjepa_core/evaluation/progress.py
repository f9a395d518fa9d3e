"""How the caller follows an evaluation, and runs the extractions in it."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ..extraction import Extraction
from ..ports.maintenance import ToolProgress


def _run(extraction: Extraction) -> None:
    extraction.run()


@attrs.frozen
class EvaluationWatch:
    """What an evaluation tells.

    Attributes:
        say: told what goes on.
        warn: told what is doubtful, visibly.
        report: called as a phase goes on.
        encode: runs an extraction; the caller may show it.
    """

    say: Callable[[str], None] = lambda line: None
    warn: Callable[[str], None] = lambda line: None
    report: Callable[[ToolProgress], None] = lambda progress: None
    encode: Callable[[Extraction], None] = _run

    def phase(self, name: str, total: int) -> Callable[[int], None]:
        """A phase begins; call the result with how much of it is done."""
        self.report(ToolProgress(name, 0, total))
        return lambda done: self.report(ToolProgress(name, done, total))

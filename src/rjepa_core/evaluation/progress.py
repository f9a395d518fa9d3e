"""How the caller follows an evaluation, and runs the extractions in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs

from ..extraction import Extraction, run_shown
from ..ports.maintenance import ToolProgress
from ..ports.progress import ProgressBar
from ..text import brief


def _run(extraction: Extraction) -> None:
    extraction.run()


def _run_shown(bar: ProgressBar, extraction: Extraction) -> None:
    run_shown(extraction, bar)


@attrs.frozen
class EvaluationWatch:
    """What an evaluation tells.

    Attributes:
        say: told what goes on.
        warn: told what is doubtful, visibly.
        report: called as a phase goes on.
        encode: runs an extraction; the caller may show it.
    """

    __repr__ = brief

    say: Callable[[str], None] = lambda line: None
    warn: Callable[[str], None] = lambda line: None
    report: Callable[[ToolProgress], None] = lambda progress: None
    encode: Callable[[Extraction], None] = _run

    def shown_on(self, bar: ProgressBar) -> EvaluationWatch:
        """Return the same, with what goes on shown on a bar too."""

        def report(progress: ToolProgress) -> None:
            bar.show(progress.phase, progress.done, progress.total)
            self.report(progress)

        # Whoever runs the extractions shows them, too.
        encode = self.encode if self.encode is not _run else partial(_run_shown, bar)
        return attrs.evolve(self, report=report, encode=encode)

    def phase(self, name: str, total: int) -> Callable[[int], None]:
        """A phase begins; call the result with how much of it is done."""
        self.report(ToolProgress(name, 0, total))
        return lambda done: self.report(ToolProgress(name, done, total))

"""The grader `math`: plain numbers at once, mathematics in processes with limits."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from rjepa_core.domain.grade import NO_ANSWER, NO_REFERENCE, UNGRADED, WRONG, Verdict
from rjepa_core.domain.problem import Problem
from rjepa_core.errors import UsageError
from rjepa_core.grading import comparable, needs_reference
from rjepa_core.ports.grader import Submission

from ..optional import install_extra
from .compare import compare
from .settings import MathSettings
from .workers import Workers

# Of what is done here; the library's stands behind it.
OWN_VERSION = "1"


class MathGrader:
    """See `Grader`.

    Raises:
        UsageError: the library `math-verify` is not installed.
    """

    name = "math"

    def __init__(self, settings: MathSettings | None = None) -> None:
        self._settings = settings or MathSettings()
        try:
            self.version = f"{OWN_VERSION}, math-verify {version('math-verify')}"
        except PackageNotFoundError:
            raise UsageError(
                "the grader 'math' needs math-verify, which is not installed; "
                f"{install_extra('grade')}, or use the grader 'exact'"
            ) from None
        self._workers = Workers(self._settings)

    def refuses(self, problem: Problem) -> str | None:
        return needs_reference(problem)

    def grade(self, submissions: Sequence[Submission]) -> list[Verdict]:
        found = [self._at_once(one) for one in submissions]
        hard = [i for i, verdict in enumerate(found) if verdict is None]
        pairs = [
            (comparable(submissions[i].expected or ""), comparable(submissions[i].answer or ""))
            for i in hard
        ]
        for i, verdict in zip(hard, self._workers.compare(pairs), strict=True):
            found[i] = verdict
        return [one for one in found if one is not None]

    def close(self) -> None:
        self._workers.close()

    def _at_once(self, one: Submission) -> Verdict | None:
        if one.expected is None:
            return Verdict(UNGRADED, NO_REFERENCE)
        if one.answer is None:
            return Verdict(WRONG, NO_ANSWER)
        return compare(one.expected, one.answer, self._settings.longest)

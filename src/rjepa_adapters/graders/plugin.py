"""The descriptors of the built-in graders. No computer algebra is imported before it is needed."""

from __future__ import annotations

from collections.abc import Iterable

from rjepa_core.plugins import GraderAdapter, NoSettings, hookimpl
from rjepa_core.ports.grader import Grader

from .settings import MathSettings


def create_exact(settings: NoSettings) -> Grader:
    """The grader that compares texts."""
    from .exact import ExactGrader

    return ExactGrader()


def create_math(settings: MathSettings) -> Grader:
    """The grader that knows numbers and mathematics."""
    from .math import MathGrader

    return MathGrader(settings)


@hookimpl
def rjepa_graders() -> Iterable[GraderAdapter]:
    return [
        GraderAdapter(
            name="math",
            summary="numbers, units, fractions, LaTeX; mathematics in processes with limits",
            settings=MathSettings,
            create=create_math,
        ),
        GraderAdapter(
            name="exact",
            summary="the same text, marks and capitals aside",
            create=create_exact,
        ),
    ]

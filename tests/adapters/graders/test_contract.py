"""The built-in graders keep every promise of a grader."""

from __future__ import annotations

from typing import ClassVar

from rjepa_adapters.graders.plugin import rjepa_graders
from rjepa_core.testing.grader_suite import GraderContract

MATH, EXACT = rjepa_graders()


class TestMath(GraderContract):
    adapter = MATH
    options: ClassVar = {"seconds": 1.0, "workers": 1}
    right = ("18", "18.0", "$18", "2 \\cdot 9", "\\sqrt{324}")


class TestExact(GraderContract):
    adapter = EXACT
    right = ("18", "$18$", "\\text{18}.")

"""Put an evaluation into the report of the run that was evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

# The name of a run's report.
REPORT = "report.html"
_BEGIN, _END = "<!-- evaluation -->", "<!-- end of the evaluation -->"
# Where it stands in a report; until there is one, nothing is between the two.
EVALUATION = Markup(_BEGIN + _END)


def show_in_run(run: Path, facts: Mapping[str, Any], world_model: str, when: str) -> Path | None:
    """Put what an evaluation says of a world model into its run's report, and return its path.

    Args:
        run: the run's folder; the result is None if it holds no report.
        facts: of an `Evaluation`.
        world_model: its name in them.
        when: it was evaluated.

    Raises:
        OSError: the report cannot be read or written.
    """
    from .evaluation import section

    path = run / REPORT
    if not path.is_file():
        return None
    report = path.read_text(encoding="utf-8", errors="surrogateescape")
    page = with_evaluation(report, section(facts, world_model, when))
    if page is None:
        return None
    unfinished = path.with_name(f"{REPORT}.part")
    unfinished.write_text(page, encoding="utf-8", errors="surrogateescape")
    unfinished.replace(path)
    return path


def with_evaluation(report: str, section: str) -> str | None:
    """Return a run's report with an evaluation, in place of an earlier one.

    A report of an older version gets it before its first section. The result is None if `report` is
    no report of a run.
    """
    before, begin, rest = report.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if begin and end:
        return f"{before}{_BEGIN}\n{section}{_END}{after}"
    before, heading, after = report.partition("<h2>")
    return f"{before}{_BEGIN}\n{section}{_END}\n{heading}{after}" if heading else None

"""Charts as SVG."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.reports.svg import curves

magnitudes = st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-6)


def labels(values: list[float]) -> list[str]:
    """What stands beside the horizontal lines."""
    drawn = str(curves("c", list(range(len(values))), {"line": values}))
    return re.findall(r'<text[^>]*text-anchor="end"[^>]*>([^<]*)<', drawn)


@given(magnitudes, st.floats(0, 1e-3))
def test_no_two_lines_have_the_same_label(value: float, spread: float) -> None:
    # Such as the rank of a few rows, 1.0000039 and 1.0000095.
    found = labels([value, value * (1 + spread)])
    assert len(found) >= 2
    assert len(set(found)) == len(found)

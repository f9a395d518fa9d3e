"""A plot in characters: its bars are as high as what they stand for."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from rjepa_cli.views.history import chart

HEIGHTS = {bar: i for i, bar in enumerate(" ▁▂▃▄▅▆▇█")}


def heights(lines: list[str]) -> list[int]:
    rows = [line.split("┤")[1] for line in lines[:-1]]
    return [sum(HEIGHTS[row[i]] for row in rows) for i in range(len(rows[0]))]


def test_a_step_down_in_the_middle() -> None:
    lines = chart("rows", [60.0, 120.0], [16.0, 8.0], width=10)
    assert heights(lines) == [24] * 5 + [12] * 5
    assert lines[0].split("┤")[0].strip() == "16"
    assert lines[-1].endswith("rows over 2 min")


def test_time_counts_and_not_the_number_of_points() -> None:
    """Ten short stretches and one long: the long one takes most of the width."""
    ends = [float(i + 1) for i in range(10)] + [100.0]
    assert heights(chart("x", ends, [1.0] * 10 + [4.0], width=10)) == [6] + [24] * 9


def test_nothing_happened() -> None:
    assert heights(chart("x", [1.0, 2.0], [0.0, 0.0])) == [0] * 60


@example([(1.0, 5e-324)])
@given(st.lists(st.tuples(st.floats(0.01, 1e4), st.floats(0, 1e6)), min_size=1, max_size=200))
def test_every_column_is_within_what_there_was(stretches: list[tuple[float, float]]) -> None:
    ends, at = [], 0.0
    for length, _ in stretches:
        at += length
        ends.append(at)
    values = [value for _, value in stretches]
    lines = chart("x", ends, values)
    assert len({len(line.split("┤")[1]) for line in lines[:-1]}) == 1
    assert max(heights(lines)) <= 24
    if max(values) > 0:
        assert max(heights(lines)) == 24

"""What stands on a real terminal of 80 columns: bars, spinners, tables, colours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from terminal import frames, on_terminal

from rjepa_cli.console import Screen
from rjepa_cli.progress import Meter, Status
from rjepa_core.benchmark import report as bench
from rjepa_core.evaluation import text as evaluation
from rjepa_core.training import report as training

from .conftest import command

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
EXTRACT = (
    *("extract", "--problems", "problems.jsonl", "--backend", "seeded"),
    *("--model", "m", "--store", "s"),
)
MOVES = re.compile(r"\x1b\[[0-9;?]*[A-HJKlh]")


class Terminal:
    """Stands for a terminal of a width; keeps what is written."""

    encoding = "utf-8"

    def __init__(self, columns: int) -> None:
        self.written, self._columns, self.lost = "", columns, False

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def line(self, text: str) -> None:
        self.write(f"{text}\n")

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True

    def columns(self) -> int:
        return self._columns

    def styled(self, text: str, style: str) -> str:
        return text


def screen_of(columns: int, monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    screen.err = Terminal(columns)  # type: ignore[assignment]
    return screen


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_time_left_survives_a_long_tail(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(columns, monkeypatch)
    tail = "35.4 problems/s, 49,194 token/s, 8 rows (16 -> 8: memory pressure) in flight, 0 failed"
    with Meter(screen, 21_456) as meter:
        meter.show(12_345, lambda: Status(tail, "3 h 12 min left"))
        meter._bar.refresh()  # type: ignore[union-attr]
    drawn = frames(screen.err.written)  # type: ignore[attr-defined]
    assert max(map(len, drawn)) <= columns
    last = drawn[-1]
    assert "━" in last
    assert "12,345/21,456 3 h 12 min left 0:00:00" in last
    assert last.endswith("…") is (columns < 150)


def test_a_spinner_stands_until_the_next_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(80, monkeypatch)
    screen.busy("loading " + "m" * 100)
    screen.say("loaded")
    written = screen.err.written  # type: ignore[attr-defined]
    assert frames(written)[-2:] == ["loading " + "m" * 100 + " …", "loaded"]
    assert max(len(line) for line in frames(written)[:-2]) <= 80
    assert MOVES.search(written)


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_dumb_terminal_gets_lines(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(80, monkeypatch)
    monkeypatch.setenv("TERM", term)
    screen.busy("loading m")
    with Meter(screen, 4) as meter:
        meter.show(4, lambda: Status("4 problems/s"))
    written = screen.err.written  # type: ignore[attr-defined]
    assert written.startswith("loading m …\n")
    assert written.rstrip().endswith("4/4  4 problems/s")
    assert "\x1b" not in written


@pytest.mark.parametrize(
    ("environment", "coloured", "moves"),
    [({}, True, True), ({"NO_COLOR": "1"}, False, True), ({"TERM": "dumb"}, False, False)],
)
def test_colour_only_where_it_is_wanted(
    home: Path, environment: dict[str, str], coloured: bool, moves: bool
) -> None:
    code, written = on_terminal(
        command(*EXTRACT, "--layer", "77"),
        environment=environment,
    )
    assert code == 2
    assert bool(MOVES.search(written)) is moves
    if not coloured:
        found = [x for x in COLOUR.findall(written) if re.search(r"[34]\d|[39]8;", x)]
        assert found == []
    assert ("\x1b[31merror: \x1b[0m" in written) is coloured


def test_an_extraction(home: Path) -> None:
    code, written = on_terminal(command(*EXTRACT, "--scheduler", "fixed"))
    assert code == 0
    lines = frames(written)
    bars = [line for line in lines if "━" in line]
    assert bars
    assert max(map(len, bars)) <= 80
    assert any(line.startswith("loading m …") for line in lines)
    assert "10/10" in bars[-1]


@pytest.mark.parametrize("arguments", ["plugins", "show s", "show s --history"])
def test_listings_fit(store: str, arguments: str) -> None:
    code, written = on_terminal(command(*arguments.split()))
    assert code == 0
    assert max(map(len, frames(written))) <= 80


FIGURE = {"value": 0.1234, "low": -0.123, "high": 0.456}
COLUMNS = ["error", "explained variance", "top-1", "MRR", "top-1 same place"]


def test_tables_of_evaluation() -> None:
    line = {
        "method": "a world model of a long name (worst of 3 seeds) in a folder of a long name",
        "kind": "world model",
        "of": [],
        "figures": dict.fromkeys(COLUMNS, FIGURE),
        "differences": {"ridge regression": dict.fromkeys(COLUMNS, FIGURE)},
    }
    table = {
        "title": "Each step predicted from the past, " * 4,
        "columns": COLUMNS,
        "lines": [line],
        "chance": dict.fromkeys(COLUMNS, 0.5),
        "items": 1,
        "problems": 1,
        "notes": ["a long note of what is measured and why " * 3],
    }
    facts = {
        "world_models": {"wm": {"location": "runs/wm", "objective": "frozen"}},
        "split": "test",
        "stores": ["runs/a"],
        "facts": {"training_traces": 1, "training_steps": 1},
        "draws": 0,
        "tables": [table],
    }
    for width in (80, 60):
        shown = list(evaluation.lines(facts, width))
        assert max(map(len, shown)) <= width
        text = "\n".join(shown)
        assert all(column in text for column in COLUMNS)
        assert "(1 item of 1 problem)" in text
    assert max(map(len, evaluation.lines(facts))) > 80


def test_the_table_of_epochs() -> None:
    names = ["loss", "val_loss", "val_error_past", "val_top1_past", "val_mrr_past", "rank_targets"]
    curve = [{"epoch": i, "step": 5 * i, **dict.fromkeys(names, 1.2345)} for i in (1, 2)]
    facts = {
        "curve": curve,
        "best_epoch": 1,
        "best": 0.5,
        "ending": "done",
        "epochs": 2,
        "steps": 10,
        "samples": 1,
        "seconds": 1.0,
        "run": "r",
        "report": None,
    }
    shown = training.lines(facts, 60)
    assert max(map(len, shown)) <= 60
    heads = [line.split() for line in shown if "epoch" in line and ":" not in line]
    assert [name for head in heads for name in head if name != "epoch"] == ["step", *names]
    assert sum(line.startswith("*") for line in shown) == len(heads) > 1


def test_the_table_of_bench() -> None:
    spread = {"median": 5.0, "least": 4.0, "most": 6.0}
    contender = {
        "name": "1",
        "rounds": [1, 2],
        "peak_bytes": 10**9,
        "speed_up": 1.0,
        "hours": 2.0,
        "seconds_per_problem": spread,
        "tokens_per_second": spread,
        "out_of_memory": 2,
        "failed": 1,
    }
    facts = {
        "baseline": "1",
        "total": 21456,
        "contenders": [contender],
        "interrupted": False,
        "model": {"name": "m", "compute_dtype": "float32", "quantisation": "none", "device": "cpu"},
        "machine": {"devices": {}},
        "problems": {"count": 1},
        "warning": None,
        "settings": {"sampling": {"max_new_tokens": 10}, "bench": {"rounds": 1}},
        "recommendation": {"sentence": "One at a time is fastest. " * 9, "doubts": []},
    }
    narrow, wide = bench.lines(facts, 50), bench.lines(facts)
    assert max(map(len, narrow)) <= 50
    assert "1: out of memory 2 times, 1 problem failed" in narrow
    assert any(line.endswith("  out of memory 2 times, 1 problem failed") for line in wide)

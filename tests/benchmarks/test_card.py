"""What is run on a card: every part in short on a CPU, its limits, and how it goes on."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

CARD = Path(__file__).parents[2] / "benchmarks" / "card"
RUN = CARD / "run.py"


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scripts as modules, by name."""
    monkeypatch.syspath_prepend(str(CARD))
    for name in ("figures", "run", "report", "reporting"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module


# `make card-rehearsal` does the same in an environment of its own.
@pytest.mark.slow
def test_every_part_is_rehearsed(tmp_path: Path) -> None:
    if importlib.util.find_spec("awq") is None:
        pytest.skip("AutoAWQ is not installed")
    command = [sys.executable, str(RUN), "--rehearse", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    parts = {row["part"] for row in rows}
    assert parts == {"run", *(path.stem for path in CARD.glob("part*.py"))}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "log.txt",
        "profile.txt",
        "results.jsonl",
    ]
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("all of it is measured") == len(parts) - 1


def started(kit: Any, code: str, limit: float, home: Path) -> list[dict[str, Any]]:
    """The rows after a part of that code."""
    run = kit("run")
    run.HERE = home
    (home / "some_part.py").write_text(
        f"import sys\nsys.path.insert(0, {str(CARD)!r})\n"
        "from pathlib import Path\nfrom figures import Figures\n"
        f"figures = Figures(Path({str(home)!r}), 'some_part')\n{code}"
    )
    args = argparse.Namespace(out=home, rehearse=True)
    run.run("some_part", limit, args, dict(os.environ))
    rows: list[dict[str, Any]] = kit("figures").Figures(home).rows()
    return rows


def test_a_part_is_killed_at_its_limit_and_what_it_had_is_kept(kit: Any, tmp_path: Path) -> None:
    child = tmp_path / "child"
    code = (
        "import subprocess, time\nfigures.measure('first', lambda: {'text': 'known'})\n"
        f"subprocess.Popen(['sh', '-c', 'sleep 4; touch {child}'])\ntime.sleep(60)\n"
    )
    began = time.monotonic()
    first, ending = started(kit, code, 2.0, tmp_path)
    assert time.monotonic() - began < 4
    assert (first["key"], first["text"]) == ("first", "known")
    assert "stopped at its limit of 2 s" in ending["error"]
    time.sleep(3)
    assert not child.exists(), "what a part started ends with it"


def test_a_failure_is_kept_with_its_reason_and_tried_again(kit: Any, tmp_path: Path) -> None:
    fails = "figures.measure('one', lambda: 1 / 0)\nfigures.measure('two', lambda: {'text': '2'})\n"
    one, two, ending = started(kit, fails, 20.0, tmp_path)
    assert one["error"].endswith("ZeroDivisionError: division by zero")
    assert (two["text"], ending["text"]) == ("2", "ended by itself")
    works = "figures.measure('one', lambda: {'text': '1'})\nfigures.measure('two', lambda: 1 / 0)\n"
    one, two, ending = started(kit, works, 20.0, tmp_path)
    assert (one["text"], two["text"]) == ("1", "2")
    raises = "raise SystemExit('there is no card')\n"
    assert "there is no card" in started(kit, raises, 20.0, tmp_path)[-1]["error"]


def test_half_a_line_of_a_killed_process_is_passed_over(kit: Any, tmp_path: Path) -> None:
    figures = kit("figures").Figures(tmp_path, "part")
    figures.keep("one", text="1")
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"part": "part", "key": "tw')
    figures.keep("three", text="3")
    assert [row["key"] for row in kit("figures").Figures(tmp_path).rows()] == ["one", "three"]


def test_no_part_is_started_without_time(kit: Any, tmp_path: Path) -> None:
    command = [sys.executable, str(RUN), "--rehearse", "--out", str(tmp_path), "--minutes", "0.05"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.count("not started") == 5


def test_the_report_names_the_card(
    kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = kit("report")
    page = tmp_path / "docs" / "benchmarks.md"
    page.parent.mkdir()
    page.write_text("# Benchmarks\n")
    monkeypatch.setattr(report.reporting, "PAGE", page)
    folder = tmp_path / "came-back"
    folder.mkdir()
    monkeypatch.setattr(sys, "argv", ["report.py", str(folder)])
    with pytest.raises(SystemExit, match="no results"):
        report.main()
    figures = kit("figures").Figures(folder)
    facts = {"text": "A Card 9000", "cores": 16, "python": "3.12.3", "transformers": "5.17.0"}
    figures.keep("machine", device="cpu (a rehearsal)", **facts)
    part = kit("figures").Figures(folder, "part2_fast")
    part.keep("one pass, 64 rows", text="1,000 token/s | more")
    part.keep("one pass, 128 rows", error="Traceback\nOutOfMemoryError: no room")
    with pytest.raises(SystemExit, match="rehearsal"):
        report.main()
    assert page.read_text() == "# Benchmarks\n"
    figures.keep("machine", device="A Card 9000", capability="9.0", cuda="13.0", **facts)
    report.main()
    text = page.read_text()
    assert "## On a card: A Card 9000" in text
    assert "| one pass, 64 rows | 1,000 token/s \\| more |" in text
    assert "| one pass, 128 rows | **failed**: OutOfMemoryError: no room |" in text
    assert (page.parent / "benchmarks" / "card-a-card-9000" / "results.jsonl").exists()

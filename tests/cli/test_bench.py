"""`rjepa-cli bench` as a user meets it, with a small model of random weights that really runs."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from rjepa_adapters.reports.bench import html
from rjepa_adapters.reports.svg import Bar, bars, levels
from rjepa_cli.commands.bench import BENCH_FLAGS, OTHER_OPTIONS
from rjepa_cli.main import main
from rjepa_core.benchmark.report import lines

from .conftest import Invoke, command, only_line, write_problems
from .test_lazy import HEAVY, imported

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
SVG = "{http://www.w3.org/2000/svg}"
REMOTE = re.compile(
    r"""(?:src|href)\s*=|url\(|@import|https?://(?!www\.w3\.org/2000/svg)|<script"""
)


@pytest.fixture
def bench(invoke: Invoke) -> Invoke:
    """With the seeded backend, whose batches take 4 ms and 1 ms a row."""

    def run(*arguments: str) -> Result:
        usual = ["--model", "m", "--backend", "seeded", "--problems", "problems.jsonl"]
        delays = ["--set", "backend.delay=0.004", "--set", "backend.delay_per_row=0.001"]
        return invoke("bench", *usual, *delays, *arguments)

    return run


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """A model that generates and encodes, over problems whose names would be markup."""
    home = tmp_path_factory.mktemp("bench")
    source = home / "<b>&problems.jsonl"
    write_problems(source, 8)
    arguments = ["--shape", "tiny", "--problems", str(source), "--max-new-tokens", "12"]
    arguments += ["--sizes", "1,4,8", "--out", str(home / "out" / "here")]
    return CliRunner().invoke(main, ["bench", *arguments]), home / "out" / "here"


def facts_at(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "bench.json").read_text())
    return found


def page(text: str) -> ElementTree.Element:
    """The report as XML; it is well-formed."""
    doctype, _, rest = text.partition("\n")
    assert doctype == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


# the audit's table


def test_the_table_and_one_sentence(real: tuple[Result, Path]) -> None:
    result, _ = real
    assert result.exit_code == 0, result.stderr
    table = result.stdout.splitlines()
    head = next(i for i, line in enumerate(table) if line.startswith("rows "))
    titles = re.split(r"  +", table[head])
    assert titles == [
        "rows", "s/problem", "token/s", "peak memory", "speed-up", "hours for 21,456",
    ]  # fmt: skip
    rows = [re.split(r"  +", line) for line in table[head + 1 : head + 5]]
    assert [row[0] for row in rows] == ["1", "4", "8", "adaptive"]
    assert rows[0][4] == "1.0"
    assert all(re.fullmatch(r"[\d.]+ \([\d.]+–[\d.]+\)", row[1]) for row in rows)
    assert re.match(r"(Use|Leave the size to) --scheduler ", table[head + 6])


def test_the_figures_agree_with_each_other(real: tuple[Result, Path]) -> None:
    facts = facts_at(real[1])
    base = facts["contenders"][0]["seconds_per_problem"]["median"]
    for one in facts["contenders"]:
        seconds = one["seconds_per_problem"]
        assert seconds["least"] <= seconds["median"] <= seconds["most"]
        assert one["speed_up"] == pytest.approx(base / seconds["median"], rel=0.01)
        assert one["hours"] == pytest.approx(seconds["median"] * 21456 / 3600, rel=0.01)
        assert one["peak_bytes"] > 50_000_000, "less than Python and torch hold"
        assert len(one["rounds"]) == 2
        for done in one["rounds"]:
            assert done["problems"] == 8
            assert done["new_tokens"] == 8 * 12
            assert done["steps"] > 0, "nothing was encoded"
            rows = one["size"] or 8
            assert [b["rows"] for b in done["batches"]] == [rows] * (8 // rows)
            assert 0 < sum(b["seconds"] for b in done["batches"]) < done["seconds"]
    for number in range(2):
        places = [one["rounds"][number]["place"] for one in facts["contenders"]]
        assert sorted(places) == [0, 1, 2, 3]


def test_eight_rows_are_faster_than_one(bench: Invoke) -> None:
    """5 ms a problem alone; together 1.5 ms."""
    result = bench("--sizes", "1,8", "--limit", "8", "--rounds", "3", "--total", "1000", "--json")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    alone, together, _ = facts["contenders"]
    assert alone["seconds_per_problem"]["least"] > 0.005
    assert together["seconds_per_problem"]["least"] > 0.0015
    assert together["speed_up"] > 1.5
    assert facts["total"] == 1000
    assert facts["recommendation"]["name"] in ("8", "adaptive")


def test_what_is_kept_of_the_run(real: tuple[Result, Path]) -> None:
    facts = facts_at(real[1])
    assert facts["settings"]["sampling"]["max_new_tokens"] == 12
    assert facts["settings"]["bench"] == {"sizes": [1, 4, 8], "rounds": 2, "total": 21456}
    assert "store" not in facts["settings"]
    assert facts["machine"]["versions"]["torch"]
    assert facts["machine"]["cpus"] >= 1
    assert facts["model"]["device"] == "cpu"
    assert facts["model"]["content"] == "random:tiny"


def test_json_on_stdout_is_the_file(bench: Invoke, home: Path) -> None:
    result = bench("--json", "--out", "o", "--sizes", "1", "--limit", "2", "--rounds", "1")
    assert json.loads(result.stdout) == facts_at(home / "o")


# random weights


def test_random_weights_are_announced_everywhere(real: tuple[Result, Path]) -> None:
    result, place = real
    assert "rjepa-cli: warning: RANDOM WEIGHTS" in result.stderr
    assert "RANDOM WEIGHTS" in result.stdout
    facts = facts_at(place)
    assert facts["random_weights"] is True
    assert facts["warning"].startswith("RANDOM WEIGHTS")
    report = page((place / "bench.html").read_text())
    [heading] = report.iter("h1")
    assert "RANDOM WEIGHTS" in (heading.text or "")
    assert [e for e in report.iter("p") if e.get("class") == "loud"]


def test_a_real_model_is_not_called_random(bench: Invoke, home: Path) -> None:
    result = bench("--sizes", "1", "--limit", "2", "--rounds", "1", "--out", "o")
    assert "RANDOM" not in result.output
    assert "RANDOM" not in (home / "o" / "bench.html").read_text()
    assert facts_at(home / "o")["random_weights"] is False


def test_an_extraction_with_random_weights_is_refused(invoke: Invoke) -> None:
    result = invoke("extract", "--model", "shape:tiny", "--problems", "demo", "--store", "s")
    assert result.exit_code == 2
    assert "never stored" in only_line(result.stderr)


# the report


def test_the_report_is_one_page_that_needs_nothing_else(real: tuple[Result, Path]) -> None:
    text = (real[1] / "bench.html").read_text()
    report = page(text)
    assert not REMOTE.search(text)
    charts = list(report.iter(f"{SVG}svg"))
    assert len(charts) == 5, "three kinds of bars, and adaptive's rows and speed"
    for chart in charts[:3]:
        assert len(list(chart.iter(f"{SVG}rect"))) == 4
    style = next(report.iter("style")).text or ""
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    facts = facts_at(real[1])
    assert facts["recommendation"]["sentence"] in ["".join(p.itertext()) for p in report.iter("p")]


def test_what_the_report_points_out_is_what_it_recommends(real: tuple[Result, Path]) -> None:
    report = page((real[1] / "bench.html").read_text())
    [row] = [e for e in report.iter("tr") if e.get("class") == "chosen"]
    assert next(row.iter("td")).text == facts_at(real[1])["recommendation"]["name"]
    for chart in list(report.iter(f"{SVG}svg"))[:3]:
        assert len([r for r in chart.iter(f"{SVG}rect") if r.get("class") == "bar chosen"]) == 1


def test_names_are_text_and_never_markup(real: tuple[Result, Path]) -> None:
    text = (real[1] / "bench.html").read_text()
    assert "&lt;b&gt;&amp;problems.jsonl" in text
    assert "<b>" not in text


def test_every_text_is_escaped(real: tuple[Result, Path]) -> None:
    """Each string of the facts in turn becomes markup; the page stays the same tree."""
    facts = facts_at(real[1])
    plain = [e.tag for e in page(html(facts)).iter()]
    evil = "<i class='x'>&\"\x1b[31m\u202e"
    spoiled = _spoil(facts, evil)
    report = page(html(spoiled))
    assert [e.tag for e in report.iter()] == plain
    assert "\x1b" not in html(spoiled)
    assert "\u202e" not in html(spoiled)
    assert html(spoiled).count("&lt;i class=") > 10, "the test spoils nothing"
    assert "\x1b" not in "\n".join(lines(spoiled))


def _spoil(value: Any, evil: str) -> Any:
    if isinstance(value, dict):
        kept = ("started", "versions")
        return {k: v if k in kept else _spoil(v, evil) for k, v in value.items()}
    if isinstance(value, list):
        return [_spoil(v, evil) for v in value]
    return evil if isinstance(value, str) else value


def test_an_html_reader_finds_every_element_closed(real: tuple[Result, Path]) -> None:
    class Reader(HTMLParser):
        depth = 0
        lost = 0

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.depth += 1

        def handle_endtag(self, tag: str) -> None:
            self.depth -= 1
            self.lost += self.depth < 0

        def handle_startendtag(self, tag: str, attrs: object) -> None:
            pass

    reader = Reader()
    reader.feed((real[1] / "bench.html").read_text())
    assert (reader.depth, reader.lost) == (0, 0)


def test_out_of_memory_stands_in_the_table_and_in_the_chart(real: tuple[Result, Path]) -> None:
    facts = facts_at(real[1])
    facts["contenders"][2]["out_of_memory"] = 2
    [line] = [x for x in lines(facts) if x.startswith("8 ")]
    assert line.endswith("out of memory 2 times")
    report = page(html(facts))
    bad = [r for r in report.iter(f"{SVG}rect") if r.get("class") == "bar bad"]
    assert len(bad) == 3
    assert "out of memory 2 times" in "".join(report.itertext())


def test_bars_are_as_long_as_their_values() -> None:
    chart = ElementTree.fromstring(
        bars("t", [Bar("a", 10, "10", 8, 20), Bar("b", 5, "5"), Bar("c", 0, "0")])
    )
    widths = [float(r.get("width", 0)) for r in chart.iter(f"{SVG}rect")]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    assert widths[2] == 1
    right = float(chart.get("viewBox", "").split()[2])
    ends = [float(x) for x in re.findall(r"H([\d.]+)", ElementTree.tostring(chart).decode())]
    assert max(ends) < right, "the range leaves the picture"


def test_steps_stay_inside_the_picture() -> None:
    chart = ElementTree.fromstring(levels("t", [1.0, 2.5, 4.0], [16, 8, 64], [2.5]))
    [line] = [p for p in chart.iter(f"{SVG}path") if p.get("class") == "line"]
    across = [float(x) for x in re.findall(r"[MLH]([\d.]+)", line.get("d", ""))]
    up = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", line.get("d", ""))]
    assert across == sorted(across)
    assert max(across) <= 720
    assert up[2] < up[0] < up[1], "more rows stand higher"
    assert min(up) >= 0


# mistakes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--shape qwen3-8", "model.name (--shape): no shape 'qwen3-8'; did you mean qwen3-8b?"),
        ("--shape tiny --model m", "--model says m and --shape says shape:tiny"),
        ("--model m --awq", "--awq packs a --shape"),
        ("--model m --sizes 0,4", "bench.sizes (--sizes): must be >= 1, got 0"),
        ("--model m --sizes 4,4", "bench.sizes (--sizes): must differ"),
        ("--model m --sizes four", "bench.sizes[0] (--sizes): expected a whole number, got 'four'"),
        ("--model m --sizes 64", "bench.sizes (--sizes): 10 problems never fill 64 rows"),
        ("--model m --rounds 0", "bench.rounds (--rounds): must be >= 1"),
        ("--model m --total 0", "bench.total (--total): must be >= 1"),
        ("--model m --limit 0", "problems.limit (--limit): must be >= 1"),
        ("--model m --layer 99", "encoding.layers (--layer): m has no layer 99"),
        ("--model m --set backend.dealy=1", "backend.dealy (--set)"),
        ("--model m --set scheduler.name=fixed", "scheduler.name (--set): the fixed sizes"),
        ("--model m --config nowhere.yaml", "nowhere.yaml: no such file"),
        ("--model m --out problems.jsonl", "--out problems.jsonl: is not a folder"),
        ("--model m --out problems.jsonl/x", "--out problems.jsonl/x: Not a directory"),
        ("--model m --bathc 3", "no such option: --bathc"),
        ("", "model.name (--model): missing"),
    ],
)
def test_a_mistake_is_one_line(arguments: str, says: str, invoke: Invoke) -> None:
    given = arguments.split()
    backend = [] if "--shape" in given else ["--backend", "seeded"]
    result = invoke("bench", "--problems", "problems.jsonl", *backend, *given)
    assert result.exit_code == 2, result.output
    assert says in only_line(result.stderr)
    assert result.stdout == ""


def test_without_problems(invoke: Invoke) -> None:
    result = invoke("bench", "--model", "m", "--backend", "seeded")
    assert result.exit_code == 2
    assert "--problems" in only_line(result.stderr)


def test_an_earlier_measurement_is_not_overwritten(bench: Invoke, home: Path) -> None:
    few = ("--sizes", "1", "--limit", "2", "--rounds", "1", "--out", "o")
    assert bench(*few).exit_code == 0
    before = (home / "o" / "bench.json").read_bytes()
    result = bench(*few)
    assert result.exit_code == 2
    assert "holds a bench.json already" in only_line(result.stderr)
    assert (home / "o" / "bench.json").read_bytes() == before


def test_a_yaml_file_of_an_extraction_serves(bench: Invoke, home: Path) -> None:
    (home / "run.yaml").write_text(
        "store: {path: s}\nsampling: {max_new_tokens: 20}\nbench: {sizes: [2], rounds: 1}\n"
        "problems: {limit: 4}\nscheduler: {batch_size: 4}\n"
    )
    facts = json.loads(bench("--config", "run.yaml", "--json").stdout)
    assert facts["settings"]["sampling"]["max_new_tokens"] == 20
    assert [one["name"] for one in facts["contenders"]] == ["2", "adaptive"]
    assert facts["contenders"][1]["rounds"][0]["batches"][0]["rows"] == 4
    assert not (home / "s").exists(), "a store was made"


def test_nothing_that_fits_is_exit_code_3(bench: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    from rjepa_core.errors import OutOfMemoryError
    from rjepa_core.testing.seeded import SeededBackend

    def full(*_: object) -> None:
        raise OutOfMemoryError("full")

    monkeypatch.setattr(SeededBackend, "generate", full)
    result = bench("--sizes", "1,2", "--limit", "2", "--rounds", "1")
    assert result.exit_code == 3
    assert "Nothing can be recommended" in result.stdout
    assert "out of memory 2 times, 2 problems failed" in result.stdout


def test_an_interrupted_measurement_tells_what_it_has(home: Path) -> None:
    slow = ["--set", "backend.delay=0.05", "--sizes", "1,2", "--limit", "10", "--rounds", "500"]
    process = subprocess.Popen(
        command(
            *("bench", "--model", "m", "--backend", "seeded", "--problems", "demo", *slow),
            *("--json", "--out", "o"),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "warming up" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(2.5)  # One at a time takes half a second for ten problems.
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    facts = json.loads(out)
    assert facts["interrupted"]
    assert facts["contenders"]
    assert json.loads((home / "o" / "bench.json").read_text()) == facts
    assert "INTERRUPTED" in (home / "o" / "bench.html").read_text()
    assert "INTERRUPTED" in "\n".join(lines(facts))
    assert err.rstrip().endswith("interrupted; what was measured until then is printed")


# around it


def test_help_has_examples_and_loads_no_engine() -> None:
    names = imported("-m", "rjepa_cli", "bench", "--help")
    assert "rjepa_core" in names, "the test sees nothing"
    assert not names & (HEAVY | {"rich", "rjepa_adapters"})
    shown = " ".join(CliRunner().invoke(main, ["bench", "--help"]).stdout.split())
    assert "Examples:" in shown
    assert "1,4,8,16" in shown
    assert "[default: 16]" in shown
    assert "21456" in shown


def test_the_reference_names_every_option() -> None:
    text = REFERENCE.read_text()
    section = text.partition("## `rjepa-cli bench`")[2].partition("\n## ")[0]
    for name in [flag.name for flag in BENCH_FLAGS] + [o.opts[0] for o in OTHER_OPTIONS]:
        if name != "--debug":
            assert f"`{name}" in section, name


def test_progress_tells_round_rows_and_time_left(home: Path) -> None:
    usual = ["--model", "m", "--backend", "seeded", "--problems", "demo"]
    slow = ["--sizes", "1,4", "--set", "backend.delay=0.1", "--rounds", "1"]
    done = subprocess.run(
        command("bench", *usual, *slow),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    seen = re.findall(r"(\d+)/48  round 1 of 1, (\w+(?: rows?)?)(, about .* left)?", done.stderr)
    assert seen, done.stderr
    assert any(left for *_, left in seen)

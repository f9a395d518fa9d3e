"""What a terminal would obey is shown, never sent to it: by every command, on both streams."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

from rjepa_cli.console import Screen
from rjepa_cli.progress import Meter, Status
from rjepa_core import RecordKey

from .conftest import in_own_process, install_plugin
from .store_helpers import damage

Invoke = Callable[..., Result]
# A colour, a title, C1's own CSI, a turn of direction, a separator, a language tag, a line that
# looks like one of ours, and markup that a progress bar might read.
EVIL = "m\x1b[31m\x1b]0;t\x07\x9b1m\u202e\u2028\U000e0041\nrjepa-cli: done\r[/x]"
OBEYED = {"Cc", "Cf", "Zl", "Zp", "Cs"}


def clean(*texts: str) -> None:
    for text in texts:
        found = {c for c in text if unicodedata.category(c) in OBEYED} - {"\n"}
        assert not found, text
        assert not any(line.startswith("rjepa-cli: done") for line in text.splitlines()), text


@pytest.fixture
def evil(home: Path, extract: Invoke) -> str:
    """A store whose model, problems and failures have names that a terminal would obey."""
    rows = [
        {"id": f"{i}{EVIL}", "question": f"{i} {EVIL}", "solution": text, "domain": EVIL}
        for i, text in enumerate(["Step 1: a.\nStep 2: b.", EVIL, "#### 7"])
    ]
    (home / "evil.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = extract("--model", EVIL, "--system", EVIL, problems=("--traces", "evil.jsonl"))
    assert result.exit_code == 3
    clean(result.stdout, result.stderr)
    return "s"


def test_json(evil: str, invoke: Invoke) -> None:
    result = invoke("show", evil, "--json")
    clean(result.stdout)
    assert json.loads(result.stdout)["identity"]["labels"]["model"] == EVIL
    clean(invoke("show", evil).stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        "show s",
        "show s --failures",
        "show s --history",
        "store verify s",
        "store verify s --json",
        "store repair s mended",
        "store repair s mended --json",
        "store export s out",
        "store merge both s",
        "store rm s --reason nothing",
        "show s nothing",
        "extract --config s.yaml --print-config",
        "train --config s.yaml --print-config",
        "extract --problems evil.jsonl --backend seeded --model m --store other --dry-run",
        "extract --problems broken.jsonl --backend seeded --model m --store other",
    ],
)
def test_commands(evil: str, home: Path, invoke: Invoke, arguments: str) -> None:
    damage("s", RecordKey(f"0{EVIL}"))
    named = {"stores": [EVIL]} if arguments.startswith("train") else {}
    settings = {"data": named} if named else {"model": {"name": EVIL}, "store": {"path": EVIL}}
    (home / "s.yaml").write_text(yaml.safe_dump(settings))
    (home / "broken.jsonl").write_text(json.dumps({EVIL: EVIL}) + "\n")
    result = invoke(*arguments.split())
    assert "Traceback" not in result.stderr
    clean(result.stdout, result.stderr)
    if "--json" in arguments and result.stdout:
        json.loads(result.stdout)
    if "--print-config" in arguments:
        shown = yaml.safe_load(result.stdout)
        assert all(shown[key].items() >= value.items() for key, value in settings.items())


def test_the_command_that_computes_again(evil: str, invoke: Invoke) -> None:
    result = invoke("store", "rm", evil, f"1{EVIL}", "--yes")
    assert result.exit_code == 0, result.stderr
    clean(result.stdout, result.stderr)
    told = next(line for line in result.stdout.splitlines() if "compute again: " in line)
    words = told.partition("compute again: ")[2]
    pasted = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, check=True
    ).stdout.split(b"\0")
    assert EVIL.encode() in pasted, "bash reads the model's name back"
    assert shlex.split(words)[:2] == ["rjepa-cli", "extract"]


def test_arguments(evil: str, invoke: Invoke) -> None:
    for arguments in (
        ["show", EVIL],
        ["show", evil, EVIL],
        ["store", "rm", evil, EVIL],
        ["store", "rm", evil, "--reason", EVIL, "--yes"],
        ["store", "merge", EVIL, evil, evil],
        ["extract", "--config", EVIL],
        ["extract", "--backend", EVIL, "--help"],
        ["extract", "--set", EVIL],
        ["score", evil, "--world-model", EVIL],
        ["plugins", EVIL],
        [EVIL],
        ["show", f"--{EVIL}"],
    ):
        result = invoke(*arguments)
        assert result.exit_code == (0 if "--help" in arguments else 2)
        clean(result.stdout, result.stderr)


def test_what_is_unexpected(tmp_path: Path) -> None:
    code = f"raise RuntimeError({EVIL!r})"
    install_plugin(tmp_path, "evil", code)
    for arguments in (
        ["plugins", "--verbose"],
        ["plugins", "--json"],
        ["extract", "--problems", "demo", "--model", "m", "--store", "s", "--backend", "evil"],
        ["extract", "--model", "m", "--store", "s", "--backend", "evil", "--debug"],
    ):
        result = in_own_process(*arguments, path=tmp_path)
        shown = result.stdout + result.stderr
        if "--verbose" in arguments or "--debug" in arguments:
            assert "Traceback" in shown
            # Whose last line is the message, line by line.
            shown = shown.replace("\nrjepa-cli: done", "")
        clean(shown)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def columns(self) -> int:
        return 80


def test_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    screen.err = Terminal()
    with Meter(screen, total=3) as meter:
        meter.show(1, lambda: Status(EVIL))
        screen.say(EVIL)
    shown = screen.err.getvalue()
    assert "[/x]" in shown
    assert not set("\x07\x9b\u202e\u2028\U000e0041") & set(shown)
    assert "\x1b]0" not in shown

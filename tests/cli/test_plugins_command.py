"""`rjepa-cli plugins`, and what plugins of others do to the other commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import in_own_process, install_plugin, only_line

MISCHIEF = """
import attrs, errno, sys, warnings, logging
from rjepa_core.plugins import BackendAdapter, hookimpl
from rjepa_core.testing.seeded import SeededBackend, SeededSettings

@attrs.frozen(kw_only=True)
class Settings(SeededSettings):
    '''Settings.

    Attributes:
        how: what goes wrong.
        dtype: a name that the model has, too.
        batch_size: a name that the scheduler has, too.
    '''
    how: str = ""
    dtype: str = "own"
    batch_size: int = 5

class Backend(SeededBackend):
    def generate(self, prompts, sampling):
        how = self._settings.how
        print("chatter on stdout")
        print("chatter on stderr", file=sys.stderr)
        if how == "key":
            raise KeyError("lost")
        if how == "memory":
            raise MemoryError
        if how == "disk":
            raise OSError(errno.ENOSPC, "No space left on device", "/data/s")
        if how == "warn":
            warnings.warn("mind the gap")
            warnings.warn("old stuff", DeprecationWarning)
            logging.getLogger("somebody").warning("a log line")
        return super().generate(prompts, sampling)

@hookimpl
def rjepa_backends():
    return [BackendAdapter(name="mischief", settings=Settings, create=Backend)]
"""


@pytest.fixture
def path(home: Path) -> Path:
    """Where plugins are installed."""
    path = home / "site"
    path.mkdir()
    install_plugin(path, "mischief", MISCHIEF)
    return path


def extract(backend: str, *arguments: str) -> list[str]:
    return [
        "extract", "--problems", "problems.jsonl", "--model", "m", "--store", "s",
        "--backend", backend, *arguments,
    ]  # fmt: skip


def test_a_plugin_that_raises_is_reported_and_takes_nothing_down(path: Path) -> None:
    install_plugin(path, "aaa", "raise RuntimeError('its library is missing')")
    listed = in_own_process("plugins", path=path)
    assert listed.returncode == 0
    rows = listed.stdout.splitlines()
    at = next(i for i, row in enumerate(rows) if row.startswith("aaa "))
    assert rows[at].split() == ["aaa", "1.0", "aaa-plugin", "failed", "to", "load"]
    assert rows[at + 1].strip() == "RuntimeError: its library is missing"
    assert any("mischief-plugin" in row and row.endswith(" ok") for row in rows)
    assert "Traceback" not in listed.stdout
    verbose = in_own_process("plugins", "--verbose", path=path)
    assert "aaa_plugin.py" in verbose.stdout
    facts = json.loads(in_own_process("plugins", "--json", path=path).stdout)
    errors = {plugin["entry"]: plugin["error"] for plugin in facts["plugins"]}
    assert errors["aaa"] == "RuntimeError: its library is missing"
    assert [entry for entry, error in errors.items() if error] == ["aaa"]
    run = in_own_process(*extract("seeded"), path=path)
    assert run.returncode == 0, run.stderr
    doctor = in_own_process("doctor", path=path)
    assert doctor.returncode == 0
    assert "aaa failed to load" in doctor.stdout


def test_asking_for_the_one_that_failed_says_why(path: Path) -> None:
    install_plugin(path, "aaa", "raise RuntimeError('its library is missing')")
    run = in_own_process(*extract("aaa"), path=path)
    assert run.returncode == 1
    assert "its library is missing" in only_line(run.stderr)


def test_settings_of_an_adapter(path: Path) -> None:
    shown = in_own_process("plugins", "mischief", path=path).stdout
    assert "how (text): what goes wrong" in shown
    assert "batch_size (whole number) [default: 5]" in shown
    assert "huggingface" not in shown


def test_flags_that_two_adapters_share_bear_their_section(path: Path) -> None:
    shown = in_own_process("extract", "--backend", "mischief", "--help", path=path).stdout
    assert "--backend-batch-size" in shown
    assert "--scheduler-batch-size" in shown
    assert "--backend-dtype" in shown
    assert " --batch-size" not in shown.split("Examples:")[0]
    run = in_own_process(
        *extract("mischief", "--backend-batch-size", "9", "--dtype", "float32", "--print-config"),
        path=path,
    )
    assert "batch_size: 9" in run.stdout
    assert "batch_size: 16" in run.stdout
    assert "dtype: own" in run.stdout


def test_a_plugin_for_other_hooks_is_refused_by_name(path: Path) -> None:
    install_plugin(path, "ahead", "raise RuntimeError('it was imported')", group="rjepa.v7")
    listed = in_own_process("plugins", path=path)
    assert listed.returncode == 0
    rows = listed.stdout.splitlines()
    assert rows[0].split() == ["plugin", "version", "distribution", "state"]
    at = next(i for i, row in enumerate(rows) if row.startswith("ahead "))
    assert rows[at].split() == ["ahead", "1.0", "ahead-plugin", "refused"]
    assert rows[at + 1].strip().startswith("made for version 7 of the plugin hooks")
    asked = in_own_process(*extract("ahead"), path=path)
    assert asked.returncode == 2
    line = only_line(asked.stderr)
    assert line.startswith("backend 'ahead' (ahead-plugin 1.0) is refused")
    assert line.endswith("upgrade rjepa, or install an older ahead-plugin")
    facts = json.loads(in_own_process("plugins", "ahead", "--json", path=path).stdout)
    (fact,) = facts["plugins"]
    assert (fact["version"], fact["distribution"], fact["state"]) == (
        "1.0", "ahead-plugin", "refused",
    )  # fmt: skip


def test_chatter_is_kept_off_and_warnings_are_not(path: Path) -> None:
    run = in_own_process(*extract("mischief", "--how", "warn", "--json"), path=path)
    assert run.returncode == 0
    assert json.loads(run.stdout)["records"] == 10
    assert "chatter" not in run.stderr
    assert run.stderr.count("rjepa-cli: warning: mind the gap") == 1
    assert "rjepa-cli: warning: a log line" in run.stderr
    assert "old stuff" not in run.stderr


@pytest.mark.parametrize(
    ("how", "says"), [("memory", "--batch-size"), ("disk", "the disk is full (/data/s)")]
)
def test_running_out(how: str, says: str, path: Path) -> None:
    run = in_own_process(*extract("mischief", "--how", how), path=path)
    assert run.returncode == 1
    assert says in only_line(run.stderr)
    assert "--resume" in run.stderr


def test_the_unexpected_is_one_line_and_a_kept_traceback(path: Path) -> None:
    run = in_own_process(*extract("mischief", "--how", "key"), path=path)
    assert run.returncode == 1
    line = only_line(run.stderr)
    assert "unexpected KeyError: 'lost'" in line
    kept = Path(line.split("the traceback is in ")[1].split(" (")[0])
    text = kept.read_text()
    kept.unlink()
    assert "mischief_plugin.py" in text
    assert "chatter on stderr" in text
    shown = in_own_process(*extract("mischief", "--how", "key", "--debug", "--resume"), path=path)
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr
    assert "mischief_plugin.py" in shown.stderr

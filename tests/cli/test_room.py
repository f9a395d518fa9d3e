"""The room that a run needs: told before it, and refused where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from .conftest import only_line, write_problems
from .store_helpers import facts, records

Invoke = Callable[..., Result]


def test_a_store_without_tools_tells_no_room(extract: Invoke) -> None:
    result = extract("--store", "memory:room", "--json")
    assert facts(result)["plan"]["bytes_needed"] is None
    assert "free" not in result.stderr
    plain = extract("--store", "memory:other").stdout
    assert "rjepa-cli show" not in plain
    assert "in memory and ends with this command" in plain


def test_no_room(home: Path, extract: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = extract("--hidden-size", str(10**12))
    assert huge.exit_code == 2
    assert "10 records of about 8 steps need about" in only_line(huge.stderr)
    assert "--force" in huge.stderr
    # The place is not spoilt for a run that fits.
    from rjepa_adapters.lmdb_store.maintenance import LmdbMaintenance

    monkeypatch.setattr(LmdbMaintenance, "room_free", lambda self, location: 1000)
    small = extract()
    assert small.exit_code == 2
    assert "kB and the disk has 1000 B free" in only_line(small.stderr)
    dry = extract("--dry-run")
    assert dry.exit_code == 0
    assert "the disk has 1000 B" in dry.stderr
    forced = extract("--force")
    assert forced.exit_code == 0, forced.stderr
    assert "rjepa-cli: warning: the store needs about" in forced.stderr
    assert len(records("s")) == 10
    assert extract("--resume").exit_code == 0, "a run with nothing to do needs no room"


@pytest.mark.parametrize(
    ("options", "most"),
    [
        (("--max-steps", "1", "--max-new-tokens", "15"), 2.0),
        (("--max-steps", "2", "--max-new-tokens", "30"), 3.0),
        (("--max-steps", "1", "--max-new-tokens", "15", "--hidden-size", "1024"), 2.0),
    ],
)
def test_short_completions(
    home: Path, extract: Invoke, options: tuple[str, ...], most: float
) -> None:
    write_problems(home / "many.jsonl", 100)
    done = facts(extract(*options, "--json", problems=("--problems", "many.jsonl")))
    assert 0.6 * done["store_bytes"] < done["plan"]["bytes_needed"] < most * done["store_bytes"]
    assert not done["plan"]["steps_known"]


def test_a_guess_refuses_nothing(
    home: Path, extract: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rjepa_adapters.lmdb_store.maintenance import LmdbMaintenance

    monkeypatch.setattr(LmdbMaintenance, "room_free", lambda self, location: 60_000)
    write_problems(home / "many.jsonl", 30)
    begun = extract("--max-steps", "2", problems=("--problems", "many.jsonl"))
    assert begun.exit_code == 0, begun.stderr
    assert "8 steps, which is a guess until some are stored" in begun.stderr
    write_problems(home / "many.jsonl", 50)
    more = extract("--max-steps", "2", "--resume", "--json", problems=("--problems", "many.jsonl"))
    plan = facts(more)["plan"]
    assert plan["steps_known"]
    assert plan["steps_expected"] < 3


def test_room_is_about_what_is_taken(home: Path, extract: Invoke, invoke: Invoke) -> None:
    write_problems(home / "many.jsonl", 200)
    options = ["--hidden-size", "1024", "--json", "--max-steps", "12", "--max-new-tokens", "600"]
    many = ("--problems", "many.jsonl")
    tried = facts(extract(*options, "--dry-run", problems=many))
    done = facts(extract(*options, problems=many))
    for needed in (tried["bytes_needed"], done["plan"]["bytes_needed"]):
        assert 0.6 * done["store_bytes"] < needed < 2.5 * done["store_bytes"]
    write_problems(home / "many.jsonl", 300)
    more = facts(extract(*options, "--resume", "--dry-run", problems=many))["plan"]
    assert more["bytes_needed"] == pytest.approx(done["store_bytes"] / 2, rel=0.01)
    assert more["steps_expected"] == pytest.approx(done["steps"] / 200, abs=0.01)

"""What an earlier run completed is not read again, and a change never goes unnoticed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from rjepa_adapters.sources.reader import RowReader
from rjepa_core import open_store
from rjepa_core.domain.trace import RecordKey
from rjepa_core.errors import StatementChangedError
from rjepa_core.extraction import Summary, open_extraction
from rjepa_core.settings import ExtractionSettings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "p.jsonl", "What is 1?", "What is 2?", "What is 3?")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The places of the rows that were read."""
    places: list[str] = []
    read = RowReader.read

    def counted(self: RowReader, values: Any, where: str) -> Any:
        places.append(where)
        return read(self, values, where)

    monkeypatch.setattr(RowReader, "read", counted)
    return places


@pytest.fixture
def run(tmp_path: Path, file: Path, reads: list[str]) -> Callable[..., Summary]:
    def run(store: str = "", retry: bool = False, **problems: Any) -> Summary:
        reads.clear()
        settings = {
            "model": "m",
            "backend": "seeded",
            "store": {"path": store or str(tmp_path / "s")},
            "problems": {"sources": [str(file)]} | problems,
            "run": {"resume": True, "retry_failed": retry},
        }
        with open_extraction(settings) as extraction:
            return extraction.run()

    return run


def write(file: Path, *statements: str) -> Path:
    rows = [{"id": f"p{i}", "question": text} for i, text in enumerate(statements)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_nothing_is_read_where_all_is_done(
    run: Callable[..., Summary], reads: list[str], tmp_path: Path, file: Path
) -> None:
    first = run()
    assert len(reads) == 3
    for _ in range(2):
        again = run()
        assert not reads
        assert again.survey == first.survey
        assert again.before == attrs.evolve(first.before, stored=3, missing=0)
        assert again.store.records == 3
    moved = file.rename(tmp_path / "elsewhere.jsonl")
    run(sources=[str(moved)])
    assert not reads


def test_a_change_is_seen_whatever_the_file_system_says(
    run: Callable[..., Summary], reads: list[str], file: Path
) -> None:
    run()
    known = file.stat()
    write(file, "What is 1?", "What is 2?", "What is 4?")
    os.utime(file, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert file.stat().st_size == known.st_size
    with pytest.raises(StatementChangedError, match="'p2'"):
        run()


def test_a_line_more_is_done(run: Callable[..., Summary], reads: list[str], file: Path) -> None:
    run()
    write(file, "What is 1?", "What is 2?", "What is 3?", "What is 4?")
    assert run().progress.records == 1
    assert len(reads) == 4
    run()
    assert not reads


@pytest.mark.parametrize(
    "asked", [{"limit": 2}, {"samples": 2}, {"domain": "code"}, {"fields": {"answer": ""}}]
)
def test_another_question_is_read(
    run: Callable[..., Summary], reads: list[str], asked: dict[str, Any]
) -> None:
    run(limit=3)
    run(**asked)
    assert reads


def test_a_record_that_was_removed_is_done_again(
    run: Callable[..., Summary], reads: list[str], tmp_path: Path
) -> None:
    run()
    with open_store(tmp_path / "s", "write") as store:
        store.delete([RecordKey("p1")])
    summary = run()
    assert (summary.before.missing, summary.progress.records) == (1, 1)


def test_failures_are_tried_again_where_that_is_asked_for(
    run: Callable[..., Summary], reads: list[str], file: Path
) -> None:
    file.write_text('{"id": "a", "question": "Why?", "steps": ["x", ""]}\n')
    traces = {"sources": [], "traces": [str(file)]}
    run(**traces)
    summary = run(**traces)
    assert not reads
    assert (summary.before.failed, summary.failed_in_store) == (1, 1)
    summary = run(retry=True, **traces)
    assert reads
    assert (summary.before.missing, summary.failed_in_store) == (1, 1)


def test_a_file_that_changed_during_the_run_is_read_again(
    run: Callable[..., Summary],
    reads: list[str],
    file: Path,
    tmp_path: Path,
) -> None:
    settings = ExtractionSettings(
        model={"name": "m"},
        backend={"name": "seeded"},
        store={"path": str(tmp_path / "s")},
        problems={"sources": [str(file)]},
    )
    with open_extraction(settings) as extraction:
        with file.open("a") as opened:
            opened.write('{"id": "late", "question": "What is 9?"}\n')
        extraction.run()
        assert "completed" not in extraction.store.history()[-1]
    assert run().progress.records == 1


def test_a_store_without_a_digest_is_read_again(
    run: Callable[..., Summary], reads: list[str]
) -> None:
    place = "memory:test-completed"
    run(store=place)
    assert run(store=place).before.stored == 3
    assert len(reads) == 3


def test_traces_of_a_store_that_were_encoded_are_not_read_again(
    run: Callable[..., Summary], reads: list[str], tmp_path: Path
) -> None:
    run()
    again = {"sources": [], "traces": [str(tmp_path / "s")]}
    first = run(store=str(tmp_path / "t"), **again)
    entries = [run(store=str(tmp_path / "t"), **again) for _ in range(2)]
    assert [entry.survey for entry in entries] == [first.survey] * 2
    assert entries[-1].before.stored == 3

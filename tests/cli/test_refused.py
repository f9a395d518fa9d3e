"""A command that is refused leaves nothing behind: no store, run, report, file or folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Invoke = Callable[..., Result]
SEEDED = "--backend seeded --model m"


@pytest.fixture
def filled(home: Path, store: str) -> Path:
    (home / "bad.jsonl").write_text("no JSON\n")
    return home


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(
    "arguments",
    [
        f"extract --problems bad.jsonl {SEEDED} --store a/b/new",
        f"extract --problems absent.jsonl {SEEDED} --store a/b/new",
        f"extract --problems problems.jsonl {SEEDED} --store a/b/new --layer 99",
        f"extract --problems problems.jsonl {SEEDED} --store a/b/new --grade nonsense",
        f"extract --problems problems.jsonl {SEEDED} --store a/b/new --pooling nonsense",
        "extract --problems problems.jsonl --model smolm2 --store a/b/new",
        "extract --problems problems.jsonl --model ./absent --store a/b/new",
        f"damage absent {SEEDED}",
        "train --store absent --out a/b/run",
        "train --store s --layer 77 --out a/b/run",
        "train --store s --out a/b/run --objective verifier",
        "train --store s --out a/b/run --epochs 0",
        "evaluate --world-model absent --store s --out a/b/reports",
        "evaluate --world-model absent --store s --out a --predictions p.safetensors",
        f"bench --problems bad.jsonl {SEEDED} --out a/b/reports",
        f"bench --problems problems.jsonl {SEEDED} --sizes 1000 --out a/b/reports",
        "score s --world-model absent --out lines.jsonl --plot plot.svg",
        "rank s --world-model absent --out lines.jsonl",
        "serve --world-model absent",
        "grade absent",
        "store export absent a/shards",
        "store import absent a/b/new",
        "store import . a/b/new",
        "store merge a/b/all s absent",
        "store repair absent a/b/new",
        "store repair s memory:x",
    ],
)
def test_nothing_is_left(filled: Path, invoke: Invoke, arguments: str) -> None:
    before = everything(filled)
    assert invoke(*arguments.split()).exit_code == 2
    assert everything(filled) == before


def test_nothing_is_left_of_folders_that_were_begun(filled: Path, invoke: Invoke) -> None:
    """The target's own folders are made before the shards are read, and found to be broken."""
    assert invoke("store", "export", "s", "shards").exit_code == 0
    shard = next((filled / "shards").glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1])
    before = everything(filled)
    assert invoke("store", "import", "shards", "a/b/new").exit_code == 2
    assert everything(filled) == before


def test_a_folder_that_was_there_stays(filled: Path, invoke: Invoke) -> None:
    (filled / "a").mkdir()
    arguments = f"extract --problems problems.jsonl {SEEDED} --store a/b/new --layer 99"
    assert invoke(*arguments.split()).exit_code == 2
    assert list((filled / "a").iterdir()) == []

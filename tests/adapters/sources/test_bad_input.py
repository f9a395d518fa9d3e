"""Every mistake in the input: one clear line which says what, where, and what to do."""

from __future__ import annotations

import gzip
import json
import re
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from rjepa_adapters.sources import files
from rjepa_core.errors import InputError, UsageError

GOOD = b'{"question": "Why?"}\n'


@attrs.frozen
class Bad:
    """A file's name and content (or what makes it), and what the message must hold, in order."""

    name: str
    content: bytes | Callable[[Path], object]
    says: tuple[str, ...]
    traces: bool = False


def _no_pipe_reader(path: Path) -> None:
    import os

    os.mkfifo(path)


TABLE = {
    "missing": Bad("gone.jsonl", lambda p: None, ("gone.jsonl: no such file",)),
    "missing, zipped": Bad("gone.json.gz", lambda p: None, (": no such file",)),
    "missing csv": Bad("gone.csv", lambda p: None, (": no such file",)),
    "missing parquet": Bad("gone.parquet", lambda p: None, (": no such file",)),
    "misspelt": Bad(
        "trian.jsonl",
        lambda p: (p.parent / "train.jsonl").write_bytes(GOOD),
        ("no such file; did you mean", "train.jsonl?"),
    ),
    "directory": Bad("d.jsonl", Path.mkdir, (": is a directory", "one by one")),
    "directory csv": Bad("d.csv", Path.mkdir, (": is a directory",)),
    "directory parquet": Bad("d.parquet", Path.mkdir, (": is a directory",)),
    "pipe": Bad("p.jsonl", _no_pipe_reader, ("not a regular file", "save them")),
    "empty": Bad("f.jsonl", b"", ("f.jsonl: is empty",)),
    "empty csv": Bad("f.csv", b"", ("f.csv: is empty",)),
    "empty parquet": Bad("f.parquet", b"", ("f.parquet: is empty",)),
    "empty gz": Bad("f.jsonl.gz", b"", (": is empty",)),
    "zipped nothing": Bad("f.jsonl.gz", gzip.compress(b""), (": is empty",)),
    "blank": Bad("f.jsonl", b"\n \n", (": holds no problem",)),
    "header alone": Bad("f.csv", b"question,answer\n", (": holds no problem",)),
    "zero bytes": Bad("f.jsonl", GOOD * 2 + b"\0\1\2", ("f.jsonl:3: a binary file",)),
    "zero bytes csv": Bad("f.csv", b"question\na\0b\n", ("f.csv:2: a binary file",)),
    "not UTF-8": Bad("f.jsonl", GOOD + b'{"question": "caf\xe9"}\n', (":2: not UTF-8", "0xe9")),
    "UTF-16": Bad("f.jsonl", GOOD.decode().encode("utf-16"), (":1: is UTF-16", "iconv")),
    "no gzip": Bad("f.jsonl.gz", GOOD, (":1: not a gzip file",)),
    "cut gzip": Bad("f.jsonl.gz", gzip.compress(GOOD)[:-9], ("not a gzip file, or a damaged",)),
    "broken on line 7": Bad(
        "f.jsonl",
        GOOD * 6 + b'{"question": "Why?",}\n' + GOOD,
        ("f.jsonl:7: broken JSON: ", "(column "),
    ),
    "a key that stands twice": Bad(
        "f.jsonl",
        b'{"question": "1 + 1?", "question": "2 + 2?"}\n',
        ("f.jsonl:1: 'question' occurs twice",),
    ),
    "blank lines count": Bad("f.jsonl", GOOD + b"\n\n{\n", ("f.jsonl:4: broken JSON: ",)),
    "spread over lines": Bad("f.json", b'{\n"question": "Why?"}', (":1: ", "on one line")),
    "deep": Bad("f.jsonl", b"[" * 9 + GOOD, ("f.jsonl:1: a JSON array",)),
    "too deep": Bad("f.jsonl", GOOD + b'{"a":' * 200_000, (":2: ", "JSON")),
    "array": Bad("f.json", b'[{"question": "Why?"}]', ("f.json:1: a JSON array", "jq -c")),
    "row is a list": Bad("f.jsonl", GOOD + b"[1]\n", (":2: a row is a list", "an object")),
    "row is a text": Bad("f.jsonl", b'"x"\n', (":1: a row is a text",)),
    "row is null": Bad("f.jsonl", b"null\n", (":1: a row is null",)),
    "field missing": Bad(
        "f.jsonl",
        GOOD + b'{"text": "a long one", "n": 1}\n',
        (":2: no statement; the row has 'text', 'n'; ", "problems.fields.statement=text"),
    ),
    "no fields": Bad("f.jsonl", b"{}\n", (":1: no statement; the row has no fields",)),
    "statement empty": Bad("f.jsonl", b'{"question": " "}\n', (":1: ", "'question' is empty")),
    "statement null": Bad("f.jsonl", b'{"question": null}\n', (":1: ", "'question' is empty")),
    "statement a list": Bad(
        "f.jsonl", b'{"question": ["a"]}\n', (":1: the statement in field 'question' is a list",)
    ),
    "statement a number": Bad("f.jsonl", b'{"question": 3}\n', ("is a number", "be a text")),
    "half a character": Bad("f.jsonl", b'{"question": "\\ud83d"}\n', (":1: ", "\\ud83d")),
    "id a list": Bad(
        "f.jsonl", b'{"id": [1], "question": "a"}\n', (":1: the id in field 'id' is a list",)
    ),
    "id a truth value": Bad("f.jsonl", b'{"id": true, "question": "a"}\n', ("a truth value",)),
    "domain a list": Bad(
        "f.jsonl", b'{"domain": ["x"], "question": "a"}\n', (":1: the domain", "problems.domain")
    ),
    "no solution": Bad("f.jsonl", GOOD, ("no solution for problems.traces", "'question'"), True),
    "csv without header": Bad(
        "f.csv",
        b"What is 2+2?,4\nWhat is 3+3?,6\n",
        ("f.csv:1: no column for the statement", "'What is 2+2?'", "add the header line"),
    ),
    "csv header twice": Bad("f.csv", b"question,question\n", (":1: ", "'question' twice")),
    "csv row too long": Bad(
        "f.csv", b'question,b\n"a\nb",2\nx,y,z\n', ("f.csv:4: 3 cells, but the header has 2",)
    ),
    "csv row too short": Bad("f.csv", b"question,b\nx\n", ("f.csv:2: 1 cell, ",)),
    "csv open quote": Bad("f.csv", b'question\na\n"b\nc\n', ("f.csv:3: broken CSV: ",)),
    "csv statement empty": Bad("f.csv", b"question,b\n,1\n", ("f.csv:2: ", "is empty")),
    "not parquet": Bad("f.parquet", GOOD * 9, ("f.parquet: not a Parquet file",)),
    "cut parquet": Bad("f.parquet", b"PAR1" + b"x" * 99, ("not a Parquet file, or a damaged",)),
}


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE.keys())
def test_bad_file(case: Bad, tmp_path, read):
    if "parquet" in case.name:
        pytest.importorskip("pyarrow")
    path = tmp_path / case.name
    if isinstance(case.content, bytes):
        path.write_bytes(case.content)
    else:
        case.content(path)
    with pytest.raises(InputError) as caught:
        read(path, traces=("here",) if case.traces else ())
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    position = 0
    for part in case.says:
        assert part in message[position:], message
        position = message.index(part, position)


def test_rows_before_a_mistake_are_given(open_source, tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_bytes(GOOD + b"{\n")
    rows = open_source(path).rows()
    assert next(rows).problem.statement == "Why?"
    with pytest.raises(InputError):
        next(rows)


def test_a_line_without_an_end_cannot_fill_the_memory(read, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE", 1 << 20)
    path = tmp_path / "f.jsonl"
    path.write_bytes(GOOD + b"x" * (16 << 20))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"f\.jsonl:2: a line of more than 1 MiB"):
        read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_unreadable_file(read, tmp_path, monkeypatch):
    path = tmp_path / "f.jsonl"
    path.write_bytes(GOOD)

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "unpacked", refuse)
    with pytest.raises(InputError, match=r"f\.jsonl: cannot be read: Permission denied"):
        read(path)


def test_parquet_with_a_bad_row_names_it(read, tmp_path, writers):
    path = writers["parquet"](tmp_path / "f.parquet", [{"question": "a"}, {"question": ""}])
    with pytest.raises(InputError, match=r"f\.parquet, row 2: the statement .* is empty"):
        read(path)


def test_parquet_without_rows(read, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    path = tmp_path / "f.parquet"
    parquet.write_table(pyarrow.table({"question": pyarrow.array([], pyarrow.string())}), path)
    with pytest.raises(InputError, match="holds no problem"):
        read(path)


@pytest.mark.parametrize(
    ("location", "package"), [("f.parquet", "pyarrow"), ("hf:a/b", "datasets"), ("a/b", "datasets")]
)
def test_a_missing_package_names_the_extra(open_source, tmp_path, monkeypatch, location, package):
    monkeypatch.chdir(tmp_path)
    Path("f.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError) as caught:
        open_source(location)
    message = str(caught.value)
    assert message.startswith(f"{location}: ")
    # It may be a mistyped path.
    assert message.startswith("a/b: no such file; ") == (location == "a/b")
    assert re.search(r"pip install .*\[data\]'$", message)
    assert "\n" not in message


def test_bad_rows_deep_in_a_large_file_are_found(read, tmp_path):
    path = tmp_path / "f.jsonl"
    lines = [json.dumps({"question": f"What is {n}?"}) for n in range(3000)]
    lines[2718] = json.dumps({"question": None})
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"f\.jsonl:2719: "):
        read(path)

"""Packed files: read, or refused by name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zipfile

import pytest

from rjepa_core.errors import InputError, UsageError

TEXT = b'{"question": "a"}\n{"question": "b"}\n'
CSV = b"question,answer\na,1\nb,2\n"


def zstandard(data: bytes) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    return bytes(pyarrow.compress(data, codec="zstd", asbytes=True))


PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zst": zstandard,
}


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize(("name", "data"), [("f.jsonl", TEXT), ("f.csv", CSV), ("f", TEXT)])
def test_packed_text_is_read(read, open_source, tmp_path, ending, name, data):
    path = tmp_path / f"{name}.{ending}"
    path.write_bytes(PACKERS[ending](data))
    assert [row.problem.statement for row in read(path)] == ["a", "b"]
    assert [row.where[-2:] for row in read(path)] == (
        [":1", ":2"] if data is TEXT else [":2", ":3"]
    )


@pytest.mark.parametrize("ending", [e for e in PACKERS if e != "lzma"])
def test_packing_is_known_by_the_first_bytes(read, tmp_path, ending):
    path = tmp_path / "f.jsonl"
    # Several parts, as tools append them.
    path.write_bytes(PACKERS[ending](TEXT[:18]) + PACKERS[ending](TEXT[18:]))
    assert [row.problem.statement for row in read(path)] == ["a", "b"]


@pytest.mark.parametrize("ending", PACKERS)
def test_damaged_and_mistaken_files_are_named(read, tmp_path, ending):
    path = tmp_path / f"f.jsonl.{ending}"
    for content in (PACKERS[ending](TEXT * 50)[:-9], TEXT):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"^.*:\d+: not an? \w+ file, or a damaged one"):
            read(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("f.jsonl.7z", b"7z\xbc\xaf\x27\x1c...", "7-Zip"),
        ("f.jsonl.lz4", b"\x04\x22\x4d\x18...", "LZ4"),
        ("f.jsonl.br", b"\x8b\x0e...", "Brotli"),
        ("f.csv.rar", b"Rar!...", "RAR"),
        ("f.tar.gz", gzip.compress(TEXT, mtime=0), "tar"),
        ("f.tgz", gzip.compress(TEXT, mtime=0), "tar"),
        ("f.jsonl.Z", b"\x1f\x9d...", "compress"),
    ],
)
def test_other_ways_are_refused_by_name(read, tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"packed as {kind}, which is not supported; unpack it"):
        read(tmp_path / name)


def test_a_zip_is_refused_by_name(read, tmp_path):
    for name in ("f.jsonl.zip", "f.zip", "f.jsonl"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("f.jsonl", TEXT)
        with pytest.raises(InputError, match="is packed as zip"):
            read(tmp_path / name)


def test_packed_parquet_is_refused(read, tmp_path, writers):
    path = writers["parquet"](tmp_path / "f.parquet", [{"question": "a"}])
    packed = tmp_path / "f.parquet.gz"
    packed.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    with pytest.raises(InputError, match=r"packed as gzip, which is not supported.*unpack it"):
        read(packed)


def test_what_reads_zstandard_is_named(read, tmp_path, monkeypatch):
    for name in ("f.jsonl.zst", "f.zst"):
        (tmp_path / name).write_bytes(zstandard(TEXT))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name in ("f.jsonl.zst", "f.zst"):
        with pytest.raises(
            UsageError, match=r"Zstandard needs pyarrow: .*pip install .*\[data\]'$"
        ):
            read(tmp_path / name)

"""GGUF files: whole or refused, and a cache that may be missing, full or damaged."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hf_checkpoints import backend_of

pytest.importorskip("gguf", reason="gguf is not installed: pip install 'rjepa[gguf]'")

from gguf_files import CONTEXT, write_gguf

from rjepa_adapters.huggingface import gguf
from rjepa_core.errors import UsageError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    file = tmp_path_factory.mktemp("gguf") / "tiny-Q8_0.gguf"
    return file, write_gguf(file)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rjepa" / "gguf"


@pytest.fixture
def load(
    whole: tuple[Path, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> Callable[..., str]:
    """Load the file, check its weights, and return what was said."""

    def run() -> str:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            model = backend_of(whole[0]).model
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, whole[1][name]), name
        return "\n".join(record.getMessage() for record in caplog.records)

    return run


def kept(cache: Path) -> Path:
    (folder,) = cache.iterdir()
    return folder


def test_a_file_is_converted_once(cache: Path, load: Callable[..., str]) -> None:
    assert "converting tiny-Q8_0.gguf once" in load()
    assert load() == ""


def test_a_conversion_is_readable_as_the_umask_says(cache: Path, load: Callable[..., str]) -> None:
    before = os.umask(0o027)
    try:
        load()
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in kept(cache).iterdir()} == {0o640}
    assert kept(cache).stat().st_mode & 0o777 == 0o750


def cut(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 100_000)


def flip(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (cut, "model.safetensors"),
        (flip, "model.safetensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json"),
        (lambda folder: (folder / "rjepa.json").write_text("{}"), "rjepa.json"),
    ],
    ids=["cut", "flipped", "missing", "unlisted"],
)
def test_a_damaged_conversion_is_made_anew(
    cache: Path, load: Callable[..., str], damage: Callable[[Path], object], says: str
) -> None:
    load()
    damage(kept(cache))
    said = load()
    assert f"is not as it was written ({says}) and is not used" in said
    assert "converting" in said
    assert load() == ""


def test_a_conversion_without_checksums_is_not_trusted(
    cache: Path, load: Callable[..., str]
) -> None:
    """Earlier versions kept conversions of half a model as well."""
    load()
    (kept(cache) / "rjepa.json").unlink()
    assert "converting" in load()
    assert load() == ""


def test_what_a_killed_conversion_leaves_is_not_taken(
    cache: Path, load: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(gguf, "_publish", lambda draft, target: killed())
        patched.setattr(shutil, "rmtree", lambda *args, **more: None)
        with pytest.raises(KeyboardInterrupt):
            load()
    left = kept(cache)
    assert (left / "model.safetensors").is_file()
    assert "converting" in load()
    assert left.is_dir(), "it may be another process's, and at work"
    os.utime(left, (time.time() - 2 * 24 * 3600,) * 2)
    next(folder for folder in cache.iterdir() if folder != left).rename(cache.parent / "aside")
    load()
    assert not left.exists(), "a day later it is nobody's"


def killed() -> None:
    raise KeyboardInterrupt


@pytest.fixture
def no_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A place for the cache where nothing can be kept."""
    place = tmp_path / "place"
    if request.param == "a file":
        place.write_text("")
        yield place
        return
    place.mkdir()
    options = "ro" if request.param == "read-only" else "size=200k"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("no_place", ["a file", "read-only", "full"], indirect=True)
def test_without_a_cache_the_file_itself_is_read(
    no_place: Path, load: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(no_place))
    assert "cannot be kept converted" in load()
    if no_place.is_dir():
        assert not list(no_place.rglob(".making-*"))


def test_without_a_home_the_file_itself_is_read(
    load: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(Path, "home", no_home)
    assert "there is no home directory" in load()


@pytest.mark.parametrize(
    ("without", "says"),
    [("blk.1.", "lack 9 of the model's 30"), ("output_norm", r"\(model.norm.weight\)")],
)
def test_a_file_without_some_tensors_is_refused_and_not_kept(
    cache: Path, tmp_path: Path, without: str, says: str
) -> None:
    write_gguf(tmp_path / "half.gguf", without=[without])
    with pytest.raises(UsageError, match=says):
        backend_of(tmp_path / "half.gguf")
    assert list(cache.iterdir()) == []


def test_a_file_that_is_cut_short_is_refused(
    cache: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    for name, size in (("head.gguf", 1000), ("tensors.gguf", 150_000)):
        file = Path(shutil.copy(whole[0], tmp_path / name))
        os.truncate(file, size)
        with pytest.raises(UsageError, match="cannot be loaded"):
            backend_of(file)


def test_parts_of_a_model_say_how_they_are_joined(cache: Path, tmp_path: Path) -> None:
    write_gguf(tmp_path / "big.gguf", part=10)
    names = sorted(file.name for file in tmp_path.glob("*.gguf"))
    assert names[0] == "big-00001-of-00003.gguf"
    first, joined = tmp_path / names[0], tmp_path / "big.gguf"
    for name in (*names, ""):
        with pytest.raises(UsageError, match=f"llama-gguf-split --merge {first} {joined}"):
            backend_of(tmp_path / name)
    (tmp_path / names[1]).unlink()
    with pytest.raises(UsageError, match=rf"fetch what is not there \({names[1]}\)"):
        backend_of(tmp_path / names[0])
    (tmp_path / names[0]).rename(tmp_path / "renamed.gguf")
    with pytest.raises(UsageError, match="one of 3 parts of a model, under another name"):
        backend_of(tmp_path / "renamed.gguf")


def test_the_context_is_in_the_head_of_the_file(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    assert gguf.context_in(whole[0]) == CONTEXT
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    assert gguf.context_in(tmp_path / "x.gguf") is None

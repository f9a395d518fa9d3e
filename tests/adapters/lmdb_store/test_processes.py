"""One writer, many readers, forks, and processes that die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rjepa_adapters.lmdb_store.recovery.repair import verify
from rjepa_adapters.lmdb_store.settings import LmdbSettings
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_core.domain.trace import RecordKey
from rjepa_core.errors import DiskFullError, StoreError, StoreLockedError
from rjepa_core.testing.samples import record_differences, sample_identity, sample_record

IDENTITY = sample_identity(1, 256)
WRITER = """
import sys
from rjepa_adapters.lmdb_store.settings import LmdbSettings
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_core.testing.samples import sample_identity, sample_record
identity = sample_identity(1, 256)
store = LmdbStore(sys.argv[1], "write", LmdbSettings(checkpoint_every=5))
store.begin(identity)
print("ready", flush=True)
number = len(store)
while True:
    store.write([sample_record(identity, f"p-{number}", steps=4)])
    number += 1
    if number % 5 == 0:
        print(number, flush=True)
"""


def start_writer(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> int:
    """SIGKILL; the last number of records that the writer said were committed."""
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0].split("\n")
    said = [int(line) for line in rest[:-1] if line]
    return said[-1] if said else 0


def test_a_killed_writer_loses_only_what_was_not_committed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    before = 0
    for attempt in range(4):
        process = start_writer(path)
        time.sleep(0.1 + 0.07 * attempt)
        said = kill(process)
        with LmdbStore(str(path)) as store:
            assert len(store) >= max(said, before), "what was committed is there"
            assert len(store) % 5 == 0, "a commit is there whole or not at all"
            before = len(store)
            for key in store.keys():  # noqa: SIM118
                written = sample_record(IDENTITY, key.problem_id, steps=4)
                assert not record_differences(store.get(key), written)
    assert before > 0
    assert verify(str(path)).sound


def test_a_second_writer_is_told_the_first_ones_process(tmp_path: Path) -> None:
    process = start_writer(tmp_path / "a")
    try:
        began = time.monotonic()
        with pytest.raises(StoreLockedError, match=str(process.pid)):
            LmdbStore(str(tmp_path / "a"), "write")
        assert time.monotonic() - began < 1, "it is refused at once"
    finally:
        kill(process)
    LmdbStore(str(tmp_path / "a"), "write").close()


def read_in_child(store: LmdbStore, number: int, answers: Any) -> None:
    """Read everything, then try to write."""
    found = 0
    for key in store.keys():  # noqa: SIM118
        written = sample_record(IDENTITY, key.problem_id, steps=4)
        found += not record_differences(store.get(key), written)
    try:
        store.write([sample_record(IDENTITY, "new")])
        answers.put((number, found, "wrote"))
    except StoreError as error:
        answers.put((number, found, str(error)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("inside", [False, True], ids=["plain", "in-a-snapshot"])
def test_a_handle_survives_a_new_process(tmp_path: Path, method: str, inside: bool) -> None:
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    with LmdbStore(str(tmp_path / "a"), "write") as store:
        store.begin(IDENTITY)
        store.write([sample_record(IDENTITY, f"p-{i}", steps=4) for i in range(20)])
        store.commit()
        snapshot = store.snapshot()
        if inside:
            view = snapshot.__enter__()
        children = [
            context.Process(target=read_in_child, args=(store, i, answers)) for i in range(2)
        ]
        for child in children:
            child.start()
        for i in range(20, 200):
            store.write([sample_record(IDENTITY, f"p-{i}", steps=4)])
            store.commit()
        told = [answers.get(timeout=60) for _ in children]
        for child in children:
            child.join()
            assert child.exitcode == 0
        for _, found, answer in told:
            assert found >= 20, "a child reads what the parent committed"
            assert "only reads" in answer, "a child is not the writer"
        if inside:
            assert len(view) == 20, "a child's reading leaves the parent's snapshot alone"
            for key in view.keys():  # noqa: SIM118
                written = sample_record(IDENTITY, key.problem_id, steps=4)
                assert not record_differences(view.get(key), written)
            snapshot.__exit__(None, None, None)


def test_a_forked_child_that_leaves_the_snapshot_does_not_end_it(tmp_path: Path) -> None:
    with LmdbStore(str(tmp_path / "a"), "write") as store:
        store.begin(IDENTITY)
        store.write([sample_record(IDENTITY, "p", steps=4)])
        store.commit()
        with store.snapshot() as view:
            child = os.fork()
            if child == 0:
                with LmdbStore(str(tmp_path / "a")) as other:
                    os._exit(len(other) - 1)
            assert os.waitpid(child, 0)[1] == 0
            for i in range(50):
                store.write([sample_record(IDENTITY, "p", steps=4, seed=i)])
                store.commit()
            written = sample_record(IDENTITY, "p", steps=4)
            assert not record_differences(view.get(RecordKey("p")), written)


def test_the_clock_commits_without_another_write(tmp_path: Path) -> None:
    settings = LmdbSettings(checkpoint_seconds=0.3)
    with LmdbStore(str(tmp_path / "a"), "write", settings) as store:
        store.begin(IDENTITY)
        store.write([sample_record(IDENTITY, "a")])
        store.commit()
        store.write([sample_record(IDENTITY, "b")])
        with LmdbStore(str(tmp_path / "a")) as reader:
            assert len(reader) == 1
            deadline = time.monotonic() + 20
            while len(reader) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert len(reader) == 2, "a finished record is committed after checkpoint_seconds"


FULL = """
import resource, sys
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_core.errors import DiskFullError
from rjepa_core.testing.samples import sample_identity, sample_record
identity = sample_identity(1, 256)
store = LmdbStore(sys.argv[1], "write")
store.begin(identity)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
committed = 0
try:
    for number in range(1000):
        store.write([sample_record(identity, f"p-{number}", steps=4)])
        if number % 10 == 9:
            store.commit()
            committed = number + 1
except DiskFullError as error:
    print(committed, error)
    try:
        store.close()
    except DiskFullError:
        sys.exit(7)
"""


def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    run = subprocess.run(
        [sys.executable, "-c", FULL, path], capture_output=True, text=True, check=False
    )
    assert run.returncode == 7, run.stderr
    assert "free some space" in run.stdout
    committed = int(run.stdout.split()[0])
    assert committed > 0
    assert verify(path).sound
    with LmdbStore(path, "write") as store:
        assert len(store) == committed, "what was committed is there"
        store.write([sample_record(IDENTITY, f"q-{i}", steps=4) for i in range(100)])
    with LmdbStore(path) as store:
        assert len(store) == committed + 100, "with room again, it goes on"


SMALL_SPACE = """
import resource, sys
from rjepa_adapters.lmdb_store.store import LmdbStore
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
with LmdbStore(sys.argv[1], "read") as store:
    print(len(store), store._environment.map_bytes < 2**30)
"""


def test_less_address_space_than_asked_for_is_enough(tmp_path: Path) -> None:
    with LmdbStore(str(tmp_path / "a"), "write") as store:
        store.begin(IDENTITY)
        store.write([sample_record(IDENTITY)])
    command = [sys.executable, "-c", SMALL_SPACE, str(tmp_path / "a")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout == "1 True\n", run.stderr


def test_a_map_that_cannot_grow_is_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lmdb

    settings = LmdbSettings(map_bytes=2**16)
    with LmdbStore(str(tmp_path / "a"), "write", settings) as store:
        store.begin(IDENTITY)
        real = lmdb.open

        def limited(path: str, map_size: int, **options: Any) -> Any:
            if map_size > 2**25:
                raise lmdb.MemoryError("no address space")
            return real(path, map_size=map_size, **options)

        with monkeypatch.context() as patch:
            patch.setattr(lmdb, "open", limited)
            store.write([sample_record(IDENTITY, f"p-{i}", steps=8) for i in range(10_000)])
            with pytest.raises(DiskFullError, match="ulimit"):
                store.commit()
        store.commit()
        count = len(store)
    with LmdbStore(str(tmp_path / "a")) as again:
        assert len(again) == count


def test_the_map_grows_under_readers_of_other_processes(tmp_path: Path) -> None:
    settings = LmdbSettings(map_bytes=2**16)
    with LmdbStore(str(tmp_path / "a"), "write", settings) as store:
        store.begin(IDENTITY)
        store.write([sample_record(IDENTITY, "p-0", steps=4)])
        store.commit()
        ask, told = multiprocessing.Pipe()
        child = os.fork()
        if child == 0:
            with LmdbStore(str(tmp_path / "a"), "read", settings) as reader:
                first = reader._environment.map_bytes
                told.send(len(reader))
                told.recv()
                seen = (len(reader), reader._environment.map_bytes > first)
                told.send(seen)
            os._exit(0)
        assert ask.recv() == 1
        big = sample_identity(1, 256)
        for i in range(1, 8000):
            store.write([sample_record(big, f"p-{i}", steps=8)])
        store.commit()
        ask.send("look again")
        assert ask.recv() == (8000, True)
        os.waitpid(child, 0)


READER = """
import sys, time
from rjepa_adapters.lmdb_store.store import LmdbStore
with LmdbStore(sys.argv[1]).snapshot() as snapshot:
    print(len(snapshot), flush=True)
    time.sleep(600)
"""


def rewrite(store: LmdbStore) -> None:
    store.write([sample_record(IDENTITY, "p", seed=1, steps=40)])
    store.commit()


def remove_and_add(store: LmdbStore) -> None:
    store.delete([RecordKey("p")])
    rewrite(store)


@pytest.mark.parametrize("change", [rewrite, remove_and_add, lambda s: s.add_history({"n": 1})])
def test_a_killed_reader_holds_on_to_nothing(
    tmp_path: Path, change: Callable[[LmdbStore], None]
) -> None:
    path = tmp_path / "a"
    with LmdbStore(str(path), "write") as store:
        store.begin(IDENTITY)
        store.write([sample_record(IDENTITY, f"q-{i}", steps=40) for i in range(20)])
        rewrite(store)
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert reader.stdout is not None
        assert reader.stdout.readline() == "21\n"
        kill(reader)
        before = store.stats().bytes_on_disk
        for _ in range(300):
            change(store)
        assert store.stats().bytes_on_disk - before < 500_000

"""What a store held before it was damaged, and whether what is read of it now is that."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from rjepa_adapters.lmdb_store.recovery import inspector
from rjepa_core import LatentRecord, RJepaError, open_store
from rjepa_core.testing.samples import record_differences


@attrs.frozen
class Reading:
    """How reading everything ended.

    Attributes:
        state: `equal`; `errors`, some things raised; `refused`, the store did not open; `crashed`,
            the process was killed by a signal or trapped.
        wrong: what was returned and was not what had been written.
    """

    state: str
    wrong: tuple[str, ...] = ()


@attrs.frozen
class Original:
    """Everything that a store holds, by readable keys."""

    records: dict[str, LatentRecord]
    failures: dict[str, Any]
    history: list[dict[str, Any]]

    @staticmethod
    def read(path: Path) -> Original:
        with open_store(str(path)) as store:
            return Original(
                {str(key): store.get(key) for key in store.keys()},  # noqa: SIM118
                {str(failure.key): failure for failure in store.failures()},
                store.history(),
            )

    def save(self, path: Path) -> None:
        path.write_bytes(pickle.dumps(self))

    @staticmethod
    def load(path: Path) -> Original:
        found = pickle.loads(path.read_bytes())
        assert isinstance(found, Original)
        return found

    def differences(self, other: Original) -> list[str]:
        """Records and failures that differ from another store's."""
        wrong = [f"record {key}" for key in {*self.records} ^ {*other.records}]
        wrong += [f"failure {key}" for key in {*self.failures} ^ {*other.failures}]
        for key in {*self.records} & {*other.records}:
            if names := record_differences(self.records[key], other.records[key]):
                wrong.append(f"record {key}: {names}")
        for key in {*self.failures} & {*other.failures}:
            if self.failures[key] != other.failures[key]:
                wrong.append(f"failure {key}")
        return wrong

    def history_changes(self, saved: list[dict[str, Any]], sound: bool) -> list[str]:
        """A saved history holds entries of this one, in order; all of them if nothing was named."""
        rest = iter(self.history)
        if not all(entry in rest for entry in saved):
            return ["the saved history has entries that were never written"]
        if sound and len(saved) < len(self.history):
            return ["the saved history lacks entries, and verify found nothing"]
        return []


class Forked:
    """Stands in for `subprocess.Popen` of the inspection.

    It forks this process, which has everything imported, instead of starting another interpreter.
    What runs, and how it is watched, is the same.
    """

    def __init__(self, command: list[str], **_: Any) -> None:
        (out, into), (errors, into_errors) = os.pipe(), os.pipe()
        self._code: int | None = None
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                os.dup2(into, 1)
                os.dup2(into_errors, 2)
                sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
                inspector.main(command[3:])
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        os.close(into)
        os.close(into_errors)
        self.stdout = open(out)  # noqa: SIM115
        self.stderr = open(errors)  # noqa: SIM115

    def wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._code

    def kill(self) -> None:
        if self._code is None:
            os.kill(self._pid, signal.SIGKILL)


def read_in_child(path: Path, original: Original, seconds: float) -> Reading:
    """Read everything in a forked process, which LMDB may crash."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(out)
            with open(os.devnull, "w") as null:
                os.dup2(null.fileno(), 2)
            os.write(into, pickle.dumps(_read(path, original)))
        finally:
            os._exit(0)
    os.close(into)
    said = b""
    with open(out, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], seconds)[0]:
            part = pipe.read(2**16)
            if not part:
                break
            said += part
        else:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Reading("crashed")
    if not said:
        return Reading("crashed", ("the reader ended without a word",))
    found = pickle.loads(said)
    assert isinstance(found, Reading)
    return found


def _read(path: Path, original: Original) -> Reading:
    wrong: list[str] = []
    errors = 0
    try:
        store = open_store(str(path))
    except RJepaError:
        return Reading("refused")
    width = next(iter(original.records.values())).latents.shape[2]
    for name, expected in original.records.items():
        key = expected.key
        try:
            found = record_differences(store.get(key), expected)
            if found:
                wrong.append(f"get of {name} gives other {found}")
        except (RJepaError, KeyError) as error:
            errors += 1
            if name not in str(error) and "pages are damaged" not in str(error):
                wrong.append(f"the error of {name} does not name it: {error}")
        buffer = np.empty((1, 1, expected.latents.shape[1], width), expected.latents.dtype)
        with contextlib.suppress(RJepaError, KeyError, ValueError):
            store.read_latents([key], buffer)
            if buffer[0].tobytes() != expected.latents.tobytes():
                wrong.append(f"read_latents of {name} gives other vectors")
    errors += _listed(store, original, wrong)
    return Reading("errors" if errors else "equal", tuple(wrong))


def _listed(store: Any, original: Original, wrong: list[str]) -> int:
    """Compare what the store lists; how many errors or gaps there were."""
    errors = 0
    keys: set[str] = set()
    try:
        for key, entry in store.entries():
            keys.add(str(key))
            expected = original.records.get(str(key))
            if expected is None or entry.steps != expected.latents.shape[1]:
                wrong.append(f"entries lists {key}, {entry}")
        errors += keys != {*original.records}
        if len(store) != len(original.records):
            wrong.append(f"{len(store)} records are counted")
    except RJepaError:
        errors += 1
    try:
        failures = {str(failure.key): failure for failure in store.failures()}
        wrong += [f"failure {k}" for k, v in failures.items() if original.failures.get(k) != v]
        errors += failures != original.failures
    except RJepaError:
        errors += 1
    try:
        history = store.history()
        wrong += original.history_changes(history, sound=False)
        errors += history != original.history
    except RJepaError:
        errors += 1
    return errors

"""A backend that is the seeded one until it is told to fail: once, after so many batches."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from rjepa_core.domain.trace import Completion, Prompt
from rjepa_core.errors import BackendError, InputError
from rjepa_core.plugins.hooks import BackendAdapter, hookimpl
from rjepa_core.ports.backend import Refused
from rjepa_core.settings.extraction import ModelSettings, SamplingSettings
from rjepa_core.testing.seeded import SeededBackend, SeededSettings


@attrs.frozen(kw_only=True)
class FaultySettings(SeededSettings):
    """Settings of the faulty backend.

    Attributes:
        after: batches that it makes before it fails.
        times: it fails; `log` counts them, over processes.
        how: `lost` raises what a lost device does, `usage` what wrong input does, `kill` is a
            SIGKILL, `bug` an exception that nobody foresaw.
        log: file with a line a batch that was begun, and one a failure.
    """

    after: int = 2
    times: int = 1
    how: str = "lost"
    log: str = "faults.log"


class FaultyBackend(SeededBackend):
    def __init__(self, model: ModelSettings, settings: FaultySettings) -> None:
        super().__init__(model, settings)
        self._faults, self._log, self._batches = settings, Path(settings.log), 0

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingSettings
    ) -> Sequence[Completion | Refused]:
        faults, failed = self._faults, 0
        if self._log.exists():
            failed = self._log.read_text().count("fault")
        if self._batches == faults.after and failed < faults.times:
            self._write("fault")
            if faults.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise {
                "lost": BackendError("the device was lost"),
                "usage": InputError("problems.jsonl, line 3: no statement"),
                "bug": ZeroDivisionError("division by zero"),
            }[faults.how]
        self._batches += 1
        self._write(" ".join(str(prompt.key) for prompt in prompts))
        return super().generate(prompts, sampling)

    def _write(self, line: str) -> None:
        with self._log.open("a") as file:
            file.write(line + "\n")


@hookimpl
def rjepa_backends() -> Iterable[BackendAdapter]:
    return [BackendAdapter(name="faulty", settings=FaultySettings, create=FaultyBackend)]

"""The how-to pages that hold code: run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from engines import seeded
from pages import File, Page, follow, parts

from rjepa_adapters.schedulers.fixed import FixedScheduler, FixedSettings
from rjepa_core.domain.problem import GivenSolution
from rjepa_core.domain.trace import ANSWER_ONLY, EMPTY, OUT_OF_MEMORY, TOO_MANY_STEPS
from rjepa_core.errors import BackendError, OutOfMemoryError
from rjepa_core.extraction.loop import extract
from rjepa_core.extraction.queue import Pending
from rjepa_core.ports.backend import LLMBackend
from rjepa_core.testing.backend_suite import BackendContract
from rjepa_core.testing.scheduler_suite import CountingSink
from rjepa_core.testing.seeded import hidden_states

SESSION_PAGE = Page("how-to/fill-the-session-port.md")
QUEUE_PAGE = Page("how-to/queue-runs.md")
NOTHING_HEAVY = ["--problems", "demo", "--backend", "seeded", "--model", "trial", "--layer", "-1"]

_module: dict[str, Any] = {}
exec(next(p.text for p in parts(SESSION_PAGE) if isinstance(p, File)), _module)
EngineSession = _module["EngineSession"]


class Engine:
    """What vLLM's engine looks like from outside, over the seeded backend."""

    def __init__(self, most: int = 1000) -> None:
        self.inner = seeded(hidden_size=16)
        self.most = most
        self.rows: dict[str, list[Any]] = {}
        self.aborted = 0

    def count_tokens(self, prompt: Any) -> int:
        return self.inner.count_tokens(prompt.user)

    def add_request(self, request: str, prompt: Any, sampling: Any) -> None:
        [completion] = self.inner.generate([prompt], sampling)
        self.rows[request] = [completion, 0]

    def step(self) -> tuple[list[tuple[str, Any]], int]:
        if len(self.rows) > self.most:
            raise OutOfMemoryError("too many rows")
        for row in self.rows.values():
            row[1] += 7
        ended = [key for key, (made, done) in self.rows.items() if done >= len(made.ids)]
        return [(key, self.rows.pop(key)[0]) for key in ended], 7 * len(self.rows)

    def abort_request(self, request: str) -> None:
        self.aborted += self.rows.pop(request, None) is not None

    def hidden_states(self, ids: Any, layers: Any) -> tuple[Any, Any]:
        key, whole = self.inner.info.content, slice(0, len(ids))
        states = np.stack([hidden_states(ids, whole, layer, key, 16) for layer in layers])
        return states, -np.abs(states[0, :, 0])


class Backend:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.info = engine, engine.inner.info

    def open_session(self, spec: Any) -> Any:
        return EngineSession(self.engine, spec)

    def close(self) -> None:
        pass


class TestSessionOfThePage(BackendContract):
    tolerance = 0.0
    same_ids = 1.0
    max_new_tokens = 300

    @pytest.fixture
    def backend(self) -> LLMBackend:
        return Backend(Engine())


@pytest.mark.parametrize("most", [1, 3])
def test_a_step_that_does_not_fit_gives_its_rows_back(most: int) -> None:
    engine = Engine(most)
    work = TestSessionOfThePage.work(3)
    spec = TestSessionOfThePage().spec(Backend(engine))
    sink = CountingSink()
    extract(Pending(work), EngineSession(engine, spec), FixedScheduler(FixedSettings()), sink)
    assert sorted(sink.records) == sorted(item.key for item in work)
    assert engine.aborted > most


def test_a_row_that_does_not_fit_alone_has_failed() -> None:
    engine = Engine(0)
    work = TestSessionOfThePage.work()
    spec = TestSessionOfThePage().spec(Backend(engine))
    sink = CountingSink()
    extract(Pending(work), EngineSession(engine, spec), FixedScheduler(FixedSettings()), sink)
    assert [failure.reason for failure in sink.failures] == [OUT_OF_MEMORY] * len(work)
    assert not sink.records


def failures_of(text: str, most_steps: int | None = None) -> set[tuple[str, str]]:
    """Reason and detail of what fails where the engine completes every prompt with a text."""

    class Always(Engine):
        def add_request(self, request: str, prompt: Any, sampling: Any) -> None:
            [completion] = self.inner.read([prompt], [GivenSolution(text)])
            self.rows[request] = [attrs.evolve(completion, finish_reason="stop"), 0]

    engine = Always()
    spec = attrs.evolve(TestSessionOfThePage().spec(Backend(engine)), most_steps=most_steps)
    sink = CountingSink()
    work = Pending(TestSessionOfThePage.work())
    extract(work, EngineSession(engine, spec), FixedScheduler(FixedSettings()), sink)
    return {(failure.reason, failure.detail) for failure in sink.failures}


def test_the_session_has_the_core_s_checks() -> None:
    """Of completions without steps, with too many of them, and longer than was asked for."""
    steps = "Step 1: one.\nStep 2: two.\nStep 3: three."
    assert failures_of(steps, most_steps=3) == set()
    assert failures_of(steps, most_steps=2) == {(TOO_MANY_STEPS, "3 steps, at most 2 are taken")}
    assert failures_of(" ") == {(EMPTY, "the completion has no text")}
    [(reason, detail)] = failures_of("#### 7")
    assert reason == ANSWER_ONLY
    assert "#### 7" in detail
    with pytest.raises(BackendError, match=r"tokens of a completion, where sampling\.max"):
        failures_of("word " * 400)


@pytest.fixture
def environment() -> dict[str, str]:
    scripts = sysconfig.get_path("scripts")
    return {
        **os.environ,
        "PATH": os.pathsep.join([scripts, os.environ["PATH"]]),
        "PAUSE": "0",
        "EPOCHS": "2",
    }


def night(place: Path, environment: dict[str, str], *arguments: str) -> int:
    script = next(p for p in parts(QUEUE_PAGE) if isinstance(p, File))
    (place / script.path).parent.mkdir(exist_ok=True)
    (place / script.path).write_text(script.text)
    done = subprocess.run(["bash", script.path, *arguments], cwd=place, env=environment)
    return done.returncode


def test_the_queue_as_the_page_shows_it(tmp_path: Path, environment: dict[str, str]) -> None:
    page = Page("how-to/queue-runs.md")
    assert len(follow(page, tmp_path, environment)) == 2
    page.take("bash")  # the Slurm script, below
    page.finish()
    assert (tmp_path / "world-model" / "checkpoints").is_dir()


def test_an_array_of_shards(tmp_path: Path, environment: dict[str, str]) -> None:
    page = Page("how-to/run-as-an-array-job.md")
    assert len(follow(page, tmp_path, environment)) == 3
    page.finish()


def test_what_is_not_done_is_not_trained_on(tmp_path: Path, environment: dict[str, str]) -> None:
    assert night(tmp_path, environment, *NOTHING_HEAVY, "--max-hours", "0.0000001") == 4
    assert night(tmp_path, environment, *NOTHING_HEAVY, "--no-such-option") == 2
    rows = '{"id": "a", "question": "1?", "solution": "#### 7"}\n'
    failing = ["--traces", "failing.jsonl", "--backend", "seeded", "--model", "trial"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "failing.jsonl").write_text(rows)
    assert night(other, environment, *failing) == 3
    for place in (tmp_path, other):
        assert not (place / "world-model").exists()


def test_a_killed_run_is_tried_again(tmp_path: Path, environment: dict[str, str]) -> None:
    """The first two calls of `rjepa-cli` end as a killed process and a lost device do."""
    shim = tmp_path / "bin"
    shim.mkdir()
    (shim / "rjepa-cli").write_text(
        "#!/bin/bash\n"
        f'n=$(cat "{shim}/calls" 2>/dev/null || echo 0); echo $((n + 1)) > "{shim}/calls"\n'
        "[ $n -eq 0 ] && kill -9 $$\n"
        "[ $n -eq 1 ] && exit 1\n"
        f'exec "{sys.executable}" -m rjepa_cli "$@"\n'
    )
    (shim / "rjepa-cli").chmod(0o755)
    environment["PATH"] = os.pathsep.join([str(shim), environment["PATH"]])
    assert night(tmp_path, environment, *NOTHING_HEAVY) == 0
    assert (shim / "calls").read_text().strip() == "4", "two that ended, the third, and training"


def test_it_gives_up_after_two_more(tmp_path: Path, environment: dict[str, str]) -> None:
    shim = tmp_path / "bin"
    shim.mkdir()
    (shim / "rjepa-cli").write_text(f'#!/bin/bash\necho call >> "{shim}/calls"\nexit 1\n')
    (shim / "rjepa-cli").chmod(0o755)
    environment["PATH"] = os.pathsep.join([str(shim), environment["PATH"]])
    assert night(tmp_path, environment, *NOTHING_HEAVY) == 1
    assert (shim / "calls").read_text().split() == ["call"] * 3


def test_the_session_is_all_of_its_page() -> None:
    SESSION_PAGE.finish()


def test_slurm_script_is_a_shell_script() -> None:
    _, script = Page("how-to/queue-runs.md").take("bash")
    checked = subprocess.run(["bash", "-n"], input=script, text=True)
    assert checked.returncode == 0

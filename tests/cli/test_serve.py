"""`rjepa-cli serve` as a process: it says where it listens, finishes, and exits with 0."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest
from evaluation_stores import make_store
from raw_http import answer, connect, head
from served_process import serving
from services import make_trained, make_verifier

from rjepa_adapters.remote.client import RemoteWorldModel
from rjepa_core.testing.world_model_suite import sequences

from .conftest import Invoke, only_line


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_trained(tmp_path_factory.mktemp("serve"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_serves_until_it_is_told_to_stop(trained: tuple[str, str], number: int) -> None:
    store, run = trained
    words = ("--store", store, "--model", "m", "--backend", "seeded", "--device", "cpu")
    with serving("--world-model", run, *words) as service:
        body = {"problem": "What is 2 + 3?", "solution": "2 + 3 = 5\nIt is 5"}
        answer = httpx2.post(f"{service.address}/score_text", json=body, timeout=30)
        assert len(answer.json()["steps"]) == 2
        service.process.send_signal(number)
        assert service.process.wait(30) == 0
        service._reader.join(10)
        assert service.lines[-1] == "stopped; all that was accepted is answered"
        assert service.address.startswith("http://127.0.0.1:")


def test_a_store_that_cannot_be_verified_is_told_of(tmp_path: Path) -> None:
    """Its records have no log-probabilities, and the verifier needs them: the surprise is left."""
    _, run = make_verifier(tmp_path)
    bare = make_store(tmp_path, "bare", count=3, logprobs=False)
    with serving("--world-model", run, "--store", bare, "--device", "cpu") as service:
        [warned] = [line for line in service.lines if "without verdicts" in line]
        assert "bare: its records have no log-probabilities, and " in warned
        answer = httpx2.post(f"{service.address}/score_record", json={"problem_id": "q1"})
        assert "surprise" in answer.json()
        assert "right" not in answer.json()


def test_what_was_accepted_is_answered_before_it_ends(trained: tuple[str, str]) -> None:
    with serving("--world-model", trained[1], "--device", "cpu") as service:
        remote = RemoteWorldModel(service.address, patience=1.0)
        many = sequences(remote) * 9
        wanted = remote.surprise(many)
        answered: list[int] = []
        ends: list[str] = []

        def ask() -> None:
            try:
                while True:
                    assert len(remote.surprise(many)) == len(wanted)
                    answered.append(1)
            except Exception as error:
                ends.append(str(error))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        assert service.stop() == 0
        for thread in threads:
            thread.join(30)
        assert len(answered) >= 4
        # There is no service any more; an answer cut off would be another error.
        assert len(ends) == 4
        assert all("is the service running" in end for end in ends), ends


def test_what_does_not_end_in_time_is_told_so_and_nothing_is_on_the_log(
    trained: tuple[str, str],
) -> None:
    words = ("--world-model", trained[1], "--device", "cpu", "--stop-seconds", "0.5")
    with serving(*words) as service, connect(service) as begun, connect(service) as gone:
        for connection in (begun, gone):
            connection.sendall(head(1000) + b"{")
        time.sleep(0.3)
        gone.close()
        service.process.terminate()
        assert answer(begun).startswith(b"HTTP/1.1 503 ")
        assert service.process.wait(30) == 0
        service._reader.join(10)
        assert not [line for line in service.lines if "Exception" in line or "Traceback" in line]


def test_the_token_comes_from_the_environment_or_a_file(
    trained: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv("RJEPA_TOKEN", "from-environment")
    for words, token in (
        ((), "from-environment"),
        (("--token-file", str(tmp_path / "token")), "from-file"),
    ):
        with serving("--world-model", trained[1], "--device", "cpu", *words) as service:
            url = f"{service.address}/info"
            assert httpx2.get(url).status_code == 401
            assert httpx2.get(url, headers={"authorization": f"Bearer {token}"}).status_code == 200


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "serve.world_model (--world-model): none is named; name a trained run"),
        (("--world-model", "nowhere"), "there is no trained world model"),
        (("--world-model", "RUN", "--port", "99999"), "service.port (--port)"),
        (("--world-model", "RUN", "--host", "no.such.host.invalid"), "service.host (--host)"),
        (
            ("--world-model", "RUN", "--model", "other", "--backend", "seeded"),
            "another latent space",
        ),
        (("--world-model", "RUN", "--store", "OTHER"), "another latent space"),
        (("--world-model", "RUN", "--token-file", "nowhere"), "service.token_file (--token-file)"),
        (("--world-model", "RUN", "--set", "service.nothing=1"), "service.nothing"),
        (
            ("--world-model", "RUN", "--names", "http://a.example"),
            "service.names (--names): must be names without http:// and port",
        ),
        (("--world-model", "RUN", "--set", "service.name=ftp"), "unknown service 'ftp'"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_served(
    invoke: Invoke, trained: tuple[str, str], tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    places = {"RUN": trained[1]}
    if "OTHER" in words:
        places["OTHER"] = make_store(tmp_path, "other", count=5, pooling="last")
    # No default: another service may have that port.
    result = invoke("serve", "--port", "0", *(places.get(word, word) for word in words))
    assert result.exit_code == 2
    assert reason in only_line(result.stderr)


@pytest.mark.parametrize("run", ["RUN", "nowhere"])
def test_a_port_that_is_taken(invoke: Invoke, trained: tuple[str, str], run: str) -> None:
    """It is told before anything is opened: the run may be none."""
    place = trained[1] if run == "RUN" else run
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = invoke("serve", "--world-model", place, "--device", "cpu", "--port", port)
    assert result.exit_code == 2
    assert "use another service.port" in only_line(result.stderr)


def test_without_the_extra_it_says_what_to_install(
    trained: tuple[str, str], tmp_path: Path
) -> None:
    """A module that cannot be imported stands in for one that is not installed."""
    (tmp_path / "fastapi").mkdir()
    (tmp_path / "fastapi" / "__init__.py").write_text(
        "raise ModuleNotFoundError('no fastapi', name='fastapi')\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, "-m", "rjepa_cli", "serve", "--world-model", trained[1]]
    done = subprocess.run(
        [*words, "--port", "0"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        timeout=120,
    )
    assert done.returncode == 2
    said = only_line(done.stderr)
    assert re.search(r"serving needs the package 'fastapi': .*pip install .*\[serve\]'", said)


def test_help_names_the_service_s_own_settings(invoke: Invoke) -> None:
    text = invoke("serve", "--help").stdout
    for flag in ("--host", "--port", "--token-file", "--batch-wait-ms", "--world-model"):
        assert flag in text

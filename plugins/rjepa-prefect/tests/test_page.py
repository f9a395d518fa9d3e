"""The run's page in a real browser: its tasks, the retry, the summaries.

With RJEPA_SCREENSHOT=FILE.png the picture that the how-to shows is taken.
"""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not CHROMIUM or not DRIVER or importlib.util.find_spec("selenium") is None,
    reason="no browser: apt-get install chromium chromium-driver, pip install selenium",
)
WAIT = 240
WIDTH, HEIGHT = 1280, 1000
FLOW = """
import json, sys
from rjepa_prefect import extract_then_train
extract_then_train(**json.loads(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-dev-shm-usage",
        f"window-size={WIDTH},{HEIGHT}",
        "force-prefers-color-scheme=light",
    ):
        options.add_argument(f"--{argument}")
    found = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`prefect server start`; the address of its pages."""
    place = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "prefect", "server", "start"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    environment["PREFECT_HOME"] = str(place)
    with (place / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            end = time.monotonic() + WAIT
            while not healthy(f"{address}/api/health"):
                assert process.poll() is None, (place / "log").read_text()
                assert time.monotonic() < end, (place / "log").read_text()
                time.sleep(0.5)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_tasks_retry_and_summaries(
    home: Path, extraction: dict[str, Any], pages: str, faulty_plugin: Path, browser: Any
) -> None:
    import json

    from selenium.webdriver.support.ui import WebDriverWait

    parameters = {
        "extract": {**extraction, "model": "demo"},
        "train": {"training": {"max_epochs": 4, "patience": 0}},
        "out": "world-model",
        "retry_delay_seconds": 2,
    }
    environment = {
        **os.environ,
        "PREFECT_API_URL": f"{pages}/api",
        "PYTHONPATH": str(faulty_plugin),
    }
    done = subprocess.run(
        [sys.executable, "-c", FLOW, json.dumps(parameters)],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    address = done.stderr.split("View at ")[1].split()[0]
    shots = []

    def text() -> str:
        return str(browser.find_element("css selector", "body").text)

    def show(tab: str, *words: str) -> None:
        browser.get(f"{address}?tab={tab}")
        WebDriverWait(browser, WAIT).until(lambda _: all(word in text() for word in words))
        time.sleep(2)
        shots.append(browser.get_screenshot_as_png())

    show("Logs", "Completed", "Retry 1/2 will start", "going on with what latents holds")
    show("Task+Runs", "extract", "train")
    show("Artifacts", "rjepa-extraction", "rjepa-training")
    if target := os.environ.get("RJEPA_SCREENSHOT"):
        for number, shot in enumerate(shots):
            Path(f"{target}.{number}.png").write_bytes(shot)
    assert all(io.BytesIO(shot).read(4) == b"\x89PNG" for shot in shots)

"""The run's page in a real browser: its tasks, the retry, the summaries.

With RJEPA_SCREENSHOT=FILE.png the picture that the how-to shows is taken.
"""

from __future__ import annotations

import importlib.util
import json
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
WIDTH, HEIGHT = 1180, 1500
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
    # The pages ask the usual port otherwise.
    environment["PREFECT_SERVER_UI_API_URL"] = f"{address}/api"
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
    from selenium.webdriver.support.ui import WebDriverWait

    parameters = {
        "extract": {**extraction, "backend": {"name": "faulty", "delay": 0.6}},
        "train": {"training": {"max_epochs": 4, "patience": 0}},
        "out": "world-model",
        "retry_delay_seconds": 3,
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

    def wait(*words: str) -> None:
        def there(_: Any) -> bool:
            body = browser.find_element("css selector", "body")
            return all(word in body.text for word in words)

        WebDriverWait(browser, WAIT).until(there)

    def click(path: str) -> None:
        found = browser.find_elements("xpath", path)
        next(one for one in found if one.is_displayed()).click()

    browser.get(address)
    wait("Completed", "2 Task runs", "the device was lost", "Retry 1/2 will start")
    wait("continuing with what latents holds", "all epochs done: 4 epochs")
    # The drawing of the tasks, which holds no text that could be waited for, comes last.
    time.sleep(5)
    if target := os.environ.get("RJEPA_SCREENSHOT"):
        Path(target).write_bytes(browser.get_screenshot_as_png())
    for tab, words in (
        ("Task Runs", ("extract-", "train-")),
        ("Artifacts", ("rjepa-extraction", "rjepa-training", "rjepa-progress")),
    ):
        click(f"//*[normalize-space()='{tab}' and not(*)]")
        wait(*words)
    click("//*[normalize-space()='rjepa-extraction' and not(*)]")
    wait("16 of 16 that were missing", "token/s", "24 records")

"""A real browser, and what a person does in it."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not CHROMIUM or not DRIVER or importlib.util.find_spec("selenium") is None,
    reason="no browser: apt-get install chromium chromium-driver, pip install selenium",
)
WAIT = 60
WIDE, PHONE = 1180, 390


@contextmanager
def open_browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    resize(found)
    yield found
    found.quit()


def resize(browser: Any, width: int = WIDE, height: int = 1250) -> None:
    """Give the page a width; that of a phone, too, which no window may have."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width <= PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def go(browser: Any, address: str) -> None:
    """Load a page anew, even if only the fragment of its address differs from the last one's."""
    browser.get("about:blank")
    browser.get(address)


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def find_all(browser: Any, selector: str) -> list[Any]:
    return list(browser.find_elements("css selector", selector))


def wait_for(browser: Any, selector: str, count: int = 1) -> list[Any]:
    """The elements, once there are so many of them."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, WAIT).until(lambda it: len(find_all(it, selector)) == count)
    return find_all(browser, selector)


def paste(browser: Any, selector: str, text: str) -> None:
    """What pasting does: the whole text at once, and the event that it is there."""
    browser.execute_script(
        "arguments[0].value = arguments[1];"
        "arguments[0].dispatchEvent(new Event('input', {bubbles: true}));",
        find(browser, selector),
        text,
    )


def complaints(browser: Any) -> list[str]:
    """What the browser's console holds against the page."""
    return [entry["message"] for entry in browser.get_log("browser")]

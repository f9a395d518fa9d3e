"""Takes the pictures of the service's page, in a real browser:

python docs/pictures/page.py ADDRESS [--out docs/pictures] [--name page]

ADDRESS is that of a service that runs: with a store, and for the documentation's pictures with its
LLM. `page.png` and `page-dark.png` show the example with a foreign step, `page-phone.png` the same
at 390 pixels, and `page-compare.png` two solutions. With `--name` other names are used. Needs
chromium, chromedriver and selenium.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

WIDE, PHONE = 1180, 390
# Suffix, scheme, width, example.
PICTURES = (
    ("", "light", WIDE, "foreign"),
    ("-dark", "dark", WIDE, "foreign"),
    ("-phone", "light", PHONE, "foreign"),
    ("-clean", "light", WIDE, "clean"),
    ("-compare", "light", WIDE, "compare"),
    ("-start", "light", WIDE, ""),
)
TALLEST = 1600


def start() -> Any:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def take(browser: Any, address: str, file: Path, scheme: str, width: int, example: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size(browser, width, 900)
    browser.get("about:blank")
    browser.get(address)
    wait(browser, "#cards li, #needs-store:not([hidden])")
    if example and browser.find_elements("css selector", f"[data-example={example}]"):
        browser.execute_script(
            "arguments[0].click()",
            browser.find_element("css selector", f"[data-example={example}]"),
        )
        wait(browser, ".step")
        wait(browser, "#status.quiet")
    height = browser.execute_script("return document.documentElement.scrollHeight")
    size(browser, width, min(height, TALLEST))
    browser.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    assert browser.save_screenshot(str(file)), file
    print(file)


def size(browser: Any, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width <= PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def wait(browser: Any, selector: str) -> None:
    WebDriverWait(browser, 120).until(lambda it: it.find_elements("css selector", selector))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--name", default="page")
    parser.add_argument("--only", help="suffixes, such as `,-dark`")
    asked = parser.parse_args()
    only = None if asked.only is None else asked.only.split(",")
    browser = start()
    try:
        for suffix, *how in PICTURES:
            if only is None or suffix in only:
                take(browser, asked.address, asked.out / f"{asked.name}{suffix}.png", *how)
    finally:
        browser.quit()


if __name__ == "__main__":
    main()

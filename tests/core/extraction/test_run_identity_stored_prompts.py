"""The token ids of a store, an old one too, come from one tokenizer, day and set of ends."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import DATED, TinyRuns

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.errors import IdentityError
from rjepa_core.extraction import run_identity
from rjepa_core.plugins.locate import locate, open_store
from rjepa_core.stores import merge
from rjepa_core.stores.prompt_check import check_prompts_alike
from rjepa_core.testing.memory_store import MemoryStore


@pytest.fixture
def runs(tmp_path: Path) -> TinyRuns:
    return TinyRuns.make(tmp_path)


@pytest.fixture(autouse=True)
def first_day(monkeypatch: pytest.MonkeyPatch) -> None:
    day("2026-11-03", monkeypatch)


def day(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_identity, "today", lambda: text)


def fewer_merges(state: dict[str, Any]) -> None:
    del state["model"]["merges"][-20:]


def added_token(state: dict[str, Any]) -> None:
    token = {**state["added_tokens"][0], "id": 310, "content": "pears", "special": False}
    state["added_tokens"].append(token)


def same(one: LatentRecord, other: LatentRecord) -> bool:
    pairs = (
        (one.trace.prompt_ids, other.trace.prompt_ids),
        (one.trace.completion_ids, other.trace.completion_ids),
        (one.latents, other.latents),
    )
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("change", [fewer_merges, added_token])
@pytest.mark.parametrize("given", [False, True])
def test_another_tokenizer_is_refused(runs: TinyRuns, change: Any, given: bool) -> None:
    runs.run(given=given)
    known = runs.identity().space.tokenizer
    runs.change("tokenizer.json", change)
    with pytest.raises(IdentityError, match=rf'tokenizer is "{known}" there and "\w+" in this run'):
        runs.run(limit=4, given=given)


def test_another_layout_of_its_file_is_the_same_tokenizer(runs: TinyRuns) -> None:
    runs.run()
    before = runs.records()
    runs.change("tokenizer.json", lambda state: None, indent=9, sort_keys=True)
    assert runs.run(limit=4) == []
    after = runs.records()
    assert after.keys() == {"p3", "p4", "p5", "p6"}
    assert all(same(before[key], after[key]) for key in before)


def test_another_chat_template_is_refused(runs: TinyRuns) -> None:
    runs.run()
    text = (runs.place / "checkpoint" / "chat_template.jinja").read_text()
    runs.change("tokenizer_config.json", lambda config: config.update(chat_template="other"))
    assert runs.run(limit=3) == [], "the file beside it is what transformers takes"
    runs.template(text.replace("<think>", "<thinking>"))
    with pytest.raises(IdentityError, match=r"prompt\.chat_format"):
        runs.run(limit=4)


def test_other_ends_are_refused_where_completions_are_sampled(runs: TinyRuns) -> None:
    runs.run()
    runs.run("given", given=True)
    runs.change("generation_config.json", lambda config: config.update(eos_token_id=[1, 5]))
    with pytest.raises(IdentityError, match=r"end_ids is \[1\] there and \[1, 5\] in this run"):
        runs.run(limit=4)
    assert runs.run("given", limit=4, given=True) == []
    assert runs.identity("given").generation.end_ids is None


def test_ends_in_another_order_are_the_same(runs: TinyRuns) -> None:
    runs.change("generation_config.json", lambda config: config.update(eos_token_id=[5, 1]))
    runs.run()
    runs.change("generation_config.json", lambda config: config.update(eos_token_id=[1, 5]))
    assert runs.run(limit=3) == []


# --- the clock ------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [False, True])
def test_a_store_is_of_one_day(
    runs: TinyRuns, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.template(DATED)
    runs.run(given=given)
    day("2026-11-04", monkeypatch)
    assert runs.run(limit=4, given=given) == []
    texts = [record.trace.prompt_text for record in runs.records().values()]
    assert len(texts) == 4
    assert all("Today is 03 November 2026." in text for text in texts)
    assert runs.identity().space.prompt.date == "2026-11-03"
    runs.run("other", given=given)
    assert runs.identity("other").space.prompt.date == "2026-11-04"
    prints = {runs.identity(name).space.fingerprint for name in ("store", "other")}
    assert len(prints) == 2


def test_the_day_can_be_set(runs: TinyRuns) -> None:
    runs.template(DATED)
    runs.run(date="2024-02-29")
    assert "29 February 2024" in runs.records()["p3"].trace.prompt_text
    assert runs.run(limit=3) == []
    assert "29 February 2024" in runs.records()["p5"].trace.prompt_text
    with pytest.raises(IdentityError, match='date is "2024-02-29" there and "2025-01-01" in this'):
        runs.run(limit=4, date="2025-01-01")


def test_a_template_without_a_clock_knows_no_day(
    runs: TinyRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.run()
    day("2026-11-04", monkeypatch)
    runs.run("other")
    one, other = runs.identity().space, runs.identity("other").space
    assert one.prompt.date is None
    assert one.fingerprint == other.fingerprint


def test_stored_traces_keep_their_day(runs: TinyRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.template(DATED)
    runs.run()
    day("2026-11-04", monkeypatch)
    runs.run("again", traces=runs.place / "store")
    assert runs.identity("again").space == runs.identity().space
    runs.age()
    runs.run("third", traces=runs.place / "store")
    assert runs.identity("third").space.tokenizer is None, "the traces do not tell theirs"
    assert runs.run("again", traces=runs.place / "store") != []


# --- stores of an older version -------------------------------------------------------------------


def test_an_old_store_is_told_of_once_and_filled(runs: TinyRuns) -> None:
    runs.run()
    new, before = runs.identity(), runs.records()
    runs.age()
    old = runs.identity()
    assert (old.space.tokenizer, old.generation.end_ids) == (None, None)
    [told] = runs.run(limit=4)
    assert "did not keep its tokenizer, end_ids, sampler" in told
    assert "2 stored prompts compared" in told
    assert runs.identity() == new
    assert runs.run(limit=5) == []
    after = runs.records()
    assert len(after) == 5
    assert all(same(before[key], after[key]) for key in before)
    maintenance = locate(str(runs.place / "store")).maintenance()
    assert maintenance.verify(str(runs.place / "store")).sound


@pytest.mark.parametrize("change", [fewer_merges, added_token])
@pytest.mark.parametrize("given", [False, True])
def test_an_old_store_is_not_gone_on_with_by_another_tokenizer(
    runs: TinyRuns, change: Any, given: bool
) -> None:
    runs.run(given=given)
    runs.age()
    runs.change("tokenizer.json", change)
    with pytest.raises(IdentityError, match=r"p\d, the same text, has \d+ tokens there and \d+ "):
        runs.run(limit=4, given=given)
    assert runs.identity().space.tokenizer is None
    assert len(runs.records()) == 2


def test_an_old_store_is_not_gone_on_with_where_its_prompts_cannot_be_posed(
    runs: TinyRuns,
) -> None:
    runs.run()
    runs.age()

    def special(state: dict[str, Any]) -> None:
        added_token(state)
        state["added_tokens"][-1]["special"] = True

    runs.change("tokenizer.json", special)
    with pytest.raises(IdentityError, match="holds pears, which the model takes as a command"):
        runs.run(limit=4)


def test_an_old_store_is_not_gone_on_with_by_other_ends(runs: TinyRuns) -> None:
    runs.run()
    ids = runs.records()["p3"].trace.completion_ids
    runs.age()
    token = int(ids[3])
    runs.change("generation_config.json", lambda config: config.update(eos_token_id=token))
    with pytest.raises(IdentityError, match=f"p3 goes on after token {token}"):
        runs.run(limit=4)


def test_an_old_store_whose_completions_ended_otherwise(runs: TinyRuns) -> None:
    runs.run()
    ids = runs.records()["p3"].trace.completion_ids
    token = int(ids[3])
    runs.change("generation_config.json", lambda config: config.update(eos_token_id=[1, token]))
    runs.run("stopped")
    assert runs.records("stopped")["p3"].trace.finish_reason == "stop"
    runs.age("stopped")
    runs.change("generation_config.json", lambda config: config.update(eos_token_id=1))
    with pytest.raises(IdentityError, match=f"p\\d ends with token {token}"):
        runs.run("stopped", limit=4)


def test_an_old_store_goes_on_with_the_day_on_which_it_was_begun(
    runs: TinyRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its history tells that day; this test's runs are really of today."""
    runs.template(DATED)
    today = str(date.today())
    runs.run(date=today)
    runs.age()
    day("2036-11-04", monkeypatch)
    [told] = runs.run(limit=3)
    assert "did not keep its prompt.date, tokenizer" in told
    assert runs.identity().space.prompt.date == today
    texts = {record.trace.prompt_text.splitlines()[1] for record in runs.records().values()}
    assert len(texts) == 1


def test_an_old_store_of_another_day_asks_for_it(runs: TinyRuns) -> None:
    runs.template(DATED)
    runs.run(date="2020-01-01")
    runs.age()
    with pytest.raises(IdentityError, match=r"set prompt.date to the day on which it was begun"):
        runs.run(limit=3)
    [told] = runs.run(limit=3, date="2020-01-01")
    assert "2 stored prompts compared" in told


def test_an_old_store_of_several_days_is_told_of(runs: TinyRuns) -> None:
    runs.template(DATED)
    runs.run(date="2020-01-01")
    runs.age()
    with open_store(str(runs.place / "store"), "write") as store:
        [first, second] = store.keys()
        store.delete([second])
    runs.run("other", date="2020-01-02")
    runs.age("other")
    with (
        open_store(str(runs.place / "store"), "write") as store,
        open_store(str(runs.place / "other")) as other,
    ):
        merge(store, [other], "target")
    warned = runs.run(limit=3, date="2020-01-01")
    assert any("1 of 2 prompts were posed on other days" in line for line in warned)
    assert str(first) in runs.records()


# --- stores side by side --------------------------------------------------------------------------


def test_old_and_new_prompts_are_compared_by_how_they_begin(runs: TinyRuns) -> None:
    runs.run("old")
    runs.age("old")
    runs.run("new", limit=4)
    runs.change("tokenizer.json", fewer_merges)
    runs.run("other", limit=4)
    stores = {name: open_store(str(runs.place / name)) for name in ("old", "new", "other")}
    check_prompts_alike([stores["old"], stores["new"]])
    for pair in (("old", "other"), ("other", "old")):
        with pytest.raises(IdentityError, match="made by different tokenizers, or posed on"):
            check_prompts_alike([stores[name] for name in pair])
    for store in stores.values():
        store.close()


def test_the_day_of_a_store_without_runs_is_today(monkeypatch: pytest.MonkeyPatch) -> None:
    day("2026-12-24", monkeypatch)
    assert run_identity.day_of(MemoryStore()) == "2026-12-24"

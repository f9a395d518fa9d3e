"""Records of the store, page by page: no walk to the page, and no wait without an end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import httpx2
import pytest
from evaluation_stores import solution
from services import client, opened, problem, running

from rjepa_adapters.lmdb_store import reader as reading
from rjepa_adapters.lmdb_store.settings import LmdbSettings
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_adapters.service.answers import json_response
from rjepa_adapters.service.problem_details import ProblemError
from rjepa_adapters.service.records import MOST_SKIPPED, Records
from rjepa_adapters.service.schemas import RecordOut, RecordsOut
from rjepa_core.domain.trace import RecordKey
from rjepa_core.scoring.serving import Served
from rjepa_core.testing.samples import sample_identity, sample_record


def listed(caller: httpx2.Client, **query: object) -> list[tuple[str, int]]:
    answer = caller.get("/records", params={key: str(value) for key, value in query.items()})
    assert answer.status_code == 200, answer.text
    return [(one["problem_id"], one["sample"]) for one in answer.json()["records"]]


def test_page_by_page_all_are_listed(caller: httpx2.Client, served: Served) -> None:
    assert served.stored is not None
    wanted = [(key.problem_id, key.sample) for key in served.stored.store.keys()]  # noqa: SIM118
    found = listed(caller, count=7)
    while page := listed(caller, count=7, after=found[-1][0], sample=found[-1][1]):
        found += page
    assert found == wanted
    assert listed(caller, count=5, first=3) == wanted[3:8]
    assert listed(caller, count=5, first=2, after=wanted[9][0]) == wanted[12:17]
    assert listed(caller, first=len(wanted)) == []


def test_what_is_no_page(caller: httpx2.Client) -> None:
    facts = problem(caller.get("/records?after=nobody"), 404, "not-found")
    assert facts["pointer"] == "/query/after"
    facts = problem(caller.get("/records?first=999000"), 422, "bad-body")
    assert facts["pointer"] == "/query/first"
    assert "at most 10,000 are skipped; name the last one seen as `after`" in str(facts["detail"])
    for query in ("first=-1", "first=x", f"first={2**40}", "sample=-1", "after=" + "x" * 5001):
        problem(caller.get(f"/records?{query}"), 422, "bad-body")


def test_records_are_found_by_id_and_by_words(caller: httpx2.Client) -> None:
    everything = caller.get("/records?count=100").json()["records"]

    def found(words: str, **query: object) -> tuple[list[str], dict[str, Any]]:
        params = {"search": words, **{key: str(value) for key, value in query.items()}}
        answer = caller.get("/records", params=params)
        assert answer.status_code == 200, answer.text
        facts: dict[str, Any] = answer.json()
        return [one["problem_id"] for one in facts["records"]], facts

    for words in ("ROWS of", "  case   7? ", "22 seats", "q1", "#### 9"):
        # A text of the record has all the words.
        wanted = {
            one["problem_id"]
            for one in everything
            if all(
                word in " ".join((one["problem_id"], one["problem"], one["solution"])).casefold()
                for word in words.casefold().split()
            )
        }
        ids, facts = found(words, count=100)
        assert set(ids) == wanted
        assert facts["total"] == len(wanted)
        assert facts["searched"] == len(everything)
        pages = [found(words, count=7, first=first)[0] for first in range(0, 60, 7)]
        assert [one for page in pages for one in page] == ids
    # A record's own name comes first.
    assert found("q1")[0][0] == "q1"
    assert found("nobody")[1]["total"] == 0
    assert found("q1")[1]["records"][0]["split"] in ("train", "validation", "test")
    problem(caller.get("/records?search=q&first=999000"), 422, "bad-body")
    problem(caller.get("/records?search=" + "x" * 1001), 422, "bad-body")


def test_a_search_reads_a_store_once(tmp_path: Path) -> None:
    identity = sample_identity(width=2)
    store = LmdbStore(str(tmp_path / "s"), "write", LmdbSettings())
    store.begin(identity)
    store.write([sample_record(identity, f"p-{i:04}", steps=1) for i in range(2000)])
    store.commit()
    records: Any = Records(SimpleNamespace(store=store))  # type: ignore[arg-type]
    assert records.search("p-1999", 5).records[0].problem_id == "p-1999"
    began = time.monotonic()
    for i in range(20):
        assert records.search(f"p-1{i:03}", 5).total == 1
    assert time.monotonic() - began < 1
    # What is added later is found, too.
    store.write([sample_record(identity, "later", steps=1)])
    store.commit()
    assert records.search("later", 5).total == 1
    store.delete([RecordKey("p-0007")])
    assert records.search("p-0007", 5).total == 0
    store.close()


def test_a_large_store_is_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = sample_identity(width=2)
    store = LmdbStore(str(tmp_path / "s"), "write", LmdbSettings())
    store.begin(identity)
    store.write([sample_record(identity, f"p-{i:04}", steps=1) for i in range(2000)])
    store.commit()
    places: list[bytes] = []

    def counted(number: Any, value: Any) -> bytes:
        places.append(bytes(number))
        return decode(number, value)

    decode = reading.decode_place
    monkeypatch.setattr(reading, "decode_place", counted)
    records: Any = Records(SimpleNamespace(store=store))  # type: ignore[arg-type]
    page = records.page(50, after=RecordKey("p-1800"))
    assert [one.problem_id for one in page.records] == [f"p-{i}" for i in range(1801, 1851)]
    assert page.total == 2000
    assert len(places) == 50
    with pytest.raises(ProblemError):
        records.page(1, MOST_SKIPPED + 1)
    store.close()


def test_half_a_character_is_spelled_out() -> None:
    one = RecordOut(problem_id="a\ud800", sample=0, problem="p", solution="s", steps=1)
    answer = json_response(RecordsOut(records=[one], total=1))
    assert json.loads(bytes(answer.body))["records"][0]["problem_id"] == "a\ud800"


class Stuck:
    """A store that cannot be read for now."""

    def __init__(self, store: Any) -> None:
        self._store, self.released = store, threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @contextmanager
    def snapshot(self) -> Iterator[Any]:
        assert self.released.wait(30)
        with self._store.snapshot() as snapshot:
            yield snapshot


def test_a_store_that_does_not_answer_holds_up_nobody_else(trained: tuple[str, str]) -> None:
    with opened(trained[1], trained[0], model="m") as served:
        assert served.stored is not None
        stuck: Any = Stuck(served.stored.store)
        served = attrs.evolve(served, stored=attrs.evolve(served.stored, store=stuck))
        try:
            with running(served, answer_seconds=0.5) as address:
                threads = [threading.Thread(target=late, args=(address,)) for _ in range(40)]
                for thread in threads:
                    thread.start()
                with client(address) as caller:
                    began = time.monotonic()
                    body = {"problem": "p", "solution": solution(5)}
                    assert caller.post("/score_text", json=body).status_code == 200
                    assert caller.get("/health").status_code == 200
                    assert caller.get("/metrics").status_code == 200
                    assert time.monotonic() - began < 5
                for thread in threads:
                    thread.join(30)
                stuck.released.set()
        finally:
            stuck.released.set()


def late(address: str) -> None:
    with client(address) as caller:
        problem(caller.get("/records"), 503, "late")


def test_a_record_of_more_steps_than_are_taken(trained: tuple[str, str]) -> None:
    with (
        opened(trained[1], trained[0]) as served,
        running(served, steps=1) as address,
        client(address) as caller,
    ):
        answer = caller.post("/score_record", json={"problem_id": "q3"})
        facts = problem(answer, 422, "bad-input")
        assert facts["pointer"] == "/problem_id"
        assert "at most 1 are taken" in str(facts["detail"])

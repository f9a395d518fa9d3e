"""Texts in, steps with their surprise out; records picked from the store; solutions in order."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from evaluation_stores import solution, statement
from services import client, opened, problem, running

from rjepa_core.domain.problem import split_of, statement_hash
from rjepa_core.domain.trace import RecordKey
from rjepa_core.ports.world_model import Context
from rjepa_core.scoring.serving import Served
from rjepa_core.scoring.surprise import score
from rjepa_core.scoring.text_encoder import sequence_of

STATEMENT = statement(3)


def text(caller: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = caller.post("/score_text", json={"problem": STATEMENT, **fields})
    assert answer.status_code == 200, answer.text
    facts: dict[str, Any] = answer.json()
    return facts


def test_a_solution_has_the_scores_of_its_record(caller: httpx2.Client, served: Served) -> None:
    """The store was made from the same texts by the same LLM."""
    assert served.stored is not None
    [wanted] = score(served.stored.store, [RecordKey("q3")], served.world_model)
    facts = text(caller, solution=solution(5))
    record = served.stored.store.get(RecordKey("q3"))
    np.testing.assert_array_equal(
        np.array([step["surprise"] for step in facts["steps"]], np.float32), wanted.surprise
    )
    assert [step["text"] for step in facts["steps"]] == list(record.trace.step_texts)
    assert [(s["start"], s["stop"]) for s in facts["steps"]] == [
        (span.start, span.stop) for span in record.trace.spans
    ]
    assert [step["percentile"] for step in facts["steps"]] == pytest.approx(wanted.percentiles)
    assert facts["worst"] == int(wanted.surprise.argmax())
    assert facts["answer"] == "#### 5"


def test_a_lone_step_has_no_percentile(caller: httpx2.Client) -> None:
    [step] = text(caller, solution=["2 + 3 = 5"])["steps"]
    assert step["percentile"] is None
    several = text(caller, solution=["2 + 3 = 5", "5 + 4 = 9"])["steps"]
    assert all(step["percentile"] is not None for step in several)


def test_steps_may_be_given_and_notes_are_dropped(caller: httpx2.Client) -> None:
    plain = text(caller, solution=["2 + 3 = 5", "5 + 4 = 9"])
    assert [step["text"].strip() for step in plain["steps"]] == ["2 + 3 = 5", "5 + 4 = 9"]
    assert plain["strategy"] == "given"
    noted = text(caller, solution=["2 + 3 = <<2+3=5>>5", "5 + 4 = <<5+4=9>>9"])
    assert noted["steps"] == plain["steps"]
    kept = text(caller, solution=["2 + 3 = <<2+3=5>>5", "5 + 4 = 9"], keep_notes=True)
    assert "<<" in kept["steps"][0]["text"]


def test_what_was_expected_are_the_stored_steps_nearest(
    caller: httpx2.Client, served: Served
) -> None:
    assert served.stored is not None
    facts = text(caller, solution=solution(5), expected=4)
    distances = [near["distance"] for near in facts["expected"]]
    assert len(distances) == 4
    assert distances == sorted(distances)
    store, model = served.stored.store, served.world_model
    record = store.get(RecordKey("q3"))
    predicted = model.predict_masked([sequence_of(record)], [[facts["worst"]]])[0][0]
    keys = list(store.keys())
    every = [
        float(np.square(target - predicted).mean())
        for key in keys
        # Its own steps are not what was expected instead.
        if key != record.key
        for target in model.targets([sequence_of(store.get(key))])[0]
    ]
    np.testing.assert_allclose(distances, sorted(every)[:4], rtol=0.02)
    near = facts["expected"][0]
    trace = store.get(RecordKey(near["problem_id"], near["sample"])).trace
    assert near["text"] == trace.step_texts[near["step"]]
    assert near["problem"] == trace.problem.statement


@pytest.mark.parametrize("pasted", ["  {}", "{}\n", "WORDS", "{} !"])
def test_neighbours_are_never_of_the_same_problem(
    caller: httpx2.Client, served: Served, pasted: str
) -> None:
    """However the problem is spaced or spelled; of several samples, too."""
    assert served.stored is not None
    for number in (3, 8, 14):
        record = served.stored.store.get(RecordKey(f"q{number}"))
        statement = record.trace.problem.statement
        spelled = statement.upper().replace(" ", "\n") if pasted == "WORDS" else None
        body = {"problem": spelled or pasted.format(statement), "expected": 20}
        body["solution"] = record.trace.completion
        found = caller.post("/score_text", json=body).json()
        of_record = caller.post("/score_record", json={"problem_id": f"q{number}", "expected": 20})
        for near in [*found["expected"], *of_record.json()["expected"]]:
            assert near["problem"] != statement
            assert near["problem_id"] != f"q{number}"
            assert near["split"] == split_of(statement_hash(near["problem"])).value
        texts = [near["text"].strip() for near in found["expected"]]
        assert len(texts) == len(set(texts)) == 20


def test_a_foreign_step_is_put_into_a_record(caller: httpx2.Client, served: Served) -> None:
    assert served.stored is not None
    store, model = served.stored.store, served.world_model
    own, donor = store.get(RecordKey("q3")), store.get(RecordKey("q8"))
    body = {"problem_id": "q3", "foreign_at": 1, "foreign_problem_id": "q8", "foreign_step": 0}
    found = caller.post("/score_record", json=body).json()
    assert found["steps"][1]["text"] == donor.trace.step_texts[0]
    assert found["steps"][0]["text"] == own.trace.step_texts[0]
    sequence = sequence_of(own)
    sequence.latents[1] = sequence_of(donor).latents[0]
    wanted = model.surprise([sequence], Context.OTHERS)[0]
    np.testing.assert_allclose([s["surprise"] for s in found["steps"]], wanted, rtol=1e-4)
    # The store is as it was.
    np.testing.assert_array_equal(store.get(RecordKey("q3")).latents, own.latents)
    for wrong, pointer in (
        ({"foreign_at": 99}, "/foreign_at"),
        ({"foreign_step": 99}, "/foreign_step"),
        ({"foreign_problem_id": "nobody"}, "/foreign_problem_id"),
    ):
        answer = caller.post("/score_record", json={**body, **wrong})
        assert answer.json()["pointer"] == pointer
        assert answer.status_code in (404, 422)
    del body["foreign_problem_id"]
    facts = problem(caller.post("/score_record", json=body), 422, "bad-body")
    assert facts["pointer"] == "/foreign_problem_id"


def test_solutions_are_ranked_by_their_surprise(caller: httpx2.Client) -> None:
    solutions = [solution(5), solution(9, 1), "Bananas are yellow.\nThe moon is far away."]
    means = {}
    for number, one in enumerate(solutions):
        steps = [step["surprise"] for step in text(caller, solution=one)["steps"]]
        means[number] = (float(np.mean(steps)), max(steps))
    for by, place in (("mean", 0), ("max", 1)):
        body = {"problem": STATEMENT, "solutions": solutions, "by": by}
        facts = caller.post("/rank", json=body).json()
        assert facts["order"] == sorted(means, key=lambda number: means[number][place])
        assert [one["solution"] for one in facts["ranked"]] == facts["order"]
        for one in facts["ranked"]:
            assert one["score"] == pytest.approx(means[one["solution"]][place], rel=1e-4)


def test_callers_with_texts_share_batches_and_get_their_own(served: Served, address: str) -> None:
    wanted = {}
    with client(address) as caller:
        for number in range(12):
            wanted[number] = text(caller, solution=solution(number))["steps"]
    barrier = threading.Barrier(12)

    def ask(number: int) -> None:
        with client(address) as caller:
            barrier.wait(10)
            for _ in range(4):
                found = text(caller, solution=solution(number))["steps"]
                assert [s["text"] for s in found] == [s["text"] for s in wanted[number]]
                np.testing.assert_allclose(
                    [s["surprise"] for s in found],
                    [s["surprise"] for s in wanted[number]],
                    rtol=1e-5,
                )

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(ask, range(12)))


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"problem": " ", "solution": "a"}, "/problem"),
        ({"problem": "p", "solution": "\n"}, "/solution"),
        ({"problem": "p", "solution": ["", " "]}, "/solution"),
        ({"problem": "p", "solution": ["a", "", "b"]}, "/solution/1"),
        ({"problem": "p", "solution": ["a", "<<1+1=2>>"]}, "/solution/1"),
        ({"problem": "p", "solution": ["a"] * 129}, "/solution"),
        ({"problem": "p", "solution": "#### 7"}, "/solution"),
        ({"problem": "p", "solution": "x" * 20_001}, "/solution"),
        ({"problem": "p" * 20_001, "solution": "x"}, "/problem"),
        ({"problem": "p", "solution": "\n".join(f"line {i}" for i in range(129))}, "/solution"),
    ],
)
def test_texts_that_cannot_be_scored(
    caller: httpx2.Client, body: dict[str, Any], pointer: str
) -> None:
    facts = problem(caller.post("/score_text", json=body), 422, "bad-input")
    assert facts["pointer"] == pointer


@pytest.mark.parametrize(
    ("solution", "pointer", "detail"),
    [
        ("", "/solution", "holds no text"),
        ([], "/solution", "needs at least one step"),
        (3, "/solution", "must be a text or a list of steps"),
        (["a", 3], "/solution/1", "must be a text"),
    ],
)
def test_what_is_no_solution(
    caller: httpx2.Client, solution: object, pointer: str, detail: str
) -> None:
    body = {"problem": "p", "solution": solution}
    facts = problem(caller.post("/score_text", json=body), 422, "bad-body")
    assert (facts["pointer"], facts["detail"]) == (pointer, detail)
    body = {"problem": "p", "solutions": ["a", solution]}
    facts = problem(caller.post("/rank", json=body), 422, "bad-body")
    assert facts["pointer"] == pointer.replace("/solution", "/solutions/1")


def test_a_request_has_a_limit_of_its_own(caller: httpx2.Client) -> None:
    body = {"problem": "p", "solutions": ["word " * 4000] * 6}
    facts = problem(caller.post("/rank", json=body), 422, "bad-input")
    assert facts["pointer"] == "/solutions"
    assert str(facts["detail"]).endswith("at most 100,000 are taken")


def test_the_solution_at_fault_is_named(caller: httpx2.Client) -> None:
    body = {"problem": "p", "solutions": ["1 + 1 = 2\n2 + 2 = 4", "#### 7"]}
    facts = problem(caller.post("/rank", json=body), 422, "bad-input")
    assert facts["pointer"] == "/solutions/1"
    body = {"problem": "p", "solutions": ["x"] * 65}
    assert "at most 64" in str(problem(caller.post("/rank", json=body), 422, "bad-input")["detail"])


def test_records_are_listed_and_scored(caller: httpx2.Client, served: Served) -> None:
    assert served.stored is not None
    facts = caller.get("/records", params={"count": 5, "first": 2}).json()
    keys = list(served.stored.store.keys())
    assert facts["total"] == len(keys)
    listed = [RecordKey(one["problem_id"], one["sample"]) for one in facts["records"]]
    assert listed == keys[2:7]
    [wanted] = score(served.stored.store, [listed[0]], served.world_model)
    body = {"problem_id": listed[0].problem_id, "expected": 1}
    found = caller.post("/score_record", json=body).json()
    np.testing.assert_array_equal(
        np.array([step["surprise"] for step in found["steps"]], np.float32), wanted.surprise
    )
    assert len(found["expected"]) == 1
    problem(caller.post("/score_record", json={"problem_id": "nobody"}), 404, "not-found")
    problem(caller.get("/records", params={"count": 0}), 422, "bad-body")


def test_without_an_llm_or_a_store(trained: tuple[str, str]) -> None:
    with opened(trained[1]) as served, running(served) as address, client(address) as caller:
        body = {"problem": "p", "solution": "x"}
        problem(caller.post("/score_text", json=body), 404, "no-model")
        body = {"problem": "p", "solutions": ["x"]}
        problem(caller.post("/rank", json=body), 404, "no-model")
        problem(caller.get("/records"), 404, "no-store")
        problem(caller.post("/score_record", json={"problem_id": "q3"}), 404, "no-store")
        facts = caller.get("/info").json()
        assert facts["llm"] is None
        assert facts["store"] is False

"""Verdicts of a served verifier: on latents, texts, records, and in a ranking."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import httpx2
import numpy as np
import pytest
from evaluation_stores import solution, statement
from services import client, make_verifier, opened, problem, running

from rjepa_core.domain.trace import RecordKey
from rjepa_core.ports.world_model import LatentSequence, Verification
from rjepa_core.scoring.serving import Served
from rjepa_core.scoring.surprise import score
from rjepa_core.testing.world_model_suite import sequences


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store, run = make_verifier(tmp_path_factory.mktemp("verdicts"))
    with opened(run, store, model="m") as served:
        yield served


@pytest.fixture(scope="module")
def verifying(verified: Served) -> Iterator[httpx2.Client]:
    with running(verified) as address, client(address) as caller:
        yield caller


def body_of(served: Served, one: LatentSequence, **fields: Any) -> dict[str, Any]:
    assert one.logprobs is not None
    return {
        "space": served.world_model.info.space.fingerprint,
        "latents": one.latents.tolist(),
        "prompt": one.prompt.tolist(),
        "domain": one.domain,
        "logprobs": one.logprobs.tolist(),
        **fields,
    }


def check(facts: dict[str, Any], wanted: Verification) -> None:
    np.testing.assert_allclose(facts["wrong"], wanted.wrong, rtol=1e-6)
    assert facts["right"] == pytest.approx(wanted.right)
    likeliest = int(wanted.wrong.argmax())
    assert facts["wrong_step"] == (likeliest if wanted.wrong[likeliest] > 0.5 else None)


def test_the_service_says_that_it_verifies(verifying: httpx2.Client) -> None:
    facts = verifying.get("/info").json()
    assert facts["verifies"] is True
    assert facts["needs_logprobs"] is True
    described = verifying.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    assert {"wrong", "right", "wrong_step"} <= set(schemas["ScoreOut"]["properties"])
    assert {"wrong", "right", "wrong_step"} <= set(schemas["RankedOut"]["properties"])
    assert "wrong" in schemas["StepOut"]["properties"]
    assert "/verify" in described["paths"]
    assert not {"wrong", "right"} & set(schemas["ScoreOut"]["required"])


def test_latents_are_scored_and_verified(verifying: httpx2.Client, verified: Served) -> None:
    for one in sequences(verified.world_model)[:3]:
        [wanted] = verified.world_model.verify([one])
        check(verifying.post("/score", json=body_of(verified, one)).json(), wanted)
        check(verifying.post("/verify", json=body_of(verified, one)).json(), wanted)


def test_an_older_client_goes_on_working(verifying: httpx2.Client, verified: Served) -> None:
    """It sends no log-probabilities, and gets the surprise that it asked for."""
    one = sequences(verified.world_model)[0]
    body = body_of(verified, one)
    del body["logprobs"]
    facts = verifying.post("/score", json=body).json()
    np.testing.assert_allclose(facts["steps"], verified.world_model.surprise([one])[0], rtol=1e-6)
    assert set(facts) == {"surprise", "steps", "percentiles", "worst"}, "as before"
    found = problem(verifying.post("/verify", json=body), 422, "bad-input")
    assert str(found["detail"]).startswith("has no log-probabilities, and ")


@pytest.mark.parametrize(
    ("logprobs", "detail"),
    [([0.0], "1 of them for 3 steps"), ([0.0, -1e300, 0.0], "too large for float32")],
)
def test_log_probabilities_that_do_not_fit(
    verifying: httpx2.Client, verified: Served, logprobs: list[float], detail: str
) -> None:
    body = body_of(verified, sequences(verified.world_model)[0], logprobs=logprobs)
    for path in ("/score", "/verify"):
        facts = problem(verifying.post(path, json=body), 422, "bad-input")
        assert facts["pointer"] == "/logprobs"
        assert detail in str(facts["detail"])


def test_a_stored_wrong_step_is_named(verifying: httpx2.Client, verified: Served) -> None:
    assert verified.stored is not None
    for sample in (0, 1):
        key = RecordKey("q3", sample)
        [wanted] = score(verified.stored.store, [key], verified.world_model)
        body = {"problem_id": key.problem_id, "sample": sample}
        facts = verifying.post("/score_record", json=body).json()
        assert wanted.verdict is not None
        check({**facts, "wrong": [step["wrong"] for step in facts["steps"]]}, wanted.verdict)
        assert facts["wrong_step"] == (2 if sample else None)


def test_a_text_is_encoded_with_what_the_verifier_needs(verifying: httpx2.Client) -> None:
    body = {"problem": statement(3), "solution": solution(5)}
    facts = verifying.post("/score_text", json=body).json()
    assert 0 <= facts["right"] <= 1
    assert all(0 <= step["wrong"] <= 1 for step in facts["steps"])


def test_solutions_are_ranked_by_their_verdicts(verifying: httpx2.Client) -> None:
    solutions = [solution(5), solution(9, 1), f"{solution(3)}".replace("#### 3", "#### 5.0")]
    body = {"problem": statement(3), "solutions": solutions}
    facts = verifying.post("/rank", json=body).json()
    rights = [one["right"] for one in facts["ranked"]]
    assert facts["by"] == "right"
    assert rights == sorted(rights, reverse=True)
    assert [one["score"] for one in facts["ranked"]] == rights
    assert all(len(one["wrong"]) == len(one["steps"]) for one in facts["ranked"])
    assert "votes" not in facts
    voted = verifying.post("/rank", json={**body, "by": "vote"}).json()
    weights = {one["solution"]: one["right"] for one in voted["ranked"]}
    by_answer = {one["answer"]: one for one in voted["votes"]}
    assert by_answer["5"]["solutions"] == [0, 2]
    assert by_answer["5"]["weight"] == pytest.approx(weights[0] + weights[2])
    assert voted["votes"][0]["weight"] == voted["ranked"][0]["score"]
    by_mean = verifying.post("/rank", json={**body, "by": "mean"}).json()
    assert by_mean["ranked"][0]["surprise"] == min(one["surprise"] for one in by_mean["ranked"])


def test_verdicts_of_requests_that_come_together_share_batches(verified: Served) -> None:
    calls: list[int] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(verified.world_model, name)

        def verify(self, given: list[LatentSequence]) -> list[Verification]:
            calls.append(len(given))
            return verified.world_model.verify(given)

    one = sequences(verified.world_model)[0]
    [wanted] = verified.world_model.verify([one])
    counted = attrs.evolve(verified, world_model=Counting())
    barrier = threading.Barrier(8)
    with running(counted, batch_wait_ms=50.0) as address:

        def ask(_: int) -> None:
            with client(address) as caller:
                barrier.wait(30)
                for _ in range(4):
                    check(caller.post("/score", json=body_of(verified, one)).json(), wanted)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask, range(8)))
    assert sum(calls) == 32
    assert max(calls) > 1


def test_what_is_no_verifier_says_nothing_of_it(caller: httpx2.Client, served: Served) -> None:
    """The service of the other tests."""
    facts = caller.get("/info").json()
    assert (facts["verifies"], facts["needs_logprobs"]) == (False, False)
    one = sequences(served.world_model)[0]
    body = body_of(served, one)
    facts = caller.post("/score", json=body).json()
    assert set(facts) == {"surprise", "steps", "percentiles", "worst"}, "as before"
    problem(caller.post("/verify", json=body), 404, "no-verifier")
    for by in ("right", "vote"):
        rank = {"problem": "p", "solutions": ["1 + 1 = 2"], "by": by}
        found = problem(caller.post("/rank", json=rank), 404, "no-verifier")
        assert found["pointer"] == "/by"
    text = {"problem": "p", "solution": "1 + 1 = 2"}
    facts = caller.post("/score_text", json=text).json()
    assert "right" not in facts
    assert "wrong" not in facts["steps"][0]
    ranked = caller.post("/rank", json={"problem": "p", "solutions": ["1 + 1 = 2"]}).json()
    assert ranked["by"] == "mean"
    assert set(ranked["ranked"][0]) == {
        "solution", "score", "surprise", "largest", "steps", "worst",
    }  # fmt: skip

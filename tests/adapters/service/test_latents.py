"""Latents in, scores out: steady, of one space, and the same in JSON and in bytes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from services import client, opened, problem, running

from rjepa_adapters.remote import protocol as wire
from rjepa_core.ports.world_model import Context, Floats, LatentSequence, WorldModel
from rjepa_core.scoring.serving import Served
from rjepa_core.scoring.surprise import percentile

BYTES = {"content-type": wire.MEDIA, "accept": wire.MEDIA}


def sequence(model: WorldModel, steps: int, seed: int = 0) -> LatentSequence:
    source, width = np.random.default_rng(seed), model.info.hidden_size
    return LatentSequence(
        source.standard_normal((steps, width)).astype(np.float32),
        source.standard_normal(width).astype(np.float32),
        "math",
    )


def as_json(model: WorldModel, one: LatentSequence, **fields: Any) -> dict[str, Any]:
    return {
        "space": model.info.space.fingerprint,
        "latents": one.latents.tolist(),
        "prompt": one.prompt.tolist(),
        "domain": one.domain,
        **fields,
    }


def in_bytes(
    caller: httpx2.Client, path: str, model: WorldModel, *given: LatentSequence, **fields: Any
) -> list[Floats]:
    masked = fields.pop("masked", None)
    body = wire.pack(given, masked, space=model.info.space.fingerprint, **fields)
    answer = caller.post(path, content=body, headers=BYTES)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == wire.MEDIA
    return wire.unpack_values(answer.content)[0]


@pytest.mark.parametrize("context", list(Context))
def test_a_lone_score_is_the_model_s_to_the_bit(
    caller: httpx2.Client, served: Served, context: Context
) -> None:
    model = served.world_model
    for steps in (1, 2, 5, 9):
        one = sequence(model, steps, steps)
        wanted = model.surprise([one], context)[0]
        for _ in range(2):
            body = as_json(model, one, context=context.value)
            facts = caller.post("/score", json=body).json()
            np.testing.assert_array_equal(np.array(facts["steps"], np.float32), wanted)
            [found] = in_bytes(caller, "/score", model, one, context=context.value)
            np.testing.assert_array_equal(found, wanted)
        assert facts["surprise"] == pytest.approx(float(wanted.mean()), rel=1e-6)
        assert facts["worst"] == int(wanted.argmax())
        places = [percentile(model.info, steps, float(value)) for value in wanted]
        # Its validation has no solutions of one step: a lone one has nothing to be compared with.
        assert (1 in model.info.quantiles, 0 in model.info.quantiles) == (False, True)
        if steps == 1:
            assert (facts["percentiles"], places) == (None, [None])
        else:
            assert facts["percentiles"] == pytest.approx(places)


def test_in_company_scores_differ_by_rounding_and_belong_to_their_callers(
    served: Served, address: str
) -> None:
    model = served.world_model
    given = [sequence(model, 1 + i % 7, i) for i in range(96)]
    wanted = [model.surprise([one])[0] for one in given]
    barrier = threading.Barrier(16)

    def ask(worker: int) -> float:
        largest = 0.0
        with client(address) as caller:
            barrier.wait(10)
            for i in range(worker, len(given), 16):
                if i % 2:
                    [found] = in_bytes(caller, "/score", model, given[i])
                else:
                    facts = caller.post("/score", json=as_json(model, given[i])).json()
                    found = np.array(facts["steps"], np.float32)
                np.testing.assert_allclose(found, wanted[i], rtol=1e-5, atol=1e-5)
                assert (np.argsort(found) == np.argsort(wanted[i])).all()
                largest = max(largest, float(np.abs(found - wanted[i]).max()))
        return largest

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(16)))
    with client(address) as caller:
        lines = caller.get("/metrics").text.splitlines()
    counts = {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if line[0] != "#"}
    batches = counts['rjepa_batch_values_count{side="latents"}']
    values = counts['rjepa_batch_values_sum{side="latents"}']
    assert values > batches, "nobody had company: the test shows nothing"


def test_masked_steps_in_the_llm_s_own_space(caller: httpx2.Client, served: Served) -> None:
    model = served.world_model
    one = sequence(model, 5)
    target = model.predict_masked([one], [[3, 1]])[0]
    facts = caller.post("/predict_masked", json=as_json(model, one, masked=[3, 1])).json()
    assert facts["space"] == "llm"
    np.testing.assert_allclose(
        np.array(facts["values"], np.float32), model.unstandardise(target), rtol=1e-6
    )
    body = as_json(model, one, masked=[3, 1], form="target")
    facts = caller.post("/predict_masked", json=body).json()
    assert facts["space"] == "llm-standardised"
    np.testing.assert_array_equal(np.array(facts["values"], np.float32), target)


def test_a_model_with_a_space_of_its_own_says_so(trained_space: str) -> None:
    with opened(trained_space) as served, running(served) as address, client(address) as caller:
        model = served.world_model
        facts = caller.post("/predict_masked", json=as_json(model, sequence(model, 3), masked=[1]))
        assert facts.json()["space"] == "model"
        assert len(facts.json()["values"][0]) == model.info.target_size
        body = {"space": model.info.space.fingerprint, "values": [[0.0] * model.info.target_size]}
        refused = problem(caller.post("/unstandardise", json=body), 422, "bad-input")
        assert "a space of its own" in str(refused["detail"])


def test_a_space_that_tells_more_or_less_than_the_world_model_s(
    caller: httpx2.Client, served: Served
) -> None:
    """A store may be older than its world model, or have learned more since."""
    model = served.world_model
    base, *parts = model.info.space.fingerprint.split("-")
    assert parts, "the seeded backend tells its tokenizer"
    one = sequence(model, 3)
    for space in (base, f"{base}-{parts[0]}", f"{base}-d00000000", f"{base}-{parts[0]}-d0"):
        answer = caller.post("/score", json={**as_json(model, one), "space": space})
        assert answer.status_code == 200, answer.text
    other = f"{base}-{parts[0][0]}00000000"
    answer = caller.post("/score", json={**as_json(model, one), "space": other})
    assert other in str(problem(answer, 409, "other-space")["detail"])


def test_latents_of_another_space(caller: httpx2.Client, served: Served) -> None:
    model = served.world_model
    one = sequence(model, 2)
    answer = caller.post("/score", json={**as_json(model, one), "space": "f" * 16})
    assert "f" * 16 in str(problem(answer, 409, "other-space")["detail"])
    answer = caller.post("/score", content=wire.pack([one], space="f" * 16), headers=BYTES)
    problem(answer, 409, "other-space")
    answer = caller.post("/score", content=wire.pack([one]), headers=BYTES)
    assert problem(answer, 422, "bad-body")["pointer"] == "/space"


NAN, WIDE = float("nan"), 33


@pytest.mark.parametrize(
    ("changes", "kind", "pointer"),
    [
        ({"latents": [[0.0] * WIDE]}, "bad-input", "/latents/0"),
        ({"prompt": [0.0] * WIDE}, "bad-input", "/prompt"),
        ({"prompt": [1e300] * 32}, "bad-input", "/prompt"),
        ({"latents": [[0.0] * 32, [0.0]]}, "bad-input", "/latents/1"),
        ({"latents": [[3e38] * 32]}, "not-finite", "/latents"),
        ({"latents": []}, "bad-body", "/latents"),
        ({"latents": [[]]}, "bad-input", "/latents/0"),
        ({"latents": [["1"] * 32]}, "bad-body", "/latents/0/0"),
        ({"latents": [[0.0] * 32, [1e300] * 32]}, "bad-input", "/latents/1"),
        ({"latents": [[0.0] * 32] * 129}, "bad-input", "/latents"),
        ({"masked": [0]}, "bad-body", "/masked"),
        ({"context": "future"}, "bad-body", "/context"),
    ],
)
def test_what_is_wrong_is_named(
    caller: httpx2.Client, served: Served, changes: dict[str, Any], kind: str, pointer: str
) -> None:
    body = as_json(served.world_model, sequence(served.world_model, 2)) | changes
    assert problem(caller.post("/score", json=body), 422, kind)["pointer"] == pointer


def test_the_width_that_is_expected_is_named(caller: httpx2.Client, served: Served) -> None:
    body = as_json(served.world_model, sequence(served.world_model, 2))
    body["latents"][1] = [0.0]
    facts = problem(caller.post("/score", json=body), 422, "bad-input")
    assert facts["detail"] == "1 numbers, expected 32, the width"


@pytest.mark.parametrize("path", ["/score", "/predict", "/predict_masked"])
def test_a_result_that_is_not_finite_is_a_problem_of_that_sequence_alone(
    caller: httpx2.Client, served: Served, path: str
) -> None:
    model = served.world_model
    good, huge = sequence(model, 4), sequence(model, 4, 1)
    huge.latents[:] = 3e38 * np.sign(huge.latents)
    huge.prompt[:] = 3e38
    masked = [1] if path == "/predict_masked" else None
    fields = {} if masked is None else {"masked": masked}
    answer = caller.post(path, json=as_json(model, huge, **fields))
    facts = problem(answer, 422, "not-finite")
    assert facts["pointer"] == "/latents"
    assert "the model's result is not finite" in str(facts["detail"])
    masks = None if masked is None else [masked, masked]
    body = wire.pack([good, huge], masks, space=model.info.space.fingerprint)
    facts = problem(caller.post(path, content=body, headers=BYTES), 422, "not-finite")
    assert facts["pointer"] == "/sequences/1"
    [found] = in_bytes(caller, path, model, good, masked=None if masked is None else [masked])
    assert np.isfinite(found).all()


@pytest.mark.parametrize("masked", [[5], [-1], [1, 1]])
def test_masks_that_are_none(caller: httpx2.Client, served: Served, masked: list[int]) -> None:
    model = served.world_model
    body = as_json(model, sequence(model, 3), masked=masked)
    facts = problem(caller.post("/predict_masked", json=body), 422, "bad-input")
    assert facts["pointer"] == "/masked"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"space": NaN}', "[" * 100_000, '"\\ud800"', "\x00", '{"a": 1e9999}'],
)
def test_broken_json(caller: httpx2.Client, text: str) -> None:
    answer = caller.post("/score", content=text, headers={"content-type": "application/json"})
    problem(answer, 422, "bad-body")


@pytest.mark.parametrize("path", ["/score", "/predict_masked", "/score_text", "/rank"])
def test_a_key_that_comes_twice(caller: httpx2.Client, path: str) -> None:
    """Which one counts would be anyone's guess."""
    for text in (
        '{"domain": "math", "latents": [[1]], "domain": "code"}',
        '{"problem": "p", "domain": "math", "d\\u006fmain": "math"}',
    ):
        text = text.replace("latents", "problem") if path in ("/score_text", "/rank") else text
        text = text.replace("problem", "space") if path in ("/score", "/predict_masked") else text
        answer = caller.post(path, content=text, headers={"content-type": "application/json"})
        facts = problem(answer, 422, "bad-body")
        assert (facts["pointer"], facts["detail"]) == ("/domain", "comes twice")


def test_nan_in_json(caller: httpx2.Client, served: Served) -> None:
    text = '{"space": "%s", "latents": [[NaN, Infinity]], "prompt": [1e999]}'
    content = text % served.world_model.info.space.fingerprint
    answer = caller.post("/score", content=content, headers={"content-type": "application/json"})
    assert problem(answer, 422, "bad-body")["pointer"] == "/latents/0/0"


def test_a_poisoned_request_fails_alone(served: Served, address: str) -> None:
    model = served.world_model
    good, poisoned = sequence(model, 4), sequence(model, 4, 1)
    poisoned.latents[2, 3] = np.nan
    space = model.info.space.fingerprint
    wanted = model.surprise([good])[0]
    barrier = threading.Barrier(8)

    def ask(worker: int) -> None:
        with client(address) as caller:
            barrier.wait(10)
            for _ in range(10):
                if worker % 2:
                    body = wire.pack([good, poisoned], space=space)
                    answer = caller.post("/score", content=body, headers=BYTES)
                    assert problem(answer, 422, "bad-input")["pointer"] == "/sequences/1"
                else:
                    [found] = in_bytes(caller, "/score", model, good)
                    np.testing.assert_allclose(found, wanted, rtol=1e-5)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))


def test_an_unexpected_error_is_a_problem_without_a_traceback(served: Served) -> None:
    class Broken:
        info = served.world_model.info

        def surprise(self, sequences: object, context: object) -> list[Floats]:
            raise ZeroDivisionError("a secret of the machine")

    model: Any = Broken()
    broken = Served(model)
    with running(broken) as address, client(address) as caller:
        one = sequence(served.world_model, 2)
        answer = caller.post("/score", json=as_json(served.world_model, one))
        problem(answer, 500, "broken")
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        assert caller.get("/health").status_code == 200


def test_several_sequences_are_answered_in_bytes(caller: httpx2.Client, served: Served) -> None:
    model = served.world_model
    given = [sequence(model, steps, steps) for steps in (3, 1, 3)]
    for found, wanted in zip(
        in_bytes(caller, "/score", model, *given), model.surprise(given), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    body = wire.pack(given, space=model.info.space.fingerprint)
    named = {"content-type": wire.MEDIA}
    answer = caller.post("/score", content=body, headers=named)
    assert answer.headers["content-type"] == wire.MEDIA
    assert [len(one) for one in wire.unpack_values(answer.content)[0]] == [3, 1, 3]
    only = named | {"accept": "application/json"}
    problem(caller.post("/score", content=body, headers=only), 422, "bad-body")
    body = wire.pack(given * 22, space=model.info.space.fingerprint)
    answer = caller.post("/score", content=body, headers=BYTES)
    assert problem(answer, 422, "bad-body")["detail"] == "66 sequences, expected 1 to 64"


def test_one_sequence_in_bytes_is_answered_in_json_where_that_is_accepted(
    caller: httpx2.Client, served: Served
) -> None:
    model = served.world_model
    body = wire.pack([sequence(model, 3)], space=model.info.space.fingerprint)
    facts = caller.post("/score", content=body, headers={"content-type": wire.MEDIA}).json()
    assert len(facts["steps"]) == 3

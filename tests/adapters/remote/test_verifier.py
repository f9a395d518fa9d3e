"""A verifier behind a service: the same verdicts, from the same promises."""

from __future__ import annotations

import json
from collections.abc import Iterator

import attrs
import httpx2
import numpy as np
import pytest
from services import make_trained, make_verifier, opened, running

from rjepa_adapters.remote.client import RemoteWorldModel
from rjepa_adapters.remote.protocol import info_from_json, info_to_json
from rjepa_adapters.remote.retry import ServiceError
from rjepa_adapters.world_model.inference import JepaWorldModel
from rjepa_core.errors import InputError, UnsupportedError
from rjepa_core.ports.world_model import WorldModel
from rjepa_core.testing.world_model_suite import WorldModelContract, sequences


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_verifier(tmp_path_factory.mktemp("verifier"))[1]


@pytest.fixture(scope="module")
def address(run: str) -> Iterator[str]:
    with opened(run) as served, running(served) as address:
        yield address


@pytest.fixture
def remote(address: str) -> Iterator[RemoteWorldModel]:
    model = RemoteWorldModel(address)
    yield model
    model.close()


@pytest.fixture(scope="module")
def local(run: str) -> WorldModel:
    return JepaWorldModel(run, "cpu")


class TestRemoteVerifier(WorldModelContract):
    @pytest.fixture
    def world_model(self, remote: WorldModel) -> WorldModel:
        return remote


def test_the_verdicts_are_the_run_s_to_the_bit(remote: WorldModel, local: WorldModel) -> None:
    assert remote.info.verifies
    assert remote.info.needs_logprobs
    for one in sequences(local):
        [found], [wanted] = remote.verify([one]), local.verify([one])
        np.testing.assert_array_equal(found.wrong, wanted.wrong)
        assert found.right == wanted.right


def test_more_sequences_than_a_request_may_hold(run: str, local: WorldModel) -> None:
    with opened(run) as served, running(served, sequences=2, body_bytes=66_500) as address:
        remote, given = RemoteWorldModel(address), sequences(local)
        for found, wanted in zip(remote.verify(given), local.verify(given), strict=True):
            np.testing.assert_allclose(found.wrong, wanted.wrong, rtol=1e-5)
        with pytest.raises(InputError, match="sequence 5: has no log-probabilities"):
            remote.verify([*given[:5], attrs.evolve(given[5], logprobs=None)])
        poisoned = attrs.evolve(given[0], latents=given[0].latents * np.nan)
        with pytest.raises(InputError, match="sequence 5: a value is NaN"):
            remote.verify([*given[:5], poisoned])
        remote.close()


def test_a_service_of_before_verifies_nothing(local: WorldModel) -> None:
    facts = json.loads(json.dumps(info_to_json(local.info)))
    del facts["verifies"], facts["needs_logprobs"]
    found = info_from_json(facts, "x")
    assert (found.verifies, found.needs_logprobs) == (False, False)
    limits = {"sequences": 64, "body_bytes": 1_000_000}
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(200, json={**facts, "limits": limits})
    )
    old = RemoteWorldModel("http://old", transport=transport)
    with pytest.raises(UnsupportedError, match="is no verifier"):
        old.verify(sequences(local)[:1])


def test_a_broken_verdict_is_said(local: WorldModel) -> None:
    facts = json.loads(json.dumps(info_to_json(local.info)))
    facts["limits"] = {"sequences": 64, "body_bytes": 1_000_000}

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/info":
            return httpx2.Response(200, json=facts)
        return httpx2.Response(200, content=b"nothing")

    broken = RemoteWorldModel("http://broken", transport=httpx2.MockTransport(answer))
    with pytest.raises(ServiceError, match="/verify: a broken answer"):
        broken.verify(sequences(local)[:1])


def test_what_is_no_verifier_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = make_trained(tmp_path_factory.mktemp("plain"), count=20)[1]
    with opened(run) as served, running(served) as address:
        remote = RemoteWorldModel(address)
        assert not remote.info.verifies
        with pytest.raises(UnsupportedError, match=r"no verifier \(objective frozen\); train one"):
            remote.verify(sequences(remote)[:1])
        remote.close()

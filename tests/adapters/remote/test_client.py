"""The world model behind a service keeps the port's promises, and says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import attrs
import httpx2
import numpy as np
import pytest
from services import make_trained, opened, running

from rjepa_adapters.remote.client import TOKEN_VARIABLE, RemoteWorldModel, on_loopback
from rjepa_adapters.remote.protocol import info_from_json, info_to_json
from rjepa_adapters.remote.retry import ServiceError, ask
from rjepa_adapters.world_model.inference import JepaWorldModel
from rjepa_core.errors import IdentityError, InputError, UsageError
from rjepa_core.plugins.locate import open_world_model
from rjepa_core.ports.world_model import Context, LatentSequence, WorldModel
from rjepa_core.settings.training import OBJECTIVES
from rjepa_core.testing.world_model_suite import WorldModelContract, sequences


@pytest.fixture(scope="module", params=OBJECTIVES)
def run(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> str:
    return make_trained(tmp_path_factory.mktemp("remote"), request.param)[1]


@pytest.fixture(scope="module")
def address(run: str) -> Iterator[str]:
    with opened(run) as served, running(served) as address:
        yield address


@pytest.fixture
def remote(address: str) -> Iterator[WorldModel]:
    model = open_world_model(address)
    yield model
    model.close()


@pytest.fixture
def local(run: str) -> WorldModel:
    return JepaWorldModel(run, "cpu")


class TestRemote(WorldModelContract):
    @pytest.fixture
    def world_model(self, remote: WorldModel) -> WorldModel:
        return remote


class TestLocal(WorldModelContract):
    """The same run, opened in this process."""

    @pytest.fixture
    def world_model(self, local: WorldModel) -> WorldModel:
        return local


def test_it_says_of_itself_what_the_run_says(remote: WorldModel, local: WorldModel) -> None:
    assert isinstance(remote, RemoteWorldModel)
    expected = attrs.evolve(local.info, location=remote.info.location)
    # A service predicts the next step alone, and does not tell where its run was made.
    assert remote.info == attrs.evolve(expected, horizon=1, configuration={})
    assert (remote.info.network, remote.info.seed) == ("transformer", 0)


def test_a_service_of_before_says_less(local: WorldModel) -> None:
    facts = json.loads(json.dumps(info_to_json(local.info)))
    del facts["network"], facts["seed"]
    found = info_from_json(facts, "x")
    assert (found.network, found.seed, found.horizon) == ("", None, 1)


def test_alone_the_scores_are_the_run_s_to_the_bit(remote: WorldModel, local: WorldModel) -> None:
    for one in sequences(local):
        for context in Context:
            np.testing.assert_array_equal(
                remote.surprise([one], context)[0], local.surprise([one], context)[0]
            )
            np.testing.assert_array_equal(
                remote.predict([one], context)[0], local.predict([one], context)[0]
            )
        np.testing.assert_array_equal(remote.embeddings([one])[0], local.embeddings([one])[0])


def test_more_sequences_than_a_request_may_hold(run: str) -> None:
    with opened(run) as served, running(served, sequences=2, body_bytes=66_500) as address:
        remote, given = RemoteWorldModel(address), sequences(served.world_model)
        assert len(given) > 2
        wanted = served.world_model.surprise(given)
        for found, value in zip(remote.surprise(given), wanted, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-5)
        poisoned = attrs.evolve(given[0], latents=given[0].latents * np.nan)
        with pytest.raises(InputError, match="sequence 5: a value is NaN"):
            remote.surprise([*given[:5], poisoned])
        remote.close()


def test_latents_of_another_space_are_refused(remote: RemoteWorldModel) -> None:
    remote._named = {"space": "0" * 16}
    with pytest.raises(IdentityError, match="of space 0000000000000000, this world model is of"):
        remote.surprise(sequences(remote)[:1])


def test_a_token_is_asked_for(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(run) as served, running(served, token="secret-word") as address:
        monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
        with pytest.raises(UsageError, match=f"set {TOKEN_VARIABLE}"):
            RemoteWorldModel(address)
        monkeypatch.setenv(TOKEN_VARIABLE, "another-word")
        with pytest.raises(UsageError, match=f"set {TOKEN_VARIABLE}"):
            RemoteWorldModel(address)
        monkeypatch.setenv(TOKEN_VARIABLE, "secret-word")
        remote = RemoteWorldModel(address)
        assert remote.surprise(sequences(remote)[:1])[0].shape == (3,)
        remote.close()


def test_a_name_that_is_not_the_service_s(address: str) -> None:
    elsewhere = httpx2.MockTransport(
        lambda request: httpx2.get(f"{address}/info", headers={"host": request.url.host})
    )
    with pytest.raises(UsageError, match=r"'gpu-box' is not among .*; add it there to service"):
        RemoteWorldModel("http://gpu-box:8100", transport=elsewhere)


def test_what_answers_is_no_service(tmp_path: Path) -> None:
    for content in (b"<html>", b"[]", b"{}", b'{"limits": 3}'):
        transport = httpx2.MockTransport(lambda request, c=content: httpx2.Response(200, content=c))
        with pytest.raises(UsageError, match="no R-JEPA service answers there"):
            RemoteWorldModel("http://somewhere", transport=transport)


def test_a_device_is_the_service_s_own() -> None:
    with pytest.raises(UsageError, match="leave out"):
        open_world_model("http://127.0.0.1:9", "cuda")


def test_a_description_comes_back_as_it_was(local: WorldModel) -> None:
    facts = json.loads(json.dumps(info_to_json(local.info)))
    assert info_from_json(facts, "x").space == local.info.space
    space = attrs.evolve(local.info.space, tokenizer=None)
    older = json.loads(json.dumps(info_to_json(attrs.evolve(local.info, space=space))))
    assert "tokenizer" not in older["space"], "as a service of version 0.1 has it"
    assert info_from_json(older, "x").space == space
    facts["space"]["sorcery"] = 1
    with pytest.raises(IdentityError, match="has 'sorcery', which this version"):
        info_from_json(facts, "x")


def test_nobody_answers() -> None:
    with pytest.raises(ServiceError, match="is the service running"):
        RemoteWorldModel("http://127.0.0.1:9", patience=0.3)


@pytest.mark.parametrize(
    "proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "socks://nowhere:1080", "http://[::1"]
)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_does_not_lead_to_this_machine(
    name: str, proxy: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, proxy)
    for place in (address, address.replace("127.0.0.1", "localhost")):
        RemoteWorldModel(place, patience=5.0).close()


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks://nowhere:1080", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_one_line(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(
        UsageError, match=r"http://192\.0\.2\.1:8100: .*ALL_PROXY\), cannot be used: "
    ):
        RemoteWorldModel("http://192.0.2.1:8100", patience=0.0)


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("127.1", True),
        ("0.0.0.0", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("rjepa.localhost", True),
        ("10.0.0.1", False),
        ("example.org", False),
        ("2001:db8::1", False),
        ("x" * 80, False),
        ("", False),
    ],
)
def test_what_is_on_loopback(host: str, wanted: bool) -> None:
    assert on_loopback(host) == wanted


def test_a_busy_service_is_asked_again_when_it_says() -> None:
    answers = iter(
        [
            httpx2.Response(503, headers={"retry-after": "2"}),
            httpx2.ReadError("gone"),
            httpx2.Response(200),
        ]
    )
    waits: list[float] = []

    def send() -> httpx2.Response:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert ask(send, "here", 30.0, sleep=waits.append).status_code == 200
    assert waits[0] == 2.0
    assert 0 < waits[1] < 2.0


def test_a_refusal_is_not_asked_again() -> None:
    asked: list[int] = []

    def send() -> httpx2.Response:
        asked.append(1)
        return httpx2.Response(422)

    assert ask(send, "here", 30.0).status_code == 422
    assert len(asked) == 1


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(ServiceError, match=r"no answer within 5 s \(answered 503"):
        ask(lambda: httpx2.Response(503), "here", 5.0, clock=lambda: now[0], sleep=sleep)
    assert now[0] <= 5.0


def test_the_sequence_is_named_when_it_cannot_be_sent(remote: WorldModel) -> None:
    given = sequences(remote)[:2]
    narrow = LatentSequence(given[1].latents[:, 1:], given[1].prompt, "math")
    with pytest.raises(InputError, match=r"sequence 1: latents \[1, 31\], expected \[steps, 32\]"):
        remote.surprise([given[0], narrow])

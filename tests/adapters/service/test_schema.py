"""The service against its own OpenAPI description: no 500, no answer that it does not describe."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from services import client, make_verifier, opened, running

from rjepa_adapters.remote import protocol as wire
from rjepa_core.ports.world_model import WorldModel
from rjepa_core.testing.world_model_suite import sequences

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SHORT, LONG = 12, 170
# In the slow run, of all operations together.
AT_LEAST = 2000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, WorldModel]]:
    store, run = make_verifier(tmp_path_factory.mktemp("schema"))
    with opened(run, store, model="m") as served, running(served) as address:
        yield address, served.world_model


def messages(world_model: WorldModel) -> st.SearchStrategy[bytes]:
    """Bodies in safetensors: good ones, good ones with bytes changed or lost, and noise."""
    space, given = world_model.info.space.fingerprint, sequences(world_model)
    good = [
        wire.pack(given[:1], space=space),
        wire.pack(given, space=space, context="past"),
        wire.pack(given[:2], [[1], [0]], space=space),
        wire.pack(given[:2], logprobs=True, space=space),
        wire.pack(given[:1], [[1, 7]], space=space, form="target"),
        wire.pack_values([given[0].latents], space=space),
    ]

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        body = bytearray(draw(st.sampled_from(good)))
        for _ in range(draw(st.integers(1, 4))):
            body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
        return bytes(body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body)

    return st.sampled_from(good) | changed() | st.binary()


def improved(case: Case, world_model: WorldModel, draw: st.DataObject) -> None:
    """Bring what was drawn nearer to what is taken, often, so that it is not refused at once."""
    info = world_model.info
    if not isinstance(case.body, dict) or not draw.draw(st.booleans()):
        return
    body = case.body
    if "space" in body:
        body["space"] = info.space.fingerprint
    if draw.draw(st.sampled_from([True, True, True, False])):
        steps = draw.draw(st.integers(1, 6))
        values = np.random.default_rng(steps).standard_normal((steps, info.hidden_size))
        body.update({key: values.tolist() for key in ("latents", "values") if key in body})
        if "prompt" in body:
            body["prompt"] = values[0].tolist()
            body["domain"] = "math"
            body["logprobs"] = [-0.5] * steps
        if "masked" in body:
            some = st.lists(st.integers(-1, steps), min_size=1, unique=True)
            body["masked"] = draw.draw(st.just([0]) | some)
        if "problem_id" in body:
            body["problem_id"] = f"q{steps}"


def run_cases(service: tuple[str, WorldModel], most: int) -> dict[str, int]:
    """Cases of every operation, valid by the description and not; how many there were of each."""
    address, world_model = service
    schema = openapi.from_url(f"{address}/openapi.json")
    openapi.media_type(wire.MEDIA, messages(world_model))
    counts: dict[str, int] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        counts[operation.label] = 0
        for mode in GenerationMode:

            @settings(
                max_examples=most,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(mode), data=st.data())
            def check(case: Case, data: st.DataObject) -> None:
                improved(case, world_model, data)
                case.call_and_validate(checks=CHECKS)
                counts[case.operation.label] += 1

            try:
                check()
            except schemathesis.errors.InvalidSchema:
                raise
            except Exception as error:
                # What takes nothing can be given nothing that is wrong.
                if type(error).__name__ not in ("Unsatisfiable", "SkipTest"):
                    raise
    return counts


def test_every_operation_keeps_to_its_description(service: tuple[str, WorldModel]) -> None:
    counts = run_cases(service, SHORT)
    with client(service[0]) as caller:
        described = caller.get("/openapi.json").json()["paths"]
        assert len(counts) == sum(len(operations) for operations in described.values())
        assert all(counts.values()), counts
        answered = caller.get("/metrics").text
    # Not everything was refused at the door.
    for path in ("/score", "/verify", "/predict_masked", "/targets", "/score_text", "/rank"):
        assert f'rjepa_requests_total{{path="{path}",status="200"}}' in answered, path


@pytest.mark.slow
def test_thousands_of_cases(service: tuple[str, WorldModel]) -> None:
    counts = run_cases(service, LONG)
    print(f"{sum(counts.values()):,} cases: {counts}")
    assert sum(counts.values()) >= AT_LEAST

"""What is refused before a model is loaded, and before anything is stored."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from rjepa_core.errors import SettingsError, UnsupportedError
from rjepa_core.extraction.engine import open_engine
from rjepa_core.plugins.hooks import BackendAdapter
from rjepa_core.plugins.registry import Registry
from rjepa_core.ports.backend import Session, SessionSpec
from rjepa_core.settings.extraction import (
    AdapterSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    SamplingSettings,
)
from rjepa_core.testing.seeded import SeededBackend, SeededSettings


class Backend(SeededBackend):
    """Has a context of 100 tokens, and counts how often it is let go of."""

    closed = 0
    why_not: str | None = None

    def __init__(self, model: ModelSettings, settings: SeededSettings) -> None:
        super().__init__(model, settings)
        self.info = attrs.evolve(self.info, context=100)

    def open_session(self, spec: SessionSpec) -> Session:
        if self.why_not:
            raise UnsupportedError(self.why_not)
        return super().open_session(spec)

    def close(self) -> None:
        type(self).closed += 1


class OneBackend(Registry):
    def __init__(self, adapter: BackendAdapter) -> None:
        super().__init__()
        self._adapter = adapter

    def find(self, kind: type[Any], name: str) -> Any:
        return self._adapter if kind is BackendAdapter else super().find(kind, name)


@pytest.fixture
def backend() -> type[Backend]:
    return type("Own", (Backend,), {"closed": 0})


def settings(new: int, **problems: Any) -> ExtractionSettings:
    return ExtractionSettings(
        model=ModelSettings(name="m"),
        store="memory:unused",  # type: ignore[arg-type]  # a place alone
        problems=ProblemSettings(**problems),
        sampling=SamplingSettings(max_new_tokens=new),
        backend=AdapterSettings(name="own"),
    )


def test_too_long_completions_are_refused_before_the_model_is_loaded(
    backend: type[Backend],
) -> None:
    def create(model: ModelSettings, options: Any) -> Any:
        pytest.fail("the model was loaded")

    adapter = BackendAdapter(
        name="own", settings=SeededSettings, create=create, context=lambda model, options: 100
    )
    says = r"sampling.max_new_tokens: 100 new tokens .* into the 100 tokens that m can hold"
    with pytest.raises(SettingsError, match=says):
        open_engine(settings(100), OneBackend(adapter))


def test_they_are_refused_once_it_is_loaded_where_that_was_not_known(
    backend: type[Backend],
) -> None:
    adapter = BackendAdapter(
        name="own", settings=SeededSettings, create=backend, context=lambda model, options: None
    )
    with pytest.raises(SettingsError, match="can hold"):
        open_engine(settings(100), OneBackend(adapter))
    assert backend.closed == 1


def test_what_fits_and_what_is_given_is_taken(backend: type[Backend]) -> None:
    registry = OneBackend(BackendAdapter(name="own", settings=SeededSettings, create=backend))
    open_engine(settings(99, sources=("demo",)), registry).close()
    open_engine(settings(100, traces=("given.jsonl",)), registry).close()


def test_a_backend_that_opens_no_session_is_let_go(backend: type[Backend]) -> None:
    backend.why_not = "no such layer here"
    registry = OneBackend(BackendAdapter(name="own", settings=SeededSettings, create=backend))
    with pytest.raises(UnsupportedError, match="no such layer here"):
        open_engine(settings(10), registry)
    assert backend.closed == 1

"""From plain values to an extraction's settings."""

from __future__ import annotations

from typing import Any

import pytest

from rjepa_core.errors import UsageError
from rjepa_core.extraction.run import resolve_extraction
from rjepa_core.settings.templates import DEFAULT_TEMPLATES

LEAST: dict[str, Any] = {"model": "m", "store": "s", "backend": "seeded"}


def test_adapters_own_settings_are_written_out() -> None:
    settings, plain = resolve_extraction({**LEAST, "backend": {"name": "seeded", "delay": 2}})
    assert settings.backend.options == {"delay": 2}
    assert plain["backend"]["delay"] == 2.0
    assert plain["backend"]["hidden_size"] == 32
    assert plain["store"]["checkpoint_every"] is None
    again, same = resolve_extraction(plain)
    assert same == plain
    assert again.backend.options["delay"] == 2.0


def test_a_template_stands_beside_the_usual_ones() -> None:
    given = {**LEAST, "prompt": {"templates": {"math": "Solve {statement}"}}}
    settings, _ = resolve_extraction(given)
    assert settings.prompt.templates == {**DEFAULT_TEMPLATES, "math": "Solve {statement}"}
    assert "default" not in given["prompt"]["templates"], "what was given is not changed"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"store": ""}, "store.path: must not be empty"),
        ({"prompt": 3}, "prompt: expected a section with keys, got 3"),
        ({"prompt": {"templates": 3}}, "prompt.templates: expected keys and values, got 3"),
        ({"backend": {"name": "seeded", "delya": 1}}, "did you mean backend.delay?"),
        ({"store": {"path": "s", "sink": 1}}, "store.sink: unknown setting"),
        ({"executor": "in-proces"}, "unknown executor 'in-proces'; did you mean 'in-process'?"),
        (
            {"problems": {"traces": "t.jsonl", "samples": 2}},
            "problems.samples: problems.traces encodes each solution given once",
        ),
    ],
)
def test_a_mistake_is_named_with_its_key(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        resolve_extraction({**LEAST, **changed})
    assert said in str(raised.value)

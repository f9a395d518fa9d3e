"""What a run's store says of its records."""

from __future__ import annotations

import attrs

from rjepa_core.domain.identity import Generation, PromptIdentity
from rjepa_core.extraction.run_identity import as_stored
from rjepa_core.plugins.locate import open_store
from rjepa_core.settings.extraction import ExtractionSettings, SamplingSettings
from rjepa_core.testing.memory_store import forget
from rjepa_core.testing.samples import sample_identity

PROMPT = PromptIdentity({"default": "Solve: {statement}"}, "Be brief.", True)
SPACE = attrs.evolve(sample_identity().space, prompt=PROMPT, steps="lines")


def stored(generation: Generation) -> ExtractionSettings:
    """Other settings, made to be those of a store of this generation."""
    identity = attrs.evolve(sample_identity(), space=SPACE, generation=generation)
    settings = ExtractionSettings(
        model="seeded",
        store="memory:target",
        sampling=SamplingSettings(max_new_tokens=7, temperature=0.1, top_p=0.2, top_k=3, seed=5),
    )
    try:
        with open_store("memory:as-stored", "write") as store:
            store.begin(identity)
            return as_stored(settings, store)
    finally:
        forget("as-stored")


def test_stored_traces_are_encoded_with_what_they_were_made_with() -> None:
    settings = stored(Generation("sampled", 400, 0.9, top_p=0.5, seed=11))
    assert settings.sampling == SamplingSettings(
        max_new_tokens=400, temperature=0.9, top_p=0.5, top_k=None, seed=11
    )
    assert settings.prompt.templates == SPACE.prompt.templates
    assert (settings.prompt.system, settings.prompt.thinking) == ("Be brief.", True)
    assert settings.steps.stored == "lines"


def test_what_stored_traces_do_not_know_stays() -> None:
    own = SamplingSettings(max_new_tokens=7, temperature=0.1, top_p=0.2, top_k=3, seed=5)
    assert stored(Generation("given")).sampling == own
    partly = stored(Generation("sampled", None, 0.9)).sampling
    assert (partly.max_new_tokens, partly.temperature, partly.seed) == (7, 0.9, 5)

"""The identity of a run: its latent space and generation, from settings and model."""

from __future__ import annotations

from datetime import date, datetime

import attrs

from ..domain.identity import Generation, Identity, LatentSpace, PromptIdentity, check_same
from ..errors import SettingsError, UsageError
from ..ports.backend import ModelInfo
from ..ports.store import LatentStore
from ..settings import ExtractionSettings, SamplingSettings, StepSettings


def resolve_layers(layers: tuple[int, ...], info: ModelInfo) -> tuple[int, ...]:
    """Absolute layer indices, so that -2 and 29 agree.

    Raises:
        SettingsError: the model has no such layer, or one is named twice.
    """
    total = info.hidden_states
    for layer in layers:
        if not -total <= layer < total:
            raise SettingsError(
                f"encoding.layers: {info.name} has no layer {layer}; it has {total} hidden states, "
                f"0 to {total - 1} or -{total} to -1"
            )
    absolute = tuple(layer % total for layer in layers)
    if len(set(absolute)) < len(absolute):
        raise SettingsError(f"encoding.layers: {layers} names a layer twice")
    return absolute


def as_stored(settings: ExtractionSettings, traces: LatentStore) -> ExtractionSettings:
    """Prompt, steps and sampling of stored traces are what they were when they were made."""
    identity = traces.identity
    assert identity is not None
    space = identity.space
    known = attrs.asdict(identity.generation) if identity.generation.kind == "sampled" else {}
    sampling = {
        field.name: known[field.name]
        for field in attrs.fields(SamplingSettings)
        # A store that was imported may lack some.
        if field.name in known and (known[field.name] is not None or field.default is None)
    }
    return attrs.evolve(
        settings,
        prompt=attrs.evolve(
            settings.prompt,
            templates=dict(space.prompt.templates),
            system=space.prompt.system,
            thinking=space.prompt.thinking,
            date=day_of(traces),
        ),
        steps=StepSettings.of(space.steps),
        sampling=attrs.evolve(settings.sampling, **sampling),
    )


def day_of(store: LatentStore) -> str:
    """The day that the prompts of a store are told: its identity's, or that of its first run."""
    identity = store.identity
    if identity is not None and identity.space.prompt.date is not None:
        return identity.space.prompt.date
    begun = next((run["started"] for run in store.history() if "started" in run), None)
    # Templates read the clock of their own place.
    return today() if begun is None else str(datetime.fromisoformat(begun).astimezone().date())


def today() -> str:
    """The day that a new store's prompts are told."""
    return date.today().isoformat()


def with_day(settings: ExtractionSettings, store: LatentStore) -> ExtractionSettings:
    """The settings with a fixed `prompt.date`: the one that was set, else the store's."""
    day = settings.prompt.date or day_of(store)
    return attrs.evolve(settings, prompt=attrs.evolve(settings.prompt, date=day))


def identity_of(
    settings: ExtractionSettings, info: ModelInfo, traces: LatentStore | None = None
) -> Identity:
    """What the run's store will say of its records.

    Args:
        settings: of the run.
        info: of the loaded model.
        traces: the store whose traces are encoded again, if it is one.

    Raises:
        UsageError: the model's weights are random, so that its vectors have no latent space.
        SettingsError: the model has no such layer.
        IdentityError: the stored traces were made with another model.
    """
    if info.random:
        raise UsageError(
            f"model.name: {info.name}: latents of random weights mean nothing and are never "
            "stored; such a model is for benchmarks alone"
        )
    encoding, prompt = settings.encoding, settings.prompt
    space = LatentSpace(
        model=info.content,
        quantisation=info.quantisation,
        compute_dtype=info.compute_dtype,
        store_dtype=encoding.store_dtype,
        layers=resolve_layers(encoding.layers, info),
        pooling=encoding.pooling,
        prompt=PromptIdentity(
            dict(prompt.templates),
            prompt.system,
            prompt.thinking,
            info.chat_format,
            prompt.date if info.reads_clock else None,
        ),
        steps=settings.steps.stored,
        hidden_size=info.hidden_size,
        tokenizer=info.tokenizer,
    )
    labels = {"model": info.name}
    if traces is not None:
        return _encoded_again(space, traces, encoding.logprobs, labels)
    return Identity(space, _generation(settings, info), encoding.logprobs, labels)


def _encoded_again(
    space: LatentSpace, traces: LatentStore, logprobs: bool, labels: dict[str, str]
) -> Identity:
    """Only the encoding may differ: token ids mean nothing to another model."""
    stored = traces.identity
    assert stored is not None
    free = ("layers", "pooling", "store_dtype", "compute_dtype")
    same = attrs.evolve(space, **{key: getattr(stored.space, key) for key in free})
    check_same(attrs.evolve(stored, space=same), stored, traces.location)
    # Whatever is unknown of the tokens stays so: they were made by another run.
    space = attrs.evolve(space, prompt=stored.space.prompt, tokenizer=stored.space.tokenizer)
    return Identity(space, stored.generation, logprobs, labels)


def _generation(settings: ExtractionSettings, info: ModelInfo) -> Generation:
    if settings.problems.traces:
        return Generation("given", keep_notes=settings.problems.keep_notes)
    sampling = settings.sampling
    return Generation(
        "sampled",
        sampling.max_new_tokens,
        sampling.temperature,
        sampling.top_p,
        sampling.top_k,
        sampling.seed,
        stop=sampling.stop,
        end_ids=info.end_ids,
        sampler=info.sampler,
    )

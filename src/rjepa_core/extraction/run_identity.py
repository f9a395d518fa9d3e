"""Determine the identity of a run, and check that a store's token ids agree with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from itertools import islice

import attrs
import numpy as np

from ..domain.identity import Generation, Identity, LatentSpace, PromptIdentity, check_same, unknown
from ..domain.latents import LatentRecord
from ..domain.problem import GivenSolution
from ..domain.trace import CONTROL_TOKEN, TOO_LONG, Failure, RecordKey, Trace, Work
from ..errors import IdentityError, SettingsError, UnsupportedError, UsageError
from ..ports.backend import ModelInfo
from ..ports.executor import Executor, Watch
from ..ports.store import LatentStore
from ..settings import ExtractionSettings, SamplingSettings, StepSettings
from ..stores import compared, different_problems, traces_with_ids
from ..text import count
from .queue import Pending


def resolve_layers(layers: tuple[int, ...], info: ModelInfo) -> tuple[int, ...]:
    """Return absolute layer indices, so that -2 and 29 agree.

    Raises:
        SettingsError: the model has no such layer, or one is named twice.
    """
    total = info.hidden_states
    for layer in layers:
        if not -total <= layer < total:
            raise SettingsError(
                f"encoding.layers: {info.name} has no layer {layer}; it has "
                f"{count(total, 'hidden state')}, 0 to {total - 1} or -{total} to -1"
            )
    absolute = tuple(layer % total for layer in layers)
    if len(set(absolute)) < len(absolute):
        raise SettingsError(f"encoding.layers: {layers} names a layer twice")
    return absolute


def as_stored(settings: ExtractionSettings, traces: LatentStore) -> ExtractionSettings:
    """Return settings with the prompt, steps and sampling with which stored traces were made."""
    identity = traces.identity
    assert identity is not None
    space = identity.space
    known = attrs.asdict(identity.generation) if identity.generation.kind == "sampled" else {}
    sampling = {
        field.name: known[field.name]
        for field in attrs.fields(SamplingSettings)
        # An imported store may lack some.
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
    """Return the day in the prompts of a store: its identity's, or that of its first run."""
    identity = store.identity
    if identity is not None and identity.space.prompt.date is not None:
        return identity.space.prompt.date
    begun = next((run["started"] for run in store.history() if "started" in run), None)
    # Templates read the local clock.
    return today() if begun is None else str(datetime.fromisoformat(begun).astimezone().date())


def today() -> str:
    """Return the day for the prompts of a new store."""
    return date.today().isoformat()


def with_day(settings: ExtractionSettings, store: LatentStore) -> ExtractionSettings:
    """Return the settings with a fixed `prompt.date`: the one that was set, else the store's."""
    day = settings.prompt.date or day_of(store)
    return attrs.evolve(settings, prompt=attrs.evolve(settings.prompt, date=day))


def identity_of(
    settings: ExtractionSettings, info: ModelInfo, traces: LatentStore | None = None
) -> Identity:
    """Return the identity of the records that a run makes.

    Args:
        settings: of the run.
        info: of the loaded model.
        traces: the store whose traces are encoded again, if any.

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
    """Return the identity of traces encoded again by the same model."""
    stored = traces.identity
    assert stored is not None
    free = ("layers", "pooling", "store_dtype", "compute_dtype")
    # Anything else must be equal: token ids mean nothing to another model.
    same = attrs.evolve(space, **{key: getattr(stored.space, key) for key in free})
    check_same(attrs.evolve(stored, space=same), stored, traces.location)
    # What is unknown about the tokens stays unknown: they were made by another run.
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


# Number of completions whose ends are checked.
_ENDINGS = 200
# Reasons of failures that indicate another tokenizer.
_TOKEN_REASONS = (CONTROL_TOKEN, TOO_LONG)
_SOLUTION = GivenSolution(steps=("Step",))


def compare_with_run(store: LatentStore, run: Identity, executor: Executor) -> list[str]:
    """Check the records of a store against a run in what the store's identity does not know.

    Returns:
        lines about what only one of the two identities knows.

    Raises:
        IdentityError: a stored prompt has other token ids, or a completion ends differently.
    """
    identity, doubts = store.identity, []
    assert identity is not None
    lacking = unknown(identity, run)
    if "generation.end_ids" in lacking:
        _check_endings(store, run.generation.end_ids or ())
    if lacking:
        agreed, other_days = 0, 0
        if any(key.startswith("space.") for key in lacking):
            agreed, other_days = _compare_prompts(store, run, executor)
        how = f"{count(agreed, 'stored prompt')} compared" if agreed else "nothing to compare"
        doubts.append(
            f"{store.location} did not keep its {_named(lacking)} when it was begun: from "
            f"now on it keeps this run's ({how})"
        )
        if other_days:
            doubts.append(
                f"{store.location}: {other_days} of {agreed + other_days} prompts were posed on "
                f"other days than the store's, {run.space.prompt.date}"
            )
    if lacking := unknown(run, identity):
        doubts.append(
            f"this run does not know its {_named(lacking)}, which {store.location} does; unchecked"
        )
    return doubts


def _compare_prompts(store: LatentStore, run: Identity, executor: Executor) -> tuple[int, int]:
    """Return how many stored prompts the run would pose alike, and how many on another day."""
    traces = {trace.key: trace for trace in different_problems(store)}
    # With a given solution a prompt is posed and tokenised without generating anything.
    work = [Work(trace.problem, trace.sample, _SOLUTION) for trace in traces.values()]
    posed = _TraceSink()
    if work:
        try:
            executor.run(run.space.layers, Pending(work), len(work), posed, Watch())
        except UnsupportedError:
            return 0, 0
    other_days = []
    for key, trace in posed.traces.items():
        known = traces[key]
        why = compared(known.prompt_ids, trace.prompt_ids)
        if known.prompt_text != trace.prompt_text:
            other_days.append(f"{key} is posed otherwise, {why}")
        elif not np.array_equal(known.prompt_ids, trace.prompt_ids):
            raise _other_prompts(store, f"{key}, the same text, has {why}: use its tokenizer")
    for failure in posed.failed:
        raise _other_prompts(store, f"{failure.key}: {failure.detail}: use its tokenizer")
    day = run.space.prompt.date
    if other_days and day is None:
        raise _other_prompts(store, f"{other_days[0]}: use its tokenizer_config and chat template")
    if other_days and len(other_days) == len(posed.traces):
        hint = f"set prompt.date to the day on which it was begun; {day} is not that"
        raise _other_prompts(store, f"{other_days[0]}: {hint}")
    return len(posed.traces) - len(other_days), len(other_days)


def _other_prompts(store: LatentStore, why: str) -> IdentityError:
    return IdentityError(
        f"{store.location} holds other prompts than this run's: {why}, or another store"
    )


def _check_endings(store: LatentStore, end_ids: Sequence[int]) -> None:
    for trace in islice(traces_with_ids(store), _ENDINGS):
        ids = trace.completion_ids
        ended = trace.finish_reason == "stop"
        inside, last = (ids[:-1], ids[-1:]) if ended else (ids, ids[:0])
        early = inside[np.isin(inside, list(end_ids))]
        if len(early) or not np.isin(last, list(end_ids)).all():
            what = f"goes on after token {early[0]}" if len(early) else f"ends with token {last[0]}"
            ours = ", ".join(map(str, end_ids)) or "none"
            raise IdentityError(
                f"{store.location} was made with other generation.end_ids than this run's ({ours}):"
                f" {trace.key} {what}; use its end-of-sequence tokens, or another store"
            )


class _TraceSink:
    """A sink that keeps the traces of records, and failures because of tokens."""

    def __init__(self) -> None:
        self.traces: dict[RecordKey, Trace] = {}
        self.failed: list[Failure] = []

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        self.traces.update((record.key, record.trace) for record in records)
        self.failed += [failure for failure in failures if failure.reason in _TOKEN_REASONS]

    def commit(self) -> None:
        """Do nothing."""


def _named(keys: Sequence[str]) -> str:
    return ", ".join(key.partition(".")[2] for key in keys)

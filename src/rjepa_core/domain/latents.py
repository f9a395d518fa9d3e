"""Latents: what a store keeps, and the checks that vectors pass before they are stored."""

from __future__ import annotations

from typing import Any

import attrs
import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError
from ..settings import STORE_DTYPES
from ..text import brief, count, excerpt, html_table, shape_text
from .identity import Identity
from .trace import NOT_FINITE, OUT_OF_RANGE, RecordKey, Trace, check_key

Vectors = NDArray[Any]
"""Vectors in a store's dtype: float16, float32 or `ml_dtypes.bfloat16`."""


_BFLOAT16 = STORE_DTYPES["bfloat16"]


@attrs.frozen(eq=False)
class Encoding:
    """The vectors that a backend computes for one trace, before they are stored.

    Attributes:
        latents: float32 [L, S, D], one vector per layer and step.
        prompt_latent: float32 [L, D], pooled over the statement's own tokens.
        logprobs: float32 [S], mean token log-probability (nats) of each step, or None.
    """

    __repr__ = brief

    latents: NDArray[np.float32] = attrs.field(repr=shape_text)
    prompt_latent: NDArray[np.float32] = attrs.field(repr=shape_text)
    logprobs: NDArray[np.float32] | None = attrs.field(default=None, repr=shape_text)


@attrs.frozen(eq=False, repr=False)
class LatentRecord:
    """A trace's latents as stored.

    Attributes:
        trace: the whole trace.
        latents: [L, S, D] in the store's dtype.
        prompt_latent: [L, D] in the store's dtype.
        logprobs: float32 [S], or None if the store keeps none.
    """

    trace: Trace
    latents: Vectors
    prompt_latent: Vectors
    logprobs: NDArray[np.float32] | None = None

    def __repr__(self) -> str:
        answer = self.trace.answer
        end = "" if answer is None else f", answer {excerpt(answer)}"
        return (
            f"LatentRecord({str(self.key)!r}: {count(self.latents.shape[1], 'step')}, latents "
            f"{shape_text(self.latents)}{end})"
        )

    def _repr_html_(self) -> str:
        trace = self.trace
        rows = {"problem": trace.problem.statement, "latents": shape_text(self.latents)}
        for number, text in enumerate(trace.step_texts):
            known = "" if self.logprobs is None else f" ({self.logprobs[number]:.2f} nats a token)"
            rows[f"step {number}"] = f"{text.strip()}{known}"
        rows["answer"] = trace.answer or "none"
        return html_table(f"Record {self.key}", rows)

    @property
    def key(self) -> RecordKey:
        """The problem's id and the sample."""
        return self.trace.key


class UnstorableError(ValueError):
    """Vectors that the store's dtype cannot hold.

    Attributes:
        reason: `NOT_FINITE` or `OUT_OF_RANGE`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def to_store_dtype(vectors: NDArray[np.float32], dtype: str) -> Vectors:
    """Return float32 vectors of any shape, cast to the store's dtype.

    Raises:
        UnstorableError: a value is not finite, or beyond the range of `dtype`.
    """
    target = STORE_DTYPES[dtype]
    if not np.isfinite(vectors).all():
        bad = int(vectors.size - np.isfinite(vectors).sum())
        raise UnstorableError(NOT_FINITE, f"{bad} of {vectors.size} values are NaN or infinite")
    largest = float(np.abs(vectors).max()) if vectors.size else 0.0
    limit = float(ml_dtypes.finfo(target).max)  # type: ignore[no-untyped-call]
    if largest > limit:
        raise UnstorableError(
            OUT_OF_RANGE,
            f"the largest value, {largest:.4g}, is beyond {dtype}'s {limit:.4g}; "
            "set encoding.store_dtype to bfloat16 or float32",
        )
    return vectors.astype(target)


def make_record(trace: Trace, encoding: Encoding, dtype: str, logprobs: bool) -> LatentRecord:
    """Return the record of a trace and its encoding, after checking that they fit.

    Raises:
        UnstorableError: see `to_store_dtype`.
        ValueError: the shapes do not fit the trace, or log-probabilities are missing; the backend
            is at fault.
    """
    layers, steps, width = encoding.latents.shape
    if steps != len(trace.spans) or encoding.prompt_latent.shape != (layers, width):
        raise ValueError(
            f"{trace.key}: {len(trace.spans)} steps, but latents {encoding.latents.shape} and "
            f"prompt latent {encoding.prompt_latent.shape}"
        )
    kept = None
    if logprobs:
        if encoding.logprobs is None or encoding.logprobs.shape != (steps,):
            raise ValueError(f"{trace.key}: log-probabilities were asked for and are missing")
        if not np.isfinite(encoding.logprobs).all():
            raise UnstorableError(NOT_FINITE, "a step's log-probability is not finite")
        kept = encoding.logprobs.astype(np.float32)
    return LatentRecord(
        trace,
        to_store_dtype(encoding.latents, dtype),
        to_store_dtype(encoding.prompt_latent, dtype),
        kept,
    )


def check_fits(record: LatentRecord, identity: Identity) -> None:
    """Refuse a record that is inconsistent or does not fit the identity of its store.

    Raises:
        ArgumentError: the key is invalid; the dtype or shapes are those of another latent space;
            there is not one vector per step; a value is NaN or infinite; or log-probabilities are
            missing or not expected. The caller that made the record is at fault.
    """
    check_key(record.key, "the record's key")
    space = identity.space
    latents, prompt = record.latents, record.prompt_latent
    wanted = STORE_DTYPES[space.store_dtype]
    if latents.dtype != wanted or prompt.dtype != wanted:
        raise ArgumentError(
            f"{record.key}: {latents.dtype} and {prompt.dtype} vectors, the store keeps {wanted}"
        )
    layers, steps, width = len(space.layers), latents.shape[1:2], space.hidden_size
    if latents.shape != (layers, *steps, width) or prompt.shape != (layers, width):
        raise ArgumentError(
            f"{record.key}: latents {latents.shape} and prompt latent {prompt.shape}, the store "
            f"keeps [{layers}, S, {width}] and [{layers}, {width}]"
        )
    if (record.logprobs is not None) != identity.logprobs or (
        record.logprobs is not None and record.logprobs.shape != steps
    ):
        raise ArgumentError(
            f"{record.key}: the store keeps {'' if identity.logprobs else 'no '}log-probabilities"
        )
    _check_steps(record.trace, *steps)
    for what, values in (("latents", latents), ("prompt latent", prompt), ("", record.logprobs)):
        if values is not None and not np.isfinite(values).all():
            raise ArgumentError(
                f"{record.key}: its {what or 'log-probabilities'} hold NaN or infinite values"
            )


def _check_steps(trace: Trace, steps: int) -> None:
    """Refuse a trace with another number of steps; an imported one may lack spans and texts."""
    spans, texts = len(trace.spans), len(trace.step_texts)
    imported = not len(trace.completion_ids)
    if (spans != steps and (spans or not imported)) or (texts != steps and (texts or not imported)):
        raise ArgumentError(
            f"{trace.key}: {steps} step vectors, but {spans} spans and {texts} texts of steps"
        )


def check_buffers(rows: int, latents: Vectors, prompts: Vectors | None = None) -> None:
    """Refuse invalid buffers for `LatentStore.read_latents` before anything is read into them.

    Args:
        rows: number of keys, B.
        latents: must be [at least B, L, S', D], of a float dtype.
        prompts: must be [at least B, L, D], of a float dtype, or None.

    Raises:
        ArgumentError: a buffer is invalid; the message names it.
    """
    _check_buffer("latents", "B, L, S, D", rows, latents)
    if prompts is None:
        return
    _check_buffer("prompts", "B, L, D", rows, prompts)
    _, layers, _, width = latents.shape
    if prompts.shape[1:] != (layers, width):
        raise ArgumentError(
            f"prompts: got shape {list(prompts.shape)}, expected [B, {layers}, {width}], the "
            "layers and width of `latents`"
        )


def _check_buffer(name: str, shape: str, rows: int, array: Vectors) -> None:
    if not isinstance(array, np.ndarray):
        raise ArgumentError(f"{name}: got {type(array).__name__}, expected a numpy array [{shape}]")
    # Numpy would fill other dtypes too, with rounded or meaningless numbers.
    if array.dtype.kind != "f" and array.dtype != _BFLOAT16:
        raise ArgumentError(f"{name}: got dtype {array.dtype}, expected a float dtype")
    if array.ndim != shape.count(",") + 1:
        raise ArgumentError(f"{name}: got shape {list(array.shape)}, expected [{shape}]")
    if len(array) < rows:
        raise ArgumentError(f"{name}: got {len(array)} rows, expected at least {rows}, one per key")
    if not array.flags.writeable:
        raise ArgumentError(f"{name}: got an array that cannot be written")

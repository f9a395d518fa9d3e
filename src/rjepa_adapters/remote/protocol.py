"""The protocol of client and service: safetensors bodies, and a world model's description.

A request holds

    latents   float [N, D], the steps of all sequences one after the other
    prompts   float [B, D]; [D] for one sequence
    lengths   int [B], number of steps of each sequence; may be omitted for one
    masked    int [M], the masked steps of all sequences, if any
    masks     int [B], how many of them belong to each sequence; may be omitted for one
    logprobs  float [N], the mean log-probability of each step's tokens, if a verifier needs them

and, as text in its metadata, `space` (the latent space's fingerprint), `context`, `domains` (a JSON
list), and further fields of an endpoint. An answer holds `values` [N] or [N, E], float32, and
`lengths`; of verdicts, `values` [N] are the probabilities that the steps are wrong, and `right`
[B], float64, those that the answers are right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from rjepa_core.domain.identity import LatentSpace
from rjepa_core.ports.world_model import (
    Floats,
    LatentSequence,
    TargetSpace,
    Verification,
    WorldModelInfo,
)

MEDIA = "application/x-safetensors"
_DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
}
# Most bytes of a header, which names only a few tensors: a larger one would take seconds to read.
_HEADER_BYTES = 262_144
_REQUEST = ("latents", "prompts", "lengths", "masked", "masks", "logprobs", "values", "right")


class WireError(ValueError):
    """A body is invalid; `pointer` says where."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer, self.detail = pointer, detail


@attrs.frozen(eq=False)
class Message:
    """A request's body.

    Attributes:
        sequences: B of them.
        masked: the masked steps of each, or None.
        fields: the metadata without `domains`.
    """

    sequences: tuple[LatentSequence, ...]
    masked: tuple[tuple[int, ...], ...] | None
    fields: Mapping[str, str]


def pack(
    sequences: Sequence[LatentSequence],
    masked: Sequence[Sequence[int]] | None = None,
    logprobs: bool = False,
    **fields: str,
) -> bytes:
    """Return the body of a request for one or more sequences of the same width.

    Args:
        sequences: one or more.
        masked: the masked steps of each.
        logprobs: whether their log-probabilities, one per step, are sent; older services know none.
        fields: metadata.
    """
    tensors: dict[str, NDArray[Any]] = {
        "latents": _floats(np.concatenate([one.latents for one in sequences])),
        "prompts": _floats(np.stack([one.prompt for one in sequences])),
        "lengths": np.array([len(one.latents) for one in sequences], np.int64),
    }
    if masked is not None:
        tensors["masked"] = np.array([i for one in masked for i in one], np.int64)
        tensors["masks"] = np.array([len(one) for one in masked], np.int64)
    if logprobs:
        each = [one.logprobs for one in sequences if one.logprobs is not None]
        tensors["logprobs"] = _floats(np.concatenate(each))
    domains = json.dumps([one.domain for one in sequences])
    return save(tensors, {**fields, "domains": domains})


def unpack(body: bytes, most: int) -> Message:
    """Return the message in a request's body; its sequences share memory, but not with the body.

    Args:
        body: as received.
        most: most sequences in a body.

    Raises:
        WireError: the body is invalid.
    """
    tensors, fields = _tensors(body)
    latents = _require_tensor(tensors, "latents", 2, "f")
    prompts = tensors.get("prompts")
    if prompts is not None and prompts.ndim == 1:
        prompts = tensors["prompts"] = prompts[None]
    prompts = _require_tensor(tensors, "prompts", 2, "f")
    lengths = _lengths(tensors, "lengths", len(latents), len(prompts))
    if not 1 <= len(lengths) <= most:
        raise WireError("/lengths", f"{len(lengths)} sequences, expected 1 to {most}")
    domains = _domains(fields.pop("domains", None), len(lengths))
    places = np.cumsum([0, *lengths])
    logprobs = None
    if "logprobs" in tensors:
        logprobs = _require_tensor(tensors, "logprobs", 1, "f")
        if len(logprobs) != len(latents):
            raise WireError("/logprobs", f"{len(logprobs)} of them for {len(latents)} steps")
    sequences = tuple(
        LatentSequence(
            _floats(latents[places[i] : places[i + 1]]),
            _floats(prompts[i]),
            domains[i],
            None if logprobs is None else _floats(logprobs[places[i] : places[i + 1]]),
        )
        for i in range(len(lengths))
    )
    masked = None
    if "masked" in tensors:
        every = _require_tensor(tensors, "masked", 1, "i").tolist()
        ends = np.cumsum([0, *_lengths(tensors, "masks", len(every), len(lengths))])
        masked = tuple(tuple(every[ends[i] : ends[i + 1]]) for i in range(len(lengths)))
    return Message(sequences, masked, fields)


def pack_values(rows: Sequence[Floats], **fields: str) -> bytes:
    """Return the body of an answer: one array [S] or [S, E] per sequence."""
    lengths = np.array([len(one) for one in rows], np.int64)
    return save({"values": _floats(np.concatenate(rows)), "lengths": lengths}, fields)


def unpack_values(body: bytes) -> tuple[list[Floats], Mapping[str, str]]:
    """Return the arrays in an answer's body, owned by the caller, and its metadata.

    Raises:
        WireError: the body is invalid.
    """
    tensors, fields = _tensors(body)
    values = tensors.get("values")
    if values is None or values.ndim not in (1, 2):
        raise WireError("/values", "is missing, or neither [N] nor [N, E]")
    lengths = _lengths(tensors, "lengths", len(values), None)
    places = np.cumsum([0, *lengths])
    return [values[a:b].astype(np.float32) for a, b in pairwise(places)], fields


def pack_verdicts(verdicts: Sequence[Verification]) -> bytes:
    """Return the body of an answer with verdicts."""
    return save(
        {
            "values": _floats(np.concatenate([one.wrong for one in verdicts])),
            "lengths": np.array([len(one.wrong) for one in verdicts], np.int64),
            "right": np.array([one.right for one in verdicts], np.float64),
        }
    )


def unpack_verdicts(body: bytes) -> list[Verification]:
    """Return the verdicts in an answer's body, owned by the caller.

    Raises:
        WireError: the body is invalid.
    """
    rows, _ = unpack_values(body)
    tensors, _ = _tensors(body)
    right = _require_tensor(tensors, "right", 1, "f")
    if len(right) != len(rows) or any(row.ndim != 1 for row in rows):
        raise WireError("/right", f"{len(right)} verdicts for {len(rows)} sequences")
    return [Verification(row, float(one)) for row, one in zip(rows, right, strict=True)]


def _tensors(body: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return tensors and metadata; the library checks sizes and offsets against the body's size."""
    size = int.from_bytes(body[:8], "little")
    if _HEADER_BYTES < size <= len(body):
        raise WireError("", f"a header of {size:,} bytes, at most {_HEADER_BYTES:,} are read")
    try:
        found: Any = deserialize(body)  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError) as error:
        raise WireError("", f"not a safetensors file: {str(error).splitlines()[0]}") from None
    header = json.loads(body[8 : 8 + size], object_pairs_hook=_refuse_duplicates)
    tensors = {}
    for name, entry in found:
        if name not in _REQUEST:
            raise WireError(f"/{name[:80]}", f"unknown tensor; known: {', '.join(_REQUEST)}")
        if entry["dtype"] not in _DTYPES:
            raise WireError(
                f"/{name}", f"dtype {entry['dtype']}, expected one of {', '.join(_DTYPES)}"
            )
        values = np.frombuffer(entry["data"], _DTYPES[entry["dtype"]])
        try:
            tensors[name] = values.reshape(entry["shape"])
        except (ValueError, OverflowError):
            shape = f"{entry['shape']}"[:80]
            raise WireError(f"/{name}", f"no array has the shape {shape}") from None
    return tensors, dict(header.get("__metadata__") or {})


def _refuse_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise WireError(f"/{twice[:80]}", "comes twice")
    return found


def _require_tensor(
    tensors: Mapping[str, NDArray[Any]], name: str, axes: int, kind: str
) -> NDArray[Any]:
    found = tensors.get(name)
    if found is None:
        raise WireError(f"/{name}", "is missing")
    if found.ndim != axes or found.dtype.kind != kind:
        shape, dtype = list(found.shape), found.dtype.name
        words = {"f": "floats", "i": "integers"}[kind]
        raise WireError(f"/{name}", f"{dtype} {shape}, expected {words} with {axes} axes")
    return found


def _lengths(
    tensors: Mapping[str, NDArray[Any]], name: str, total: int, sequences: int | None
) -> list[int]:
    """Return the rows per sequence of a tensor; by default, all belong to one sequence."""
    found = [total] if name not in tensors else _require_tensor(tensors, name, 1, "i").tolist()
    if min(found, default=0) < 0 or sum(found) != total:
        raise WireError(f"/{name}", f"must add up to {total}, none of them below 0")
    if sequences is not None and len(found) != sequences:
        raise WireError(f"/{name}", f"{len(found)} entries for {sequences} sequences")
    return found


def _domains(text: str | None, count: int) -> list[str]:
    if text is None:
        return [""] * count
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise WireError("/domains", "must be a JSON list of texts, one per sequence")
    if len(found) != count:
        raise WireError("/domains", f"{len(found)} entries for {count} sequences")
    return found


def _floats(values: NDArray[Any]) -> Floats:
    """Return contiguous float32; values too large for it become infinite and are refused later."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, np.float32)


def info_from_json(facts: Mapping[str, Any], location: str) -> WorldModelInfo:
    """Return the description of the world model in an answer of `/info`.

    Raises:
        KeyError, TypeError, ValueError: the answer is another service's.
    """
    found = LatentSpace.from_json(facts["space"])
    if found.fingerprint != facts["fingerprint"]:
        raise ValueError("its latent space has another fingerprint than it says")
    return WorldModelInfo(
        location=location,
        space=found,
        hidden_size=int(facts["hidden_size"]),
        target_size=int(facts["target_size"]),
        target_space=TargetSpace(facts["target_space"]),
        objective=str(facts["objective"]),
        quantiles={int(key): tuple(values) for key, values in facts["quantiles"].items()},
        # Older services do not say.
        compared={int(key): int(one) for key, one in facts.get("compared", {}).items()},
        problems=facts.get("problems"),
        network=str(facts.get("network", "")),
        seed=facts.get("seed"),
        verifies=bool(facts.get("verifies", False)),
        needs_logprobs=bool(facts.get("needs_logprobs", False)),
    )


def info_to_json(info: WorldModelInfo) -> dict[str, Any]:
    """Return the description of a world model as JSON, as `info_from_json` reads it.

    Its horizon and its configuration, which names places, stay with the run.
    """
    return {
        "fingerprint": info.space.fingerprint,
        "space": json.loads(json.dumps(info.space.to_json())),
        "hidden_size": info.hidden_size,
        "target_size": info.target_size,
        "target_space": info.target_space.value,
        "objective": info.objective,
        "quantiles": {str(key): list(values) for key, values in info.quantiles.items()},
        "compared": {str(key): one for key, one in info.compared.items()},
        "problems": info.problems,
        "too_little": info.too_little,
        "network": info.network,
        "seed": info.seed,
        "verifies": info.verifies,
        "needs_logprobs": info.needs_logprobs,
    }

"""Read a request's body within its limits, and parse it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import attrs
import numpy as np
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

from rjepa_adapters.remote import protocol as wire
from rjepa_adapters.remote.protocol import WireError
from rjepa_core.domain.identity import fingerprints_agree
from rjepa_core.ports.world_model import Context, Floats, LatentSequence, WorldModelInfo

from . import problem_details as problems
from .problem_details import ProblemError
from .schemas import (
    NO_STEP,
    ContextIn,
    MaskedIn,
    SequenceIn,
    Strict,
    ValuesIn,
    check_outline,
    escaped,
)
from .scorer import GoneError, in_thread, seconds_left
from .settings import HttpSettings
from .shares import Part, Shares, client_of

JSON = "application/json"
# Bytes of a body that is parsed at once, and that is held however much others hold.
SHORT = 65_536
# Bytes of a number in JSON, with its comma, and of a character that is escaped as two surrogates.
_NUMBER_BYTES, _ESCAPED = 8, 12
# Commas and quotation marks allowed for a body's other fields.
_SLACK = 1000
M = TypeVar("M", bound=Strict)
R = TypeVar("R")


@attrs.frozen(eq=False)
class LatentsRequest:
    """A parsed request on latents.

    Attributes:
        sequences: at least one.
        masked: the masked steps of each, or None.
        context: which steps a step is predicted from.
        form: of masked predictions: `llm` or `target`.
        several: whether the body may hold several sequences, so that messages number them.
    """

    sequences: tuple[LatentSequence, ...]
    masked: tuple[tuple[int, ...], ...] | None = None
    context: Context = Context.OTHERS
    form: str = "llm"
    several: bool = False

    def pointer(self, number: int) -> str:
        """Return the JSON pointer to a sequence in the body."""
        return f"/sequences/{number}" if self.several else "/latents"


class Bodies:
    """Reads bodies, and shares out the memory that they take.

    Args:
        limits: of a request, and of all requests together.
        info: of the world model that the bodies are for.
    """

    def __init__(self, limits: HttpSettings, info: WorldModelInfo) -> None:
        self._limits, self._info = limits, info
        held = limits.pending_bytes
        self._shares = Shares(held, int(held * limits.client_share), free=SHORT)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bodies")

    @asynccontextmanager
    async def body(self, request: Request, schema: type[Strict]) -> AsyncIterator[bytes]:
        """Read and yield the whole body; its bytes count as held until the block ends.

        Raises:
            ProblemError: its type is not accepted, it is too large or too slow, or too many bytes
                are held already.
            GoneError: the caller hung up.
        """
        most = self._most_bytes(schema)
        self._check_head(request, schema, most)
        part = Part(client_of(request.client.host if request.client else None))
        chunks, ended = bytearray(), False
        try:
            try:
                async with asyncio.timeout(self._limits.body_seconds) as clock:

                    def end() -> None:
                        nonlocal ended
                        ended = True
                        clock.reschedule(0)

                    self._shares.idle(part, end)
                    async for chunk in request.stream():
                        chunks += chunk
                        if len(chunks) > most:
                            raise _too_large(most)
                        if not self._shares.take(part, len(chunk)):
                            raise _crowded()
            except TimeoutError:
                slow = ProblemError(problems.SLOW, "the body did not come in time", close=True)
                raise (_crowded() if ended else slow) from None
            except ClientDisconnect:
                raise GoneError from None
            self._shares.busy(part)
            whole = [bytes(chunks)]
            chunks.clear()
            # Keep no reference here, so that the caller can free it.
            yield whole.pop()
        finally:
            self._shares.give_back(part)

    async def latents(
        self, request: Request, body: bytes, schema: type[SequenceIn]
    ) -> LatentsRequest:
        """Parse latents of the world model's space, as JSON or safetensors.

        Raises:
            ProblemError: they are invalid, or too many.
        """
        return await self._parse(request, body, lambda: self._latents(request, body, schema))

    async def values(self, request: Request, body: bytes) -> Floats:
        """Parse predictions of the world model's space, as JSON or safetensors: float32 [N, D]."""
        return await self._parse(request, body, lambda: self._values(request, body))

    async def model(self, request: Request, body: bytes, schema: type[M]) -> M:
        """Parse the body as JSON of a schema.

        Raises:
            ProblemError: it is not JSON, or does not match the schema.
        """
        return await self._parse(request, body, lambda: self._model(body, schema))

    async def _parse(self, request: Request, body: bytes, read: Callable[[], R]) -> R:
        """Return what `read` returns; it runs in a thread for a long body, so as not to block."""
        if len(body) <= SHORT:
            return read()
        seconds = seconds_left(request, self._limits.answer_seconds)
        return await in_thread(request, read, seconds, self._thread)

    def _latents(self, request: Request, body: bytes, schema: type[SequenceIn]) -> LatentsRequest:
        if media_of(request) == wire.MEDIA:
            asked = self._from_safetensors(body, schema)
        else:
            asked = self._from_json(self._model(body, schema))
        for number, one in enumerate(asked.sequences):
            if len(one.latents) > self._limits.steps:
                raise ProblemError(
                    problems.BAD_INPUT,
                    f"{len(one.latents)} steps, at most {self._limits.steps} are taken",
                    asked.pointer(number),
                )
        return asked

    def _values(self, request: Request, body: bytes) -> Floats:
        if media_of(request) == wire.MEDIA:
            try:
                rows, fields = wire.unpack_values(body)
            except WireError as error:
                raise ProblemError(problems.BAD_BODY, error.detail, error.pointer) from None
            self._check_space(fields.get("space"))
            found = np.concatenate(rows) if rows else np.empty((0, 0), np.float32)
        else:
            read = self._model(body, ValuesIn)
            self._check_space(read.space)
            found = _array(read.values, "/values", self._info.target_size)
        width = self._info.target_size
        if found.ndim != 2 or found.shape[1] != width or not np.isfinite(found).all():
            raise ProblemError(
                problems.BAD_INPUT,
                f"values {list(found.shape)}, expected finite [N, {width}]",
                "/values",
            )
        return found

    def _model(self, body: bytes, schema: type[M]) -> M:
        check_outline(body, schema.model_fields, *self._most_marks(schema))
        try:
            return schema.model_validate_json(body)
        except ValidationError as error:
            # The input itself may be huge, and is left out.
            first = error.errors(include_input=False, include_url=False)[0]
            loc = [*first["loc"]]
            if first["type"] == NO_STEP:
                loc.append(first["ctx"]["step"])
            pointer = "".join(f"/{escaped(part)}" for part in loc)
            raise ProblemError(problems.BAD_BODY, first["msg"], pointer) from None

    def _from_safetensors(self, body: bytes, schema: type[SequenceIn]) -> LatentsRequest:
        try:
            message = wire.unpack(body, self._limits.sequences)
        except WireError as error:
            raise ProblemError(problems.BAD_BODY, error.detail, error.pointer) from None
        fields = dict(message.fields)
        self._check_space(fields.pop("space", None))
        context = _choice(fields, "context", [one.value for one in Context], schema is ContextIn)
        form = _choice(fields, "form", ["llm", "target"], schema is MaskedIn)
        if fields:
            raise ProblemError(problems.BAD_BODY, "unknown metadata", f"/{escaped(min(fields))}")
        if (message.masked is not None) != (schema is MaskedIn):
            word = "is missing" if schema is MaskedIn else "is not used here"
            raise ProblemError(problems.BAD_BODY, word, "/masked")
        return LatentsRequest(
            message.sequences,
            message.masked,
            Context(context or Context.OTHERS.value),
            form or "llm",
            several=True,
        )

    def _from_json(self, read: SequenceIn) -> LatentsRequest:
        self._check_space(read.space)
        width = self._info.hidden_size
        latents = _array(read.latents, "/latents", width)
        prompt = _array([read.prompt], "/prompt", width)[0]
        sequence = LatentSequence(latents, prompt, read.domain, _logprobs(read))
        if isinstance(read, MaskedIn):
            return LatentsRequest((sequence,), (tuple(read.masked),), form=read.form)
        context = read.context if isinstance(read, ContextIn) else Context.OTHERS.value
        return LatentsRequest((sequence,), None, Context(context))

    def _check_space(self, fingerprint: str | None) -> None:
        ours = self._info.space.fingerprint
        if fingerprint is None:
            raise ProblemError(problems.BAD_BODY, "is missing: a fingerprint", "/space")
        if not fingerprints_agree(fingerprint, ours):
            raise ProblemError(
                problems.OTHER_SPACE,
                f"latents of space {fingerprint[:64]}, this world model is of {ours}",
                "/space",
            )

    def _most_bytes(self, schema: type[Strict]) -> int:
        """Return the most bytes of a body; texts are also limited by their characters, escaped."""
        texts = _ESCAPED * self._limits.request_characters + SHORT
        most = self._limits.body_bytes
        return most if schema in _ON_LATENTS else min(most, texts)

    def _most_marks(self, schema: type[Strict]) -> tuple[int, int]:
        """Return the most commas and quotation marks of a body."""
        limits = self._limits
        if issubclass(schema, SequenceIn):
            # Vectors of the steps and of the prompt; masked steps and log-probabilities.
            numbers = (limits.steps + 1) * self._info.hidden_size + 2 * limits.steps
            return numbers + _SLACK, _SLACK
        if schema is ValuesIn:
            return limits.body_bytes // _NUMBER_BYTES, _SLACK
        # Each character of a text may be a comma or a quotation mark.
        texts, characters = limits.sequences * limits.steps, limits.request_characters
        return characters + texts + _SLACK, characters + 2 * texts + _SLACK

    def _check_head(self, request: Request, schema: type[Strict], most: int) -> None:
        known = (JSON, wire.MEDIA) if schema in _ON_LATENTS else (JSON,)
        media = media_of(request)
        if media not in known:
            raise ProblemError(
                problems.UNKNOWN_MEDIA,
                f"content type {media[:80] or 'missing'}, expected {' or '.join(known)}",
            )
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise _too_large(most)


def _too_large(most: int) -> ProblemError:
    return ProblemError(problems.TOO_LARGE, f"at most {most:,} bytes are taken", close=True)


def _crowded() -> ProblemError:
    return ProblemError(problems.BUSY, "too many bytes are held; try again later", close=True)


def media_of(request: Request) -> str:
    """Return the content type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def wants_bytes(request: Request, several: bool = False) -> bool:
    """Return whether the answer is safetensors, not JSON.

    It is if the caller accepts safetensors by name, or, for several sequences, which the JSON
    schema cannot hold, if the caller accepts anything.
    """
    text = request.headers.get("accept", "").lower()
    accepted = [one.partition(";")[0].strip() for one in text.split(",")]
    if wire.MEDIA in accepted:
        return True
    return several and any(one in accepted for one in ("", "*/*", "application/*"))


_ON_LATENTS = (SequenceIn, ContextIn, MaskedIn, ValuesIn)


def _array(rows: list[list[float]], pointer: str, width: int) -> Floats:
    """Return rows of numbers as float32 [N, width]; `/prompt` is one row."""
    for number, row in enumerate(rows):
        if len(row) != width:
            where = pointer if pointer == "/prompt" else f"{pointer}/{number}"
            raise ProblemError(
                problems.BAD_INPUT, f"{len(row)} numbers, expected {width}, the width", where
            )
    with np.errstate(over="ignore"):
        found = np.array(rows, np.float64).astype(np.float32)
    if not np.isfinite(found).all():
        number = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        where = pointer if pointer == "/prompt" else f"{pointer}/{number}"
        raise ProblemError(problems.BAD_INPUT, "a number is too large for float32", where)
    return found


def _logprobs(read: SequenceIn) -> Floats | None:
    if not read.logprobs:
        return None
    if len(read.logprobs) != len(read.latents):
        raise ProblemError(
            problems.BAD_INPUT,
            f"{len(read.logprobs)} of them for {len(read.latents)} steps",
            "/logprobs",
        )
    with np.errstate(over="ignore"):
        found = np.array(read.logprobs, np.float64).astype(np.float32)
    if not np.isfinite(found).all():
        raise ProblemError(problems.BAD_INPUT, "a number is too large for float32", "/logprobs")
    return found


def _choice(fields: dict[str, Any], name: str, known: list[str], used: bool) -> str | None:
    if not used or name not in fields:
        return None
    value = str(fields.pop(name))
    if value not in known:
        raise ProblemError(problems.BAD_BODY, f"expected one of {', '.join(known)}", f"/{name}")
    return value

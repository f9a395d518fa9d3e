"""The world-model port over HTTP: a client of the service."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import httpx2
import numpy as np

from rjepa_core.errors import (
    IdentityError,
    InputError,
    NotFiniteError,
    UnsupportedError,
    UsageError,
)
from rjepa_core.ports.world_model import (
    Context,
    Floats,
    LatentSequence,
    ShownWorldModel,
    TargetSpace,
    Verification,
    check_ahead,
    check_sequences,
    check_verifies,
)

from .protocol import (
    MEDIA,
    WireError,
    info_from_json,
    pack,
    pack_values,
    unpack_values,
    unpack_verdicts,
)
from .retry import ServiceError, ask

TOKEN_VARIABLE = "RJEPA_TOKEN"
_PATIENCE, _ANSWER_SECONDS = 30.0, 120.0
# Bytes of a body besides its vectors: header, names and lengths.
_HEADROOM = 65_536
_NOT_FINITE = "/problems#not-finite"
R = TypeVar("R")


def on_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine, which no proxy can reach."""
    labels = host.lower().rstrip(".").split(".")
    if labels[-1] in ("localhost", "ip6-localhost") or labels == ["localhost", "localdomain"]:
        return True
    try:
        # Addresses in any notation; names are not looked up.
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    address = ipaddress.ip_address(found[0][4][0])
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


class RemoteWorldModel(ShownWorldModel):
    """A `rjepa_core.ports.world_model.WorldModel` over HTTP.

    A token, if the service needs one, is read from the environment variable RJEPA_TOKEN.

    Args:
        location: address of the service, such as `http://127.0.0.1:8100`.
        device: `auto`; the service chose its device when it was started.
        patience: seconds for which requests to a busy or absent service are repeated.
        transport: of httpx2, for tests.

    Raises:
        UsageError: a device was named, the token is refused, or it is not an R-JEPA service.
        ServiceError: it does not answer.
    """

    def __init__(
        self,
        location: str,
        device: str = "auto",
        patience: float = _PATIENCE,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        if device != "auto":
            raise UsageError(f"{location}: the service has its own device; leave out {device!r}")
        self._where, self._patience = location.rstrip("/"), patience
        token = os.environ.get(TOKEN_VARIABLE)
        try:
            if transport is None and on_loopback(httpx2.URL(self._where).host):
                # With an explicit transport, the client ignores proxies.
                transport = httpx2.HTTPTransport()
            self._client = httpx2.Client(
                base_url=self._where,
                headers={"authorization": f"Bearer {token}"} if token else {},
                timeout=httpx2.Timeout(_ANSWER_SECONDS, connect=10.0),
                transport=transport,
            )
        except (httpx2.InvalidURL, ValueError, ImportError) as error:
            raise UsageError(
                f"{location}: the address, or that of the proxy in the environment (HTTP_PROXY, "
                f"HTTPS_PROXY, ALL_PROXY), cannot be used: {error}"
            ) from None
        try:
            facts = self._info()
            self.info = info_from_json(facts, self._where)
            limits = facts["limits"]
            self._most = int(limits["sequences"])
            self._bytes = int(limits["body_bytes"])
            self._named = {"space": self.info.space.fingerprint}
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            raise UsageError(f"{location}: no R-JEPA service answers there: {error!r}") from None
        except BaseException:
            self.close()
            raise

    def predict(
        self,
        sequences: Sequence[LatentSequence],
        context: Context = Context.OTHERS,
        ahead: int = 1,
    ) -> list[Floats]:
        check_ahead(self.info, context, ahead)
        return self._values("/predict", sequences, context=context.value)

    def predict_masked(
        self, sequences: Sequence[LatentSequence], masked: Sequence[Sequence[int]]
    ) -> list[Floats]:
        check_sequences(sequences)
        if len(masked) != len(sequences):
            raise InputError(f"{len(sequences)} sequences, but masks for {len(masked)}")
        return self._values("/predict_masked", sequences, masked, form="target")

    def targets(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        return self._values("/targets", sequences)

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        return self._values("/score", sequences, context=context.value)

    def embeddings(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        return self._values("/embeddings", sequences)

    def verify(self, sequences: Sequence[LatentSequence]) -> list[Verification]:
        check_verifies(self.info, sequences)
        logprobs = self.info.needs_logprobs
        return self._each("/verify", sequences, unpack_verdicts, logprobs=logprobs)

    def unstandardise(self, predictions: Floats) -> Floats:
        if self.info.target_space is not TargetSpace.LLM:
            raise UnsupportedError(
                f"{self._where} predicts in a space of its own (objective "
                f"{self.info.objective}); only objective frozen leads back to the LLM's latents"
            )
        rows = np.asarray(predictions, np.float32).reshape(-1, self.info.hidden_size)
        room = max(1, (self._bytes - _HEADROOM) // (4 * self.info.hidden_size))
        found = [
            self._ask(
                "/unstandardise", pack_values([rows[begin : begin + room]], **self._named), _rows
            )
            for begin in range(0, len(rows), room)
        ]
        every = [part for parts in found for part in parts]
        return np.concatenate(every).reshape(predictions.shape) if every else rows.copy()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _info(self) -> Mapping[str, Any]:
        answer = self._send("GET", "/info", b"", {"accept": "application/json"})
        try:
            facts = answer.json()
        except ValueError:
            raise ValueError("it does not answer in JSON") from None
        if not isinstance(facts, dict):
            raise ValueError("it does not answer with an object")
        return facts

    def _values(
        self,
        path: str,
        sequences: Sequence[LatentSequence],
        masked: Sequence[Sequence[int]] | None = None,
        **fields: str,
    ) -> list[Floats]:
        """Return one array per sequence."""
        return self._each(path, sequences, _rows, masked, fields=fields)

    def _each(
        self,
        path: str,
        sequences: Sequence[LatentSequence],
        read: Callable[[bytes], list[R]],
        masked: Sequence[Sequence[int]] | None = None,
        logprobs: bool = False,
        fields: Mapping[str, str] | None = None,
    ) -> list[R]:
        """Return one result per sequence, from as few requests as the service allows."""
        check_sequences(sequences)
        for number, one in enumerate(sequences):
            self._check(one, number)
        found: list[R] = []
        for begin, stop in self._parts(sequences):
            part = None if masked is None else masked[begin:stop]
            body = pack(sequences[begin:stop], part, logprobs, **self._named, **(fields or {}))
            results = self._ask(path, body, read, begin)
            if len(results) != stop - begin:
                raise ServiceError(
                    f"{self._where}{path}: {len(results)} answers to {stop - begin} sequences"
                )
            found += results
        return found

    def _ask(
        self, path: str, body: bytes, read: Callable[[bytes], list[R]], first: int = 0
    ) -> list[R]:
        headers = {"content-type": MEDIA, "accept": MEDIA}
        answer = self._send("POST", path, body, headers, first)
        try:
            return read(answer.content)
        except WireError as error:
            raise ServiceError(f"{self._where}{path}: a broken answer: {error}") from None

    def _parts(self, sequences: Sequence[LatentSequence]) -> Iterator[tuple[int, int]]:
        """Yield ranges of sequences that fit into one body."""
        begin, size, room = 0, 0, self._bytes - _HEADROOM
        for number, one in enumerate(sequences):
            steps = len(one.latents)
            each = 4 * (one.latents.size + one.prompt.size + steps) + 32 + 8 * len(one.domain)
            if number > begin and (number - begin == self._most or size + each > room):
                yield begin, number
                begin, size = number, 0
            size += each
        if begin < len(sequences):
            yield begin, len(sequences)

    def _check(self, one: LatentSequence, number: int) -> None:
        """Refuse a sequence that cannot be packed; the service refuses anything else."""
        width = self.info.hidden_size
        if one.latents.ndim != 2 or one.latents.shape[1] != width:
            raise InputError(
                f"sequence {number}: latents {list(one.latents.shape)}, expected [steps, {width}]"
            )
        if one.prompt.shape != (width,):
            raise InputError(
                f"sequence {number}: prompt {list(one.prompt.shape)}, expected [{width}]"
            )

    def _send(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], first: int = 0
    ) -> httpx2.Response:
        def once() -> httpx2.Response:
            return self._client.request(method, path, content=body, headers=dict(headers))

        answer = ask(once, self._where, self._patience)
        if answer.status_code != 200:
            raise refusal(answer, self._where + path, first)
        return answer


def _rows(body: bytes) -> list[Floats]:
    return unpack_values(body)[0]


def refusal(answer: httpx2.Response, where: str, first: int = 0) -> Exception:
    """Return the error for an answer other than 200.

    Args:
        answer: with RFC 9457 problem details, if it is the service's own.
        where: URL of the request, for messages.
        first: index of the request's first sequence among the caller's.
    """
    try:
        problem = answer.json()
        detail, pointer = str(problem["detail"]), str(problem.get("pointer") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ServiceError(f"{where}: answered {answer.status_code}, in an unknown form")
    status = answer.status_code
    if status in (401, 403):
        return UsageError(f"{where}: {detail}; set {TOKEN_VARIABLE} to the service's token")
    if status == 421:
        return UsageError(f"{where}: {detail}; add it there to service.names, or set a token")
    if status == 409:
        return IdentityError(f"{where}: {detail}")
    if found := re.match(r"/sequences/(\d+)", pointer):
        kind = NotFiniteError if problem.get("type") == _NOT_FINITE else InputError
        return kind(f"sequence {first + int(found[1])}: {detail}")
    if 400 <= status < 500:
        return InputError(f"{where}: {detail}")
    return ServiceError(f"{where}: answered {status}: {detail}")

"""One caller's connection: uvicorn's protocol, with limits for what may come and how slowly.

One request at a time is read and answered. What is sent behind it waits: at most one read of it
here, the rest in the sockets' buffers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from . import problem_details as problems
from .problem_details import ProblemError
from .settings import HttpSettings
from .shares import Part, Shares, client_of

# Of a head: its bytes, its fields. Trailers and the sizes of chunks may be so many bytes, too, and
# as many as the body's own.
_FRAMING, _HEADERS = 65_536, 100
_HEAD_END = b"\r\n\r\n"
# Given to the parser at a time: of heads and chunks, which cost time for every few bytes, and of a
# body whose length is known.
_PIECE, _BODY_PIECE = 1024, 65_536
# Between SIGTERM and the end of a connection on which nothing is going on.
_LAST_MOMENT = 0.5
# A server may ignore the wish for another protocol; the parser would take the body for that one's.
# The name is looked for among what was fed last, too.
_UPGRADE = re.compile(rb"\nupgrade(?=:)", re.IGNORECASE)
_NOTHING = bytes(len(b"\nupgrade"))
_CROWDED = ProblemError(problems.BUSY, "too many connections are open")


class GuardedProtocol(HttpToolsProtocol):
    """A connection that may not take for ever; subclassed with its limits by `guarded`.

    Attributes:
        places: of all connections.
        unsent: bytes of answers that nobody has taken yet.
    """

    limits: HttpSettings
    places: Shares
    unsent: Shares
    _timer: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None
    _next: asyncio.Handle | None = None
    _in_head = True
    # Bytes that were no body: of a head, of trailers, around chunks.
    _framing = 0
    # Of a body whose length is known.
    _body_left = 0
    _stopping = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, or one from whoever has been silent longest; then wait for a head."""
        super().connection_made(transport)
        self._unread, self._fed = bytearray(), _NOTHING
        self.flow = _Flow(transport, self._go_on)
        # Whatever lies unsent is noticed, so that nobody holds an answer for ever.
        transport.set_write_buffer_limits(high=0)
        client = client_of(self.client[0] if self.client else None)
        self._place, self._untaken = Part(client), Part(client)
        if not self.places.take(self._place, 1):
            self._refuse(_CROWDED)
            return
        self.places.idle(self._place, self._make_room)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers, and give back what was taken."""
        self._stop_timer()
        self._unread.clear()
        self.places.give_back(self._place)
        self.unsent.give_back(self._untaken)
        self._stop_taking()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Keep it, and give the parser the first piece."""
        self._unread += data
        self._feed()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A head may only have so many fields."""
        super().on_header(name, value)
        if len(self.headers) > _HEADERS:
            self._refuse(ProblemError(problems.HEAD_TOO_LARGE, f"more than {_HEADERS} fields"))

    def on_headers_complete(self) -> None:
        """The head has come in time."""
        self._in_head, self._framing = False, 0
        self._stop_timer()
        if self.parser.should_upgrade():
            self._refuse(ProblemError(problems.NO_HTTP, "no other protocol is spoken"))
        if self.transport.is_closing():
            return
        self._body_left = sum(int(v) for name, v in self.headers if name == b"content-length")
        super().on_headers_complete()
        if self._stopping:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if not self.transport.is_closing():
            self._body_left = max(0, self._body_left - len(body))
            self._framing = max(0, self._framing - 2 * len(body))
            super().on_body(body)

    def on_message_complete(self) -> None:
        """It is our turn; what follows is the next request's head."""
        self._in_head, self._framing = True, 0
        if not self.transport.is_closing():
            self.places.busy(self._place)
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """It is the caller's turn."""
        self.places.idle(self._place, self._make_room)
        if not self.flow.write_paused:
            self._stop_taking()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets a problem, too."""
        self._refuse(ProblemError(problems.NO_HTTP, msg))

    def shutdown(self) -> None:
        """An idle connection may have a request on its way: it is given a moment to be read."""
        self._stopping = True
        if self._idle():
            self.loop.call_later(_LAST_MOMENT, self._close_if_idle)
        else:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        """An answer waits to be taken: all of it in time, and no more of them than fit."""
        super().pause_writing()
        if self._taking is None:
            self._taking = self.loop.call_later(self.limits.body_seconds, self._cut_off)
        self.places.idle(self._place, self._make_room)
        self.unsent.idle(self._untaken, self._cut_off)
        if not self.unsent.take(self._untaken, self.transport.get_write_buffer_size()):
            self._cut_off()

    def resume_writing(self) -> None:
        """It was taken, so far."""
        self.unsent.give_back(self._untaken)
        if self._idle():
            self._stop_taking()
        else:
            self.places.busy(self._place)
        super().resume_writing()
        self._go_on()

    def _feed(self) -> None:
        """Give the parser a piece that ends where a request does; the next one in another turn."""
        self._next = None
        if self.transport.is_closing():
            self._unread.clear()
        if self._unread and not self._full():
            piece = self._piece()
            self._framing += len(piece)
            if self._in_head and self._timer is None:
                self._await_head()
            super().data_received(piece)
            if self._framing > _FRAMING:
                self._refuse(ProblemError(problems.HEAD_TOO_LARGE, f"more than {_FRAMING:,} bytes"))
        if self._unread:
            self.flow.pause_reading()
            if not self._full():
                self._go_on()
        elif not self._full():
            self.flow.resume_reading()

    def _go_on(self) -> bool:
        """Whether something is unread; it is fed before more is read."""
        if self._unread and self._next is None:
            self._next = self.loop.call_soon(self._feed)
        return bool(self._unread)

    def _full(self) -> bool:
        """Whether an answer, or the reading of a body, comes first."""
        if self._in_head:
            return not self._idle() or self.flow.write_paused
        return len(self.cycle.body) > HIGH_WATER_LIMIT

    def _piece(self) -> bytes:
        """The first of what is unread, taken from there; never a part of two requests."""
        size = min(self._body_left, _BODY_PIECE)
        if size:
            piece = bytes(self._unread[:size])
            del self._unread[:size]
            return piece
        seen = self._fed + self._unread[:_PIECE]
        # A head ends so, and so do chunks.
        end = seen.find(_HEAD_END)
        if end >= 0:
            seen = seen[: end + len(_HEAD_END)]
        del self._unread[: len(seen) - len(_NOTHING)]
        self._fed = _NOTHING if end >= 0 else seen[-len(_NOTHING) :]
        if self._in_head:
            seen = _UPGRADE.sub(rb"\g<0>-ignored", seen)
        return seen[len(_NOTHING) :]

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_if_idle(self) -> None:
        if self._idle() and not self.transport.is_closing():
            self.transport.close()

    def _make_room(self) -> None:
        """End, as others need the place more."""
        if self.flow.write_paused:
            self._cut_off()
        elif self.cycle is not None and self._idle() and not self._framing:
            # An answer to nothing could be taken for that to the next request.
            self.transport.close()
        else:
            self._refuse(_CROWDED)

    def _cut_off(self) -> None:
        self._leave()
        self.transport.abort()

    def _leave(self) -> bool:
        """Have whoever is still answering notice that nobody reads it; whether some is written."""
        if self._idle():
            return False
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        return self.cycle.response_started

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self.limits.header_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._refuse(ProblemError(problems.SLOW, "the request's head did not come in time"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _refuse(self, error: ProblemError) -> None:
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self._leave():
            self.transport.abort()
            return
        self.transport.write(problems.raw(error))
        self.transport.close()


class _Flow(FlowControl):
    """Reads on only once nothing waits to be fed.

    Args:
        transport: of the connection.
        waits: whether something does.
    """

    def __init__(self, transport: asyncio.Transport, waits: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._waits = waits

    def resume_reading(self) -> None:
        if not self._waits():
            super().resume_reading()


def guarded(settings: HttpSettings) -> type[GuardedProtocol]:
    """The protocol with these limits; connections of one such class share them."""
    places, share = settings.connections, settings.client_share
    held = settings.pending_bytes
    limits = {
        "limits": settings,
        "places": Shares(places, max(1, int(places * share)), times=1),
        "unsent": Shares(held, int(held * share), free=_BODY_PIECE),
    }
    return type("Guarded", (GuardedProtocol,), limits)

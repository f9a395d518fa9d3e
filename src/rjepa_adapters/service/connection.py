"""One caller's connection: uvicorn's protocol, with limits on sizes and times.

One request at a time is read and answered. What is sent after it waits: at most one read of it
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

# Most bytes and fields of a head. Trailers and chunk sizes may have as many bytes, too, plus twice
# the body's own.
_FRAMING, _HEADERS = 65_536, 100
_HEAD_END = b"\r\n\r\n"
# Bytes given to the parser at a time: of heads and chunks, whose parsing is slow, and of a body of
# known length.
_PIECE, _BODY_PIECE = 1024, 65_536
# Seconds between SIGTERM and the end of an idle connection.
_LAST_MOMENT = 0.5
# A server may ignore `Upgrade`, but the parser would then take the body for the other protocol's.
# The name may have begun in the bytes that were fed last, so these are searched too.
_UPGRADE = re.compile(rb"\nupgrade(?=:)", re.IGNORECASE)
_NOTHING = bytes(len(b"\nupgrade"))
_CROWDED = ProblemError(problems.BUSY, "too many connections are open")


class LimitedProtocol(HttpToolsProtocol):
    """A connection with limits, which `limited_protocol` sets on a subclass.

    Attributes:
        places: shares of the connections.
        unsent: shares of the bytes of answers that callers have not yet received.
    """

    limits: HttpSettings
    places: Shares
    unsent: Shares
    _head_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None
    _next_feed: asyncio.Handle | None = None
    _in_head = True
    # Bytes besides the body: of a head, of trailers, around chunks.
    _framing = 0
    # Bytes missing of a body of known length.
    _body_left = 0
    _stopping = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, evicting the longest silent connection if need be; then wait for a head."""
        super().connection_made(transport)
        self._unread, self._fed = bytearray(), _NOTHING
        self.flow = _Flow(transport, self._schedule_feed)
        # Report any unsent bytes, so that no caller holds an answer forever.
        transport.set_write_buffer_limits(high=0)
        client = client_of(self.client[0] if self.client else None)
        self._place, self._unsent_part = Part(client), Part(client)
        if not self.places.take(self._place, 1):
            self._refuse(_CROWDED)
            return
        self.places.idle(self._place, self._make_room)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers, and give back the connection's shares."""
        self._stop_head_timer()
        self._unread.clear()
        self.places.give_back(self._place)
        self.unsent.give_back(self._unsent_part)
        self._stop_send_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Buffer the data, and give the parser the first piece."""
        self._unread += data
        self._feed()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuse a head with too many fields."""
        super().on_header(name, value)
        if len(self.headers) > _HEADERS:
            self._refuse(ProblemError(problems.HEAD_TOO_LARGE, f"more than {_HEADERS} fields"))

    def on_headers_complete(self) -> None:
        """Stop the head's timer, and start the request."""
        self._in_head, self._framing = False, 0
        self._stop_head_timer()
        if self.parser.should_upgrade():
            self._refuse(ProblemError(problems.NO_HTTP, "other protocols are not supported"))
        if self.transport.is_closing():
            return
        self._body_left = sum(int(v) for name, v in self.headers if name == b"content-length")
        super().on_headers_complete()
        if self._stopping:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body, and count it."""
        if not self.transport.is_closing():
            self._body_left = max(0, self._body_left - len(body))
            self._framing = max(0, self._framing - 2 * len(body))
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Mark the connection as busy; what follows is the next request's head."""
        self._in_head, self._framing = True, 0
        if not self.transport.is_closing():
            self.places.busy(self._place)
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Mark the connection as idle: it is the caller's turn."""
        self.places.idle(self._place, self._make_room)
        if not self.flow.write_paused:
            self._stop_send_timer()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with a problem, too."""
        self._refuse(ProblemError(problems.NO_HTTP, msg))

    def shutdown(self) -> None:
        """Finish the request and close; an idle connection gets a moment for one on its way."""
        self._stopping = True
        if self._idle():
            self.loop.call_later(_LAST_MOMENT, self._close_if_idle)
        else:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        """Limit the time and the bytes of an answer that waits to be received."""
        super().pause_writing()
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(self.limits.body_seconds, self._abort)
        self.places.idle(self._place, self._make_room)
        self.unsent.idle(self._unsent_part, self._abort)
        if not self.unsent.take(self._unsent_part, self.transport.get_write_buffer_size()):
            self._abort()

    def resume_writing(self) -> None:
        """Give back the bytes of an answer: all that was sent has been received."""
        self.unsent.give_back(self._unsent_part)
        if self._idle():
            self._stop_send_timer()
        else:
            self.places.busy(self._place)
        super().resume_writing()
        self._schedule_feed()

    def _feed(self) -> None:
        """Give the parser one piece, of one request; the next follows in another loop iteration."""
        self._next_feed = None
        if self.transport.is_closing():
            self._unread.clear()
        if self._unread and not self._must_wait():
            piece = self._take_piece()
            self._framing += len(piece)
            if self._in_head and self._head_timer is None:
                self._await_head()
            super().data_received(piece)
            if self._framing > _FRAMING:
                self._refuse(ProblemError(problems.HEAD_TOO_LARGE, f"more than {_FRAMING:,} bytes"))
        if self._unread:
            self.flow.pause_reading()
            if not self._must_wait():
                self._schedule_feed()
        elif not self._must_wait():
            self.flow.resume_reading()

    def _schedule_feed(self) -> bool:
        """Schedule feeding unread data, if there is any; return whether there is."""
        if self._unread and self._next_feed is None:
            self._next_feed = self.loop.call_soon(self._feed)
        return bool(self._unread)

    def _must_wait(self) -> bool:
        """Return whether an answer, or the reading of a body, must come before more input."""
        if self._in_head:
            return not self._idle() or self.flow.write_paused
        return len(self.cycle.body) > HIGH_WATER_LIMIT

    def _take_piece(self) -> bytes:
        """Take and return the first piece of the unread data, never of two requests."""
        size = min(self._body_left, _BODY_PIECE)
        if size:
            piece = bytes(self._unread[:size])
            del self._unread[:size]
            return piece
        seen = self._fed + self._unread[:_PIECE]
        # A head ends like this, and so do chunks.
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
        """Close, to make room for another connection."""
        if self.flow.write_paused:
            self._abort()
        elif self.cycle is not None and self._idle() and not self._framing:
            # No refusal is sent: it could be taken for the answer to the caller's next request.
            self.transport.close()
        else:
            self._refuse(_CROWDED)

    def _abort(self) -> None:
        self._disconnect_request()
        self.transport.abort()

    def _disconnect_request(self) -> bool:
        """Tell a running request that its caller is gone; return whether its answer had begun."""
        if self._idle():
            return False
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        return self.cycle.response_started

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.header_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._refuse(ProblemError(problems.SLOW, "the request's head did not come in time"))

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _refuse(self, error: ProblemError) -> None:
        self._stop_head_timer()
        if self.transport.is_closing():
            return
        if self._disconnect_request():
            self.transport.abort()
            return
        self.transport.write(problems.raw(error))
        self.transport.close()


class _Flow(FlowControl):
    """Flow control that resumes reading only once no data waits to be fed.

    Args:
        transport: of the connection.
        waits: returns whether data waits.
    """

    def __init__(self, transport: asyncio.Transport, waits: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._waits = waits

    def resume_reading(self) -> None:
        if not self._waits():
            super().resume_reading()


def limited_protocol(settings: HttpSettings) -> type[LimitedProtocol]:
    """Return a protocol class with these limits, which its connections share."""
    places, share = settings.connections, settings.client_share
    held = settings.pending_bytes
    limits = {
        "limits": settings,
        "places": Shares(places, max(1, int(places * share)), times=1),
        "unsent": Shares(held, int(held * share), free=_BODY_PIECE),
    }
    return type("Limited", (LimitedProtocol,), limits)

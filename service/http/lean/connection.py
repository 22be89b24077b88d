"""One connection on the short way: plain events in, their answers out, in the order they were asked.

Rules it keeps:

- No task, future or timer per request: a request is an ``Exchange``, the envelope that the front answers.
- The first request that is not plain hands the connection over to aiohttp, for good, with all bytes from that
  request's first one on, when all before it are answered and written.
- Bounds: so many requests without an answer, one piece of the stream beyond them; then it is not read.
- Times: ``look_at`` is called from time to time and ends what takes too long. A head that comes in drops
  moves no time-out.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final, cast

from msgspec import Struct

from actors.messages import BuildResult, Ingest, Outcomes
from actors.runtime import ActorError, Envelope
from service.http.body import BodyTrouble
from service.http.intake import EventIntake, Refusal
from service.http.lean.door import Door
from service.http.lean.heads import Heads
from service.http.lean.replies import ReplyBytes
from service.http.lean.request import FOREIGN, INCOMPLETE, PlainReader
from service.http.lean.watch import Watch
from service.http.peer import name_peer
from service.http.settings import EventSystem
from service.http.timing import CRASHED
from service.tracing.records import RequestTrace
from service.wire.reply import OK, TRY_AGAIN, Reply, error_view

log = logging.getLogger(__name__)

MAX_WAITING: Final = 32
"""Requests of one connection without an answer, as in aiohttp."""
TURNED_AWAY: Final = Refusal(TRY_AGAIN)


class Limits(Struct, frozen=True, kw_only=True):
    """How long a connection may take for what, in seconds."""

    keep_alive_s: float
    """From the last answer (or the beginning) to the next request's last header."""
    body_s: float
    """From a request's last header to the end of its body."""
    linger_s: float
    """How long the rest of a body that was given up is thrown away, so that its sender sees the answer."""


class Surroundings(Struct, kw_only=True):
    """What the connections of a listener share."""

    system: EventSystem
    intake: EventIntake
    replies: ReplyBytes
    heads: Heads
    watch: Watch | None
    """None when nobody wants to know."""
    limits: Limits
    loop: asyncio.AbstractEventLoop
    make_handler: Callable[[], asyncio.Protocol]
    """Gives what takes a connection that is handed over."""
    connections: "set[LeanConnection]"
    """Those that are not handed over."""
    door: Door
    """Tells whether a new connection may stay."""
    let_go: Callable[[int], int]
    """Closes so many quiet ones."""
    on_connection: Callable[[], None]
    """Called when there is one more."""
    on_end: Callable[[], None]
    """Called when there is one less."""


class Exchange(Envelope):
    """A request on its way, and the place of its answer; whatever answers it, only the first counts."""

    connection: "LeanConnection"
    began: int
    """On the clock of who watches."""
    trace: RequestTrace | None
    given_id: str | None
    """The request id that the sender sent."""
    is_last: bool
    answer: bytes | None = None
    """The response, once there is one."""

    @property
    def is_ask(self) -> bool:
        """Whether somebody waits: always, the sender does."""
        return True

    def reply(self, value: Any) -> None:
        """Answer with what became of the request."""
        result: BuildResult = value
        connection = self.connection
        around = connection.around
        reply = around.intake.reply(result)
        if reply is not OK or self.trace is not None or self.is_last or self.given_id is not None:
            self.settle(reply, outcomes=result.outcomes)
        elif self.answer is None:  # as nearly all are answered
            self.answer = around.replies.encode_ok()
            watch = around.watch
            if watch is not None:
                watch.end_plain(self.began, self.message.request, result.outcomes)
            connection.go_on()

    def fail(self, error: Exception) -> None:
        """Turn an error into an answer: of the actor system, or a bug of ours, which is logged."""
        if isinstance(error, ActorError):
            self.settle(TRY_AGAIN)
            return
        self.settle(error_view(CRASHED, accept=None))
        # In a context of its own, because it names the trace of this request alone.
        copy_context().run(self._log_bug, error)

    def settle(self, reply: Reply, *, cors: bool = True, outcomes: Outcomes = ()) -> None:
        """Note the answer."""
        if self.answer is not None:
            return
        connection = self.connection
        around = connection.around
        self.answer = around.replies.encode(reply, given_id=self.given_id, cors=cors, close=self.is_last)
        watch = around.watch
        if watch is not None:
            request = None if self.message is None else self.message.request
            self.trace = watch.end(
                self.trace, reply.status, began=self.began, request=request, outcomes=outcomes
            )
        connection.go_on()

    def _log_bug(self, error: Exception) -> None:
        if self.trace is not None:
            self.trace.make_current()
        log.error("A request ended in a bug of ours", exc_info=error)


class LeanConnection(asyncio.Protocol):
    """The protocol of a connection until it is handed over or closed."""

    __slots__ = (
        "_behind",
        "_body_until",
        "_discards",
        "_eof",
        "_is_last",
        "_is_refused",
        "_kept",
        "_leaving",
        "_peer",
        "_quiet_until",
        "_reader",
        "_reading",
        "_transport",
        "_waiting",
        "_woken",
        "_working",
        "_writable",
        "around",
    )

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self._reader = PlainReader(around.heads)
        self._peer = ""
        # None before the connection is made, and after it was lost or handed over.
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Exchange] = deque()
        """Requests whose answer is not written, in their order."""
        self._kept = b""
        """What came and belongs to no request that was taken."""
        self._behind = False
        """Whether what is kept was not looked at yet, because the connection was held."""
        self._leaving = False
        """What is kept begins with a request for aiohttp."""
        self._is_last = False
        """No request is taken after those that wait."""
        self._is_refused = False
        """It lingers, because there was no room for it."""
        self._discards = False
        """What still comes is thrown away."""
        self._eof = False
        self._reading = True
        self._writable = True
        self._working = False
        """Requests are being taken at this moment; answers wait until that is done."""
        self._woken = False
        """Answers will be written later in this turn of the loop."""
        self._quiet_until = 0.0
        """When the connection is closed unless an answer is written before; on the loop's clock."""
        self._body_until: float | None = None
        """When the body that is awaited is given up."""

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, if there is room for one more connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        if not self.around.door.has_room(self.around.loop.time(), self.around.let_go):
            self._refuse(self._transport)
            return
        address, connection = transport.get_extra_info("peername"), transport.get_extra_info("socket")
        self._peer = name_peer(str(address[0]) if isinstance(address, tuple) else address, connection)
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._quiet_until = self.around.loop.time() + self.around.limits.keep_alive_s
        self.around.connections.add(self)
        self.around.on_connection()

    def data_received(self, data: bytes) -> None:
        """Take the requests that are whole."""
        if self._is_last or self._transport is None:
            return
        if self._waiting or self._kept or not self._writable:
            self._kept = self._kept + data if self._kept else data
            self._work()
            return
        # One request with nothing before or behind it, as nearly all come.
        taken = self._reader.read(data, 0)
        if taken == len(data):
            self._take(self._reader.body)
            if self._is_last:
                self._settle_down()
        elif taken > 0:
            self._take(self._reader.body)
            self._kept = data[taken:]
            self._work()
        else:
            self._kept = data
            self._note_rest(taken)
            self._settle_down()

    def eof_received(self) -> bool:
        """Stay open while there are answers to write: the sender may have closed its half only."""
        self._eof = True
        return bool(self._waiting)

    def pause_writing(self) -> None:
        """Take nothing more from a sender that does not read its answers."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on."""
        self._writable = True
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the answers; the requests take their course."""
        self._end()

    # What others call

    def go_on(self) -> None:
        """Write the answers that are there; those of pipelined requests together, at the end of the turn.

        This is called by actors. Nothing is read here, so that no request can be trouble to another's.
        """
        if self._working or self._woken:
            return
        waiting = self._waiting
        if len(waiting) == 1 and not self._kept:
            answer = waiting[0].answer
            if answer is not None:
                waiting.popleft()
                self._write(answer)
            if self._eof or self._is_last or self._discards or not self._reading:
                self._settle_down()
        elif waiting and waiting[0].answer is not None:
            self._woken = True
            self.around.loop.call_soon(self._wake)

    def look_at(self, now: float) -> None:
        """End what takes too long."""
        if self._body_until is not None and now >= self._body_until:
            self._give_up_body()
        elif now >= self._quiet_until and self._transport is not None:
            if not self._writable:  # what is written would keep the closing transport alive
                self._transport.abort()
            elif not self._waiting:
                self._transport.close()

    def quiet_since(self) -> float | None:
        """Give when it was last answered, or made; None while a request is under way."""
        if self._waiting or self._transport is None or self._is_refused:
            return None
        return self._quiet_until - self.around.limits.keep_alive_s

    def let_go(self) -> None:
        """Close it at once, because others come; it is quiet, so nobody waits for an answer."""
        if self._transport is not None:
            self._transport.abort()
            self._end()

    def finish(self) -> None:
        """Take no further request, and close when all are answered."""
        self._is_last = True
        self._work()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    # In order of their use

    def _refuse(self, transport: asyncio.Transport) -> None:
        """Answer at once, and wait a moment: who is in the middle of a request shall see the answer."""
        around = self.around
        transport.write(around.replies.encode(TRY_AGAIN, given_id=None, close=True))
        if not around.door.may_linger():
            transport.abort()
            return
        self._is_refused = self._is_last = self._discards = True
        self._quiet_until = around.loop.time() + around.limits.linger_s
        around.connections.add(self)
        around.on_connection()

    def _wake(self) -> None:
        self._woken = False
        self._work()

    def _work(self) -> None:
        """Take requests and write answers as long as there is something to do; then decide how to wait."""
        self._working = goes_on = True
        self._write_answers()
        while goes_on and self._kept and not self._is_held():
            goes_on = self._take_requests()
            self._write_answers()
        self._working = False
        self._settle_down()

    def _is_held(self) -> bool:
        return self._leaving or self._is_last or not self._writable or len(self._waiting) >= MAX_WAITING

    def _take_requests(self) -> bool:
        """Take what is whole; False when there is nothing more to be taken before something else comes."""
        data, reader, position, taken = self._kept, self._reader, 0, 1
        while position < len(data) and not self._is_held():
            taken = reader.read(data, position)
            if taken <= 0:
                break
            position += taken
            self._take(reader.body)
        self._kept = data[position:]
        self._note_rest(taken)
        return taken > 0

    def _note_rest(self, taken: int) -> None:
        """Note what the reader said of what is kept."""
        self._leaving = taken == FOREIGN
        if taken == INCOMPLETE and self._reader.awaits_body and self._body_until is None:
            self._body_until = self.around.loop.time() + self.around.limits.body_s

    def _take(self, body: bytes | BodyTrouble) -> None:
        around, head, peer = self.around, self._reader.head, self._peer
        sender = head.sender
        if sender is None or head.peer != peer:
            sender = around.intake.meet(head.headers.get, peer, is_kept=head.is_kept)
            if head.is_kept:
                head.sender, head.peer = sender, peer
        self._body_until = None
        if head.closes or type(body) is not bytes:
            self._is_last = True
        watch, trace, began = around.watch, None, 0
        if watch is not None:
            now = watch.now
            began = now()
        understood = TURNED_AWAY if around.system.turns_away() else around.intake.understand(sender, body)
        if type(understood) is Refusal:
            self._answer(understood, began)
            return
        is_for_several = len(understood.domains) > 1
        if watch is not None and (is_for_several or head.traceparent is not None):
            trace = watch.begin(head.traceparent, peer, began=began, is_for_several=is_for_several)
        message = Ingest(understood, trace)
        exchange = Exchange(message, None, None, self, began, trace, head.request_id, self._is_last)
        self._waiting.append(exchange)
        around.system.offer(exchange)

    def _answer(self, refusal: Refusal, began: int) -> None:
        """Answer a request that no site gets to see."""
        head, watch, trace = self._reader.head, self.around.watch, None
        if watch is not None and head.traceparent is not None:
            trace = watch.begin(head.traceparent, self._peer, began=began, is_for_several=False)
        exchange = Exchange(None, None, None, self, began, trace, head.request_id, self._is_last)
        self._waiting.append(exchange)
        exchange.settle(refusal.reply, cors=refusal.cors)

    def _give_up_body(self) -> None:
        self._discards, self._kept = True, b""
        self._working = True
        self._take(BodyTrouble.TOO_SLOW)
        self._work()

    def _write_answers(self) -> None:
        waiting = self._waiting
        if not waiting or (answers := waiting[0].answer) is None:
            return
        waiting.popleft()
        while waiting and (answer := waiting[0].answer) is not None:
            answers += answer
            waiting.popleft()
        self._write(answers)

    def _write(self, answers: bytes) -> None:
        if self._transport is not None:
            around = self.around
            self._quiet_until = around.loop.time() + around.limits.keep_alive_s
            self._transport.write(answers)

    def _settle_down(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not self._waiting:
            if self._leaving and self._writable:
                self._hand_over(transport)
                return
            if self._discards:
                self._quiet_until = self.around.loop.time() + self.around.limits.linger_s
            elif self._is_last or (self._eof and not self._leaving):
                transport.close()
                return
        reads = self._discards or not self._is_held()
        if reads is not self._reading and not self._eof:
            self._reading = reads
            if reads:
                transport.resume_reading()
            else:
                transport.pause_reading()

    def _hand_over(self, transport: asyncio.Transport) -> None:
        """Let aiohttp go on, as if it had been there from the beginning."""
        kept, eof = self._kept, self._eof
        handler = self.around.make_handler()
        transport.set_protocol(handler)
        if not self._reading and not eof:
            transport.resume_reading()
        self._end()
        handler.connection_made(transport)
        handler.data_received(kept)
        if eof:
            handler.eof_received()
            transport.close()

    def _end(self) -> None:
        if self._is_refused:
            self._is_refused = False
            self.around.door.lingering -= 1
        self._transport = None
        self._kept = b""
        self._body_until = None
        self._waiting.clear()
        self.around.connections.discard(self)
        self.around.on_end()

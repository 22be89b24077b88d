"""Replies as the bytes of a whole response, the same that aiohttp makes of them, header for header."""

from email.utils import formatdate
from http import HTTPStatus
from typing import Final, NamedTuple

from service.clock import Clock
from service.http.answers import COMMON_HEADERS, CORS_HEADERS, Answers
from service.wire.reply import OK, TRY_AGAIN, Headers, Reply

_CLOSE: Final = b"\r\nConnection: close"


class _Frame(NamedTuple):
    """A response but for its request id, its date and what becomes of the connection."""

    to_request_id: bytes
    to_date: bytes
    body: bytes


class ReplyBytes:
    """Writes responses; what most of them have in common is ready-made."""

    def __init__(self, answers: Answers, clock: Clock) -> None:
        self._answers = answers
        self._clock = clock
        self._ok = _build_frame(OK, cors=True)
        self._try_again = _build_frame(TRY_AGAIN, cors=True)
        # The second that ``_date`` shows.
        self._second = -1
        self._date = b""
        # What follows the request id in most answers of this second.
        self._ok_end = b""

    def encode(self, reply: Reply, *, given_id: str | None, cors: bool = True, close: bool = False) -> bytes:
        """Give the response; ``given_id`` is the request id that the sender sent."""
        if reply is OK and cors and given_id is None and not close:
            self._show_date()
            return self._ok.to_request_id + self._answers.new_request_id().encode("ascii") + self._ok_end
        if reply is OK and cors:
            frame = self._ok
        elif reply is TRY_AGAIN and cors:
            frame = self._try_again
        else:
            frame = _build_frame(reply, cors=cors)
        return b"%b%b%b%b%b\r\n\r\n%b" % (
            frame.to_request_id,
            self._answers.choose_request_id(given_id).encode("ascii"),
            frame.to_date,
            self._show_date(),
            _CLOSE if close else b"",
            frame.body,
        )

    def _show_date(self) -> bytes:
        second = int(self._clock())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True).encode("ascii")
            self._ok_end = b"%b%b\r\n\r\n%b" % (self._ok.to_date, self._date, self._ok.body)
        return self._date


def _build_frame(reply: Reply, *, cors: bool) -> _Frame:
    common = COMMON_HEADERS + CORS_HEADERS if cors else COMMON_HEADERS
    content_type: Headers = () if reply.content_type is None else (("Content-Type", reply.content_type),)
    own = (*content_type, *reply.headers, ("Content-Length", str(len(reply.body))))
    status_line = f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\n"
    return _Frame(
        f"{status_line}{_lines(common)}X-Request-Id: ".encode(),
        f"\r\n{_lines(own)}Date: ".encode(),
        reply.body,
    )


def _lines(headers: Headers) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers)

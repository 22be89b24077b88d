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
        self._next_number = answers.next_number
        self._clock = clock
        self._ok = _build_frame(OK, cors=True)
        self._try_again = _build_frame(TRY_AGAIN, cors=True)
        self._second = -1
        """The one that ``_date`` shows."""
        self._date = b""
        self._plain_ok = b""
        """A pattern of what most events get in this second; it takes the number of the request id."""

    def encode_ok(self) -> bytes:
        """Give the response to most events: ``OK``, with a request id of ours, on a connection that stays."""
        # What an attribute holds is called by a name of its own: "self._clock()" is looked for as a method
        # first, each time anew, in Python 3.11.
        clock, next_number = self._clock, self._next_number
        if not 0.0 <= clock() - self._second < 1.0:
            self._show_date()
        return self._plain_ok % next_number()

    def encode(self, reply: Reply, *, given_id: str | None, cors: bool = True, close: bool = False) -> bytes:
        """Give the response; ``given_id`` is the request id that the sender sent."""
        if not 0.0 <= self._clock() - self._second < 1.0:
            self._show_date()
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
            self._date,
            _CLOSE if close else b"",
            frame.body,
        )

    def _show_date(self) -> None:
        self._second = int(self._clock())
        self._date = formatdate(self._second, usegmt=True).encode("ascii")
        beginning = self._ok.to_request_id + self._answers.id_prefix.encode("ascii")
        end = b"%b%b\r\n\r\n%b" % (self._ok.to_date, self._date, self._ok.body)
        self._plain_ok = b"%b%%08x%b" % (_literal(beginning), _literal(end))


def _literal(text: bytes) -> bytes:
    """Give the pattern that stands for a text as it is."""
    return text.replace(b"%", b"%%")


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

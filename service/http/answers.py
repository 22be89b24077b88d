"""Answers of the public listener: a ``Reply`` with the headers that every answer has.

Source: reference sections 1.3 and 1.5. What is answered before the reference's CORS step, a body that its
parsers refuse, has no CORS headers.
"""

import itertools
import secrets
from collections.abc import Callable
from typing import Final

from aiohttp import web
from multidict import CIMultiDict, istr

from service.wire.reply import Reply, error_view

COMMON_HEADERS: Final = (
    ("Cache-Control", "max-age=0, private, must-revalidate"),
    ("Server", "gatehouse"),
)
CORS_HEADERS: Final = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Access-Control-Expose-Headers", ""),
)
PREFLIGHT_HEADERS: Final = (
    ("access-control-max-age", "1728000"),
    ("access-control-allow-methods", "GET,POST,PUT,PATCH,DELETE,OPTIONS"),
    (
        "access-control-allow-headers",
        "Authorization,Content-Type,Accept,Origin,User-Agent,DNT,Cache-Control,X-Mx-ReqToken,Keep-Alive,"
        "X-Requested-With,If-Modified-Since,X-CSRF-Token",
    ),
)
PREFLIGHT: Final = Reply(204, None, b"", PREFLIGHT_HEADERS)

MIN_REQUEST_ID_CHARS: Final = 20
MAX_REQUEST_ID_CHARS: Final = 200

_ACCEPT: Final = istr("Accept")
_CONTENT_TYPE: Final = istr("Content-Type")
_REQUEST_ID: Final = istr("X-Request-Id")


class Answers:
    """Makes responses; numbers those whose sender gave no request id of its own."""

    def __init__(self) -> None:
        self.id_prefix = secrets.token_hex(8)
        """What tells the ids of this process from those of another."""
        self.next_number: Callable[[], int] = itertools.count().__next__
        """Gives a number that no other answer has; it follows the prefix."""
        # Copied for each answer, which is quicker than adding header after header.
        self._without_cors = CIMultiDict[str]((istr(name), value) for name, value in COMMON_HEADERS)
        self._with_cors = self._without_cors.copy()
        self._with_cors.extend((istr(name), value) for name, value in CORS_HEADERS)

    def answer(self, request: web.Request, reply: Reply, *, cors: bool = True) -> web.Response:
        """Make the response of a reply."""
        headers = (self._with_cors if cors else self._without_cors).copy()
        headers[_REQUEST_ID] = self.choose_request_id(request.headers.get(_REQUEST_ID))
        if reply.content_type is not None:
            headers[_CONTENT_TYPE] = reply.content_type
        if reply.headers:
            headers.extend(reply.headers)
        return web.Response(status=reply.status, body=reply.body, headers=headers)

    def view_error(
        self, request: web.Request, status: int, *, cors: bool = True, wanted: object = None
    ) -> web.Response:
        """Make the response that tells a status alone; ``wanted`` is the ``_format`` parameter."""
        reply = error_view(status, accept=request.headers.get(_ACCEPT), wanted=wanted)
        return self.answer(request, reply, cors=cors)

    def choose_request_id(self, given: str | None) -> str:
        """Give the sender's id if it can stand in a header, else a new one."""
        if (
            given is not None
            and MIN_REQUEST_ID_CHARS <= len(given) <= MAX_REQUEST_ID_CHARS
            and given.isascii()
            and given.isprintable()
        ):
            return given
        return self.new_request_id()

    def new_request_id(self) -> str:
        """Give an id that no other answer has."""
        return f"{self.id_prefix}{self.next_number():08x}"

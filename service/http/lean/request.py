"""Reads plain ``POST /api/event`` requests off a stream of bytes, and knows one that is not plain.

Plain is what trackers and proxies send: HTTP/1.1, no query, a ``Content-Length``, none of the headers that we
read twice, nothing that asks for more than an answer. Where a request ends is decided here and by llhttp
(``httptools``), which is strict: bare line feeds, folded lines, spaces before a colon, two framings and the
like are errors to it. What either of them does not like is ``FOREIGN``: aiohttp answers it, from its first
byte. So nothing is accepted here that aiohttp would refuse, as long as what is plain is no more than that.

A head that was read lately (``heads``) is not read again: it is plain, and says where its body ends.
"""

from typing import Final

import httptools

from service.http.lean.heads import Head, Heads, make_head

INCOMPLETE: Final = 0
FOREIGN: Final = -1

REQUEST_LINE: Final = b"POST /api/event HTTP/1.1\r\n"
MAX_HEAD_BYTES: Final = 8192
"""A longer head is foreign; each of its lines is then within the limit of the listener."""
MAX_HEADERS: Final = 100
"""aiohttp takes 128."""
MIN_LINE_BYTES: Final = 4
"""Of a header: a name, a colon, and the end of the line."""
MAX_BODY_BYTES: Final = 16_384
"""A longer body is foreign. An event with long properties fits in; the limits of the API are far higher."""
MAX_LENGTH_DIGITS: Final = len(str(MAX_BODY_BYTES))
"""llhttp takes any number of leading zeros, and ``int`` does not."""

_HEAD_END: Final = b"\r\n\r\n"
_BRACE: Final = b"{"
_CONNECTIONS: Final = frozenset({"close", "keep-alive"})
"""What a plain ``Connection`` may say."""

# The headers that mean something to us, and those that must not come twice.
_READ: Final = (
    "Host",
    "Content-Type",
    "Content-Length",
    "Connection",
    "User-Agent",
    "Accept",
    "X-Request-Id",
    "X-Idempotency-Key",
    "Traceparent",
    "X-Plausible-IP",
    "X-Plausible-IP-Type",
    "CF-Connecting-IP",
    "B-Forwarded-For",
    "X-Forwarded-For",
    "Forwarded",
    "Content-Location",
    "Content-Range",
    "ETag",
    "Max-Forwards",
    "Server",
)
# Those with which a request is never plain.
_FOREIGN: Final = ("Expect", "Proxy-Connection", "Sec-WebSocket-Key1", "Transfer-Encoding", "Upgrade")
_NEVER_PLAIN: Final = ""
_NAMES: Final = {
    **{spelling.encode(): name.lower() for name in _READ for spelling in (name, name.lower())},
    **{spelling.encode(): _NEVER_PLAIN for name in _FOREIGN for spelling in (name, name.lower())},
}


NO_HEAD: Final = Head({}, 0)


class PlainReader:
    """Reads one request after the other; useless after the first ``FOREIGN``."""

    __slots__ = (
        "_complete",
        "_fed",
        "_head_complete",
        "_headers",
        "_heads",
        "_is_plain",
        "_lines",
        "_parser",
        "_size",
        "body",
        "head",
    )

    def __init__(self, heads: Heads) -> None:
        self.head = NO_HEAD
        """Of the request that was read last, or whose body is awaited."""
        self.body = b""
        self._heads = heads
        self._headers: dict[str, str] = {}
        self._lines = b""
        """The head of the request whose body is awaited."""
        self._parser = httptools.HttpRequestParser(self)
        # Bytes of the request that the parser has seen.
        self._fed = 0
        # Bytes of the whole request; 0 until the head is complete.
        self._size = 0
        self._is_plain = True
        self._head_complete = False
        self._complete = False

    @property
    def awaits_body(self) -> bool:
        """Whether the head is there and the body is not."""
        return self._size > 0

    def read(self, data: bytes, start: int) -> int:
        """Read the request that begins at ``start``; gives its bytes when it is whole.

        Else ``INCOMPLETE``: call again with the same bytes and more; or ``FOREIGN``.
        """
        if self._fed == 0:
            # A guess: an event begins with a brace, of which heads have none, and one character is found in a
            # tenth of the time. A wrong guess finds no head: what is remembered ends with a blank line.
            end = data.find(_BRACE, start)
            guess = data[start:end] if end > 0 else b""
            head = self._heads.young.get(guess)
            if head is not None and (after := end + head.length) <= len(data):
                self.head, self.body = head, data[end:after]
                return after - start
            return self._read_head(data, start, guess)
        return self._read_body(data, start) if self._size else self._read_head(data, start, b"")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header; called by the parser."""
        known = _NAMES.get(name) or _NAMES.get(name.lower())
        if not known:
            if known == _NEVER_PLAIN:
                self._is_plain = False
            return
        headers = self._headers
        if known in headers:
            self._is_plain = False
        text = value.decode() if value.isascii() else value.decode("utf-8", "surrogateescape")
        headers[known] = text.rstrip(" \t")

    def on_headers_complete(self) -> None:
        """Note the end of the head; called by the parser."""
        self._head_complete = True

    def on_message_complete(self) -> None:
        """Note the end of the request; called by the parser."""
        self._complete = True

    def _read_head(self, data: bytes, start: int, guess: bytes) -> int:
        """Read a head, which may be the ``guess``: that object knows its hash already."""
        found = data.find(_HEAD_END, start)
        end = found + len(_HEAD_END)
        is_guess = len(guess) == end - start
        lines = guess if is_guess else data[start:end]
        if self._fed == 0:
            # A right guess was among the young ones, or is not.
            if (
                found > 0
                and (self._heads.old or not is_guess)
                and (size := self._read_known(lines, data, end))
            ):
                return size
            self._headers = {}
            self._is_plain, self._head_complete, self._complete = True, False, False
        if found < 0:
            return self._read_part(data, start)
        size = end - start
        if size > MAX_HEAD_BYTES or not lines.startswith(REQUEST_LINE) or not self._feed(lines[self._fed :]):
            return FOREIGN
        length = self._plain_length(lines)
        if length < 0:
            return FOREIGN
        self.head, self._lines = make_head(self._headers, length), lines
        self._fed, self._size = size, size + length
        return self._read_body(data, start)

    def _read_known(self, lines: bytes, data: bytes, end: int) -> int:
        """Read a request whose head came lately; 0 when it did not, or when the body is not there yet."""
        head = self._heads.get(lines)
        if head is None or end + head.length > len(data):
            return 0
        self.head, self.body = head, data[end : end + head.length]
        return len(lines) + head.length

    def _read_part(self, data: bytes, start: int) -> int:
        """Read the beginning of a head, so that one that is broken is known as early as aiohttp knows it."""
        size = len(data) - start
        can_be_plain = (
            data.startswith(REQUEST_LINE, start)
            if size >= len(REQUEST_LINE)
            else REQUEST_LINE.startswith(data[start:])
        )
        if size > MAX_HEAD_BYTES or not can_be_plain or not self._feed(data[start + self._fed :]):
            return FOREIGN
        self._fed = size
        return FOREIGN if self._head_complete else INCOMPLETE

    def _plain_length(self, lines: bytes) -> int:
        """Give the length of the body; ``FOREIGN`` when the head, of these lines, is not plain."""
        headers = self._headers
        length = headers.get("content-length", "")
        if (
            not self._head_complete
            or not self._is_plain
            or "host" not in headers
            or not (length.isascii() and length.isdigit() and len(length) <= MAX_LENGTH_DIGITS)
            or ("connection" in headers and headers["connection"].lower() not in _CONNECTIONS)
            or (len(lines) > MAX_HEADERS * MIN_LINE_BYTES and lines.count(b"\n") > MAX_HEADERS)
        ):
            return FOREIGN
        size = int(length)
        return size if size <= MAX_BODY_BYTES else FOREIGN

    def _read_body(self, data: bytes, start: int) -> int:
        end = start + self._size
        if len(data) < end:
            return INCOMPLETE
        self.body = data[start + self._fed : end]
        # With no body the parser has seen the end of the request together with its head.
        if self._complete is bool(self.body) or (self.body and not self._feed(self.body)):
            return FOREIGN
        if not self._complete:
            return FOREIGN
        self._heads.remember(self._lines, self.head)
        size, self._size, self._fed = self._size, 0, 0
        return size

    def _feed(self, data: bytes) -> bool:
        """Show the parser what comes next; False when it does not like it."""
        try:
            self._parser.feed_data(data)  # of nothing it makes nothing
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return False
        return True

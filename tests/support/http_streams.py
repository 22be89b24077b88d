"""Bytes that senders may send: requests that are plain, odd or broken."""

from typing import Final

from tests.support.public_server import EVENT

HEAD: Final = b"POST /api/event HTTP/1.1\r\n"
HOST: Final = b"Host: x\r\n"
TEXT: Final = b"Content-Type: text/plain\r\n"
LENGTH: Final = b"Content-Length: %d\r\n" % len(EVENT)
FORM: Final = b"n=pageview&u=https%3A%2F%2Fe.com%2F&d=e.com"
MULTIPART: Final = (
    b"".join(
        b'--XX\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % pair
        for pair in [(b"n", b"pageview"), (b"u", b"https://e.com/"), (b"d", b"e.com")]
    )
    + b"--XX--\r\n"
)


def post(*lines: bytes, body: bytes = EVENT, kind: bytes = b"text/plain") -> bytes:
    """Give a well-framed event with more header lines."""
    more = b"".join(line + b"\r\n" for line in lines)
    return HEAD + HOST + b"Content-Type: %b\r\nContent-Length: %d\r\n%b\r\n" % (kind, len(body), more) + body


def framed(*lines: bytes, body: bytes = EVENT) -> bytes:
    """Give an event whose framing is in the lines alone."""
    return HEAD + HOST + TEXT + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


CHUNKED: Final = b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT)
_N: Final = b"%d" % len(EVENT)

PLAIN: Final[dict[str, bytes]] = {
    "a tracker's": post(),
    "JSON": post(kind=b"application/json"),
    "JSON with a format that is refused": post(
        body=EVENT[:-1] + b',"_format":"html"}', kind=b"application/json"
    ),
    "broken JSON": post(body=b"{", kind=b"application/json"),
    "a form": post(body=FORM, kind=b"application/x-www-form-urlencoded"),
    "a form that changes its method": post(
        body=FORM + b"&_method=PUT", kind=b"application/x-www-form-urlencoded"
    ),
    "a form with bytes that are no text": post(body=b"n=%ff", kind=b"application/x-www-form-urlencoded"),
    "a multipart form": post(body=MULTIPART, kind=b"multipart/form-data; boundary=XX"),
    "no content type": HEAD + HOST + LENGTH + b"\r\n" + EVENT,
    "an unknown content type": post(kind=b"nonsense"),
    "an empty content type": post(kind=b""),
    "no body": post(body=b""),
    "a body that is no event": post(body=b"[]"),
    "a body of bytes": post(body=bytes(range(256))),
    "the longest body": post(body=EVENT + b" " * (16_384 - len(EVENT))),
    "lower-case names": HEAD + (HOST + TEXT + LENGTH).lower() + b"\r\n" + EVENT,
    "odd-case names": HEAD + (HOST + TEXT + LENGTH).swapcase() + b"\r\n" + EVENT,
    "spaces around values": HEAD
    + b"Host:x\r\nContent-Type:  text/plain \t\r\nContent-Length:\t%b \r\n\r\n" % _N
    + EVENT,
    "keep-alive": post(b"Connection: Keep-Alive"),
    "an address": post(b"X-Forwarded-For: 203.0.113.7, 10.0.0.1", b"User-Agent: Firefox"),
    "a class": post(b"X-Plausible-IP: 203.0.113.9", b"x-plausible-ip-type: dc_ip"),
    "bytes that are no text": post(b"User-Agent: Fire\xfffox \xc3\x28"),
    "a tab in a value": post(b"User-Agent: Fire\tfox"),
    "an Accept that is refused": post(b"Accept: text/html"),
    "an Accept that is taken": post(b"Accept: application/json"),
    "a name of its own": post(b"X-Request-Id: " + b"r" * 20),
    "a name that is refused": post(b"X-Request-Id: r\xc3\xa9"),
    "unknown headers twice": post(b"X-A: 1", b"X-A: 2", b"Cookie: a=b", b"Cookie: c=d"),
    "a compressed body": post(b"Content-Encoding: gzip"),
    "leading zeros": framed(b"Content-Length: 000" + _N),
}
"""Requests that the short way takes, each followed by another."""

ODD: Final[dict[str, bytes]] = {
    "chunked": framed(b"Transfer-Encoding: chunked", body=CHUNKED),
    "chunked in pieces": framed(
        b"Transfer-Encoding: Chunked", body=b"1;x=y\r\n{\r\n1\r\n}\r\n0\r\nA: b\r\n\r\n"
    ),
    "expect": framed(b"Content-Length: " + _N, b"Expect: 100-continue"),
    "expect something else": framed(b"Content-Length: " + _N, b"Expect: miracles"),
    "expect what is no text": framed(b"Content-Length: " + _N, b"Expect: mir\xffcles"),
    "no length": framed(body=b""),
    "a query": post().replace(b"/api/event", b"/api/event?x=1"),
    "a fragment": post().replace(b"/api/event", b"/api/event#x"),
    "another path": post().replace(b"/api/event", b"/api/eventually"),
    "an absolute URL": post().replace(b"/api/event", b"http://x/api/event"),
    "an escaped path": post().replace(b"/api/event", b"/api/even%74"),
    "a PUT": post().replace(b"POST", b"PUT"),
    "a GET": b"GET /api/system/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "a preflight": b"OPTIONS /api/event HTTP/1.1\r\nHost: x\r\nAccess-Control-Request-Method: POST\r\n\r\n",
    "empty lines before": b"\r\n\r\n" + post(),
    "a long body": post(body=EVENT + b" " * 16_385),
    "a body too long": post(body=b" " * 1_000_001),
    "a long head": post(*[b"X-%d: %b" % (number, b"x" * 900) for number in range(10)]),
    "many headers": post(*[b"X-%d: x" % number for number in range(120)]),
    "an address twice": post(b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-For: 203.0.113.8"),
    "Accept twice": post(b"Accept: text/html", b"Accept: */*"),
    "two spaces": post().replace(b"POST ", b"POST  "),
    "several connection options": post(b"Connection: keep-alive, te"),
    "Proxy-Connection": post(b"Proxy-Connection: keep-alive"),
}
"""Requests that aiohttp takes."""

LAST_ONES: Final[dict[str, bytes]] = {
    "close": post(b"Connection: close"),
    "close in capitals": post(b"Connection: CLOSE"),
    "close among others": post(b"Connection: te, close"),
    "an upgrade to nothing known": post(b"Connection: close, upgrade", b"Upgrade: h2c"),
    "HTTP/1.0": post().replace(b"HTTP/1.1", b"HTTP/1.0"),
}
"""Requests after which the sender wants no other."""

BROKEN: Final[dict[str, bytes]] = {
    "both framings": framed(b"Content-Length: " + _N, b"Transfer-Encoding: chunked", body=CHUNKED),
    "both framings, the other way": framed(
        b"Transfer-Encoding: chunked", b"Content-Length: " + _N, body=CHUNKED
    ),
    "the length twice": framed(b"Content-Length: " + _N, b"Content-Length: " + _N),
    "two lengths": framed(b"Content-Length: " + _N, b"Content-Length: 5"),
    "a list of lengths": framed(b"Content-Length: " + _N + b", " + _N),
    "a negative length": framed(b"Content-Length: -1"),
    "a length with a sign": framed(b"Content-Length: +" + _N),
    "a length in hexadecimal": framed(b"Content-Length: 0x10"),
    "a length of letters": framed(b"Content-Length: ten"),
    "an empty length": framed(b"Content-Length:"),
    "a length beyond 64 bits": framed(b"Content-Length: 99999999999999999999999"),
    "a length with a space inside": framed(b"Content-Length: 4 7"),
    "another transfer coding": framed(b"Transfer-Encoding: gzip"),
    "chunked is not the last": framed(b"Transfer-Encoding: chunked, gzip", body=CHUNKED),
    "chunked spelt oddly": framed(b"Transfer-Encoding: xchunked", body=CHUNKED),
    "a folded line": post(b"X-A: 1\r\n 2"),
    "a folded line with a tab": post(b"X-A: 1\r\n\t2"),
    "a folded length": framed(b"Content-Length:\r\n " + _N),
    "a bare line feed": post(b"X-A: 1\nX-B: 2"),
    "bare line feeds only": post().replace(b"\r\n", b"\n"),
    "a head that ends with bare line feeds": framed(b"Content-Length: " + _N).replace(b"\r\n\r\n", b"\n\n"),
    "a head that ends half bare": framed(b"Content-Length: " + _N).replace(b"\r\n\r\n", b"\r\n\n"),
    "a bare carriage return": post(b"X-A: 1\rX-B: 2"),
    "a space before the colon": framed(b"Content-Length : " + _N),
    "a space before the name": HEAD + b" " + HOST + TEXT + LENGTH + b"\r\n" + EVENT,
    "no colon": post(b"nonsense"),
    "no name": post(b": x"),
    "a name with a space": post(b"X A: 1"),
    "a name with a bracket": post(b"X(A): 1"),
    "a name of no ASCII": post(b"X\xc3\xa9: 1"),
    "a NUL in a value": post(b"X-A: a\0b"),
    "a NUL in a name": post(b"X\0: a"),
    "a bell in a value": post(b"X-A: a\x07b"),
    "no host": HEAD + TEXT + LENGTH + b"\r\n" + EVENT,
    "two hosts": post(b"Host: y"),
    "two content types": post(b"Content-Type: application/json"),
    "two user agents": post(b"User-Agent: a", b"User-Agent: b"),
    "a header of 8,193 bytes": post(b"X-A: " + b"x" * 8193),
    "129 headers": post(*[b"X-%d: x" % number for number in range(127)]),
    "an old websocket": post(b"Sec-WebSocket-Key1: x"),
    "another version": post().replace(b"HTTP/1.1", b"HTTP/1.2"),
    "no version": post().replace(b" HTTP/1.1", b""),
    "a method in small letters": post().replace(b"POST", b"post"),
    "a space before": b" " + post(),
    "garbage": b"garbage\r\n\r\n",
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a chunk of no size": framed(b"Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"),
    "a chunk with a bare line feed": framed(b"Transfer-Encoding: chunked", body=b"2\n{}\r\n0\r\n\r\n"),
    "a chunk longer than it says": framed(b"Transfer-Encoding: chunked", body=b"1\r\n{}\r\n0\r\n\r\n"),
}
"""What is refused, and the connection closed, whatever comes after it."""

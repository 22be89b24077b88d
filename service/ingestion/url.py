"""URLs as the reference splits them: by the regular expression of RFC 3986, appendix B, and nothing else.

No URL is malformed and nothing is normalised, so odd URLs come out as they came in (reference 3.3-3.5): the
scheme is lower-cased, the host is not; user and port are split off; the brackets of an IPv6 host go; without
``//`` there is no host. Percent-decoding can yield bytes that are no UTF-8; they are kept as lone surrogates
(PEP 383).
"""

import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from service.ingestion.text import WHITE_SPACE

_SPLIT: Final = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?"  # scheme
    r"(?://([^/?#]*))?"  # authority
    r"([^?#]*)"  # path
    r"(?:\?([^#]*))?"  # query
    r"(?:#(.*))?"  # fragment; ends at a line break, as there
)
_HOST: Final = re.compile(r"(?:.*@)?(\[[a-zA-Z0-9:.]*\]|[^:]*)")


class Url(NamedTuple):
    """The parts of a URL. ``host`` is None without ``//`` and empty when nothing follows it, as in ``file:///x``."""

    scheme: str | None
    host: str | None
    path: str
    query: str | None
    fragment: str | None


EMPTY: Final = Url(scheme=None, host=None, path="", query=None, fragment=None)


def split(text: str) -> Url:
    """Split any text as a URL."""
    match = _SPLIT.match(text)
    assert match is not None, "every part is optional, so every text matches"
    scheme, authority, path, query, fragment = match.groups()
    return Url(
        scheme.lower() if scheme else None,
        _host(authority) if authority else authority,
        path,
        query,
        fragment or None,
    )


def sanitise_host(host: str) -> str:
    """Trim white space, then remove one leading ``www.``; the case stays."""
    return host.strip(WHITE_SPACE).removeprefix("www.")


def percent_decode(text: str) -> str:
    """Decode ``%41``; a ``%`` without two hexadecimal digits stays, and so does ``+``."""
    if "%" not in text:
        return text
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def decode_query(query: str) -> dict[str, str]:
    """Decode form pairs separated by ``&``; without ``=`` the value is empty, the last duplicate wins."""
    if not query:
        return {}
    if "+" in query:
        query = query.replace("+", " ")
    pairs = (part.partition("=") for part in query.split("&"))
    if "%" not in query:
        return {key: value for key, _, value in pairs}
    return {percent_decode(key): percent_decode(value) for key, _, value in pairs}


def _host(authority: str) -> str | None:
    """Take user, port and brackets off; None when no host is left, as in ``http://:80/``."""
    if "@" not in authority and ":" not in authority and "[" not in authority and "]" not in authority:
        return authority
    match = _HOST.match(authority)
    assert match is not None, "both alternatives match the empty text"
    return match[1].lstrip("[").rstrip("]") if match[1] else None

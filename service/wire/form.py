"""HTML forms as a body: urlencoded and multipart, to one dict of fields. Source: reference section 1.2.

- A field is a text; the last of several with one name wins.
- ``p[author]=Ann`` makes an object ``p`` of texts, one level deep; anything deeper is an empty object.
- A file in a multipart form is an empty object: no field of an event takes one.
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

MAX_FIELDS: Final = 1000
"""Security limit: a form with more is refused before its fields are read."""

MAX_PART_HEADER_BYTES: Final = 8192
"""Security limit on the headers of one part of a multipart form."""

Fields = dict[str, object]

_BOUNDARY: Final = re.compile(r';\s*boundary=(?:"([^"]{1,200})"|([^\s";,]{1,200}))', re.IGNORECASE)
_NAME: Final = re.compile(r';\s*name=(?:"((?:[^"\\]|\\.)*)"|([^\s";]+))', re.IGNORECASE)
_FILE_NAME: Final = re.compile(r";\s*filename\*?=", re.IGNORECASE)
_MEMBER: Final = re.compile(r"([^\[\]]+)\[([^\[\]]+)\]")


class FormError(ValueError):
    """The body is no such form, or has too many fields."""


def decode_urlencoded(body: bytes) -> Fields:
    """Decode ``a=1&b=2``. Raises FormError, or UnicodeDecodeError when a name or value is no UTF-8."""
    if not body:
        return {}
    if body.count(b"&") >= MAX_FIELDS:
        raise FormError(f"a form of more than {MAX_FIELDS} fields")
    pairs = (part.partition(b"=") for part in body.replace(b"+", b" ").split(b"&"))
    return _collect((_percent_decode(name), _percent_decode(value)) for name, _, value in pairs)


def decode_multipart(body: bytes, content_type: str) -> Fields:
    """Decode a multipart form. Raises FormError, or UnicodeDecodeError when a name or value is no UTF-8."""
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise FormError("no boundary")
    delimiter = b"\r\n--" + (match[1] or match[2]).encode("utf-8", "surrogateescape")
    parts = (b"\r\n" + body).split(delimiter, MAX_FIELDS + 2)
    end = next((index for index, part in enumerate(parts) if index and part.startswith(b"--")), None)
    if end is None:
        raise FormError(f"no end of the form within {MAX_FIELDS} fields")
    return _collect(field for part in parts[1:end] if (field := _decode_part(part)) is not None)


def _decode_part(part: bytes) -> tuple[str, object] | None:
    """Give name and value; None for a part that has no name."""
    head, separator, value = part.partition(b"\r\n\r\n")
    if not separator or len(head) > MAX_PART_HEADER_BYTES:
        raise FormError("a part without headers, or with too many")
    for line in head.decode("utf-8").split("\r\n"):
        header, _, content = line.partition(":")
        if header.strip().lower() == "content-disposition" and (match := _NAME.search(content)):
            name = match[2] if match[1] is None else match[1].replace('\\"', '"')
            return name, {} if _FILE_NAME.search(content) else value.decode("utf-8")
    return None


def _collect(pairs: Iterable[tuple[str, object]]) -> Fields:
    fields: Fields = {}
    for name, value in pairs:
        base, bracket, _ = name.partition("[")
        if not bracket or not base:
            fields[name] = value
            continue
        member = _MEMBER.fullmatch(name)
        members = fields.get(base)
        if not isinstance(members, dict):
            members = fields[base] = {}
        if member is not None:
            members[member[2]] = value
    return fields


def _percent_decode(text: bytes) -> str:
    return unquote_to_bytes(text).decode("utf-8")

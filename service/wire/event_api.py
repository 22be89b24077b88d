"""The body of ``POST /api/event`` as a ``RawEvent``, whatever its content type. Source: reference 1.2.

The content type decides who reads the body, how long it may be, and how trouble is told:

- ``application/json`` and ``…/…+json``: 8 MB; trouble is told by the error view (``Refused``);
- forms, urlencoded (1 MB) and multipart (8 MB): the fields are the event's, all of them texts;
- no content type at all: nothing is read, the event is empty;
- everything else, ``text/plain`` above all: 1 MB of JSON; trouble is told as a field error of ``request``.

Beyond the reference: a body that is no UTF-8 anywhere is refused, while the size of numbers in unknown fields
is not looked at; an integer of more than 4,300 digits is malformed.
"""

import enum
from typing import Final

import msgspec
from msgspec import Struct

from service.ingestion.raw_event import RawEvent, UsualEvent
from service.ingestion.request import FieldError
from service.wire import form, strict_json

MAX_RAW_BYTES: Final = 1_000_000
MAX_URLENCODED_BYTES: Final = 1_000_000
MAX_PARSED_BYTES: Final = 8_000_000

BAD_REQUEST: Final = 400
TOO_LARGE: Final = 413
UNSUPPORTED_MEDIA_TYPE: Final = 415

UNPARSABLE: Final = FieldError("request", "Unable to parse request body as json")


class BodyKind(enum.Enum):
    """Who reads the body."""

    ABSENT = "absent"
    RAW = "raw"
    JSON = "json"
    URLENCODED = "urlencoded"
    MULTIPART = "multipart"

    @property
    def limit_bytes(self) -> int:
        """The longest body that is read."""
        return _LIMITS_BYTES[self]


RAW: Final = BodyKind.RAW
"""By a name of its own, because Python 3.11 takes long to find a member of an enumeration."""

_LIMITS_BYTES: Final = {
    BodyKind.ABSENT: 0,
    BodyKind.RAW: MAX_RAW_BYTES,
    BodyKind.JSON: MAX_PARSED_BYTES,
    BodyKind.URLENCODED: MAX_URLENCODED_BYTES,
    BodyKind.MULTIPART: MAX_PARSED_BYTES,
}


class Refused(Struct, frozen=True):
    """The body cannot be read; ``status`` is what the error view answers."""

    status: int


Decoded = RawEvent | list[FieldError] | Refused

_EVENT: Final = msgspec.json.Decoder(RawEvent)
USUAL_EVENT: Final = msgspec.json.Decoder(UsualEvent)
"""For ``strict_json.try_decode``, which gives None for what is no usual event."""


def body_kind(content_type: str | None) -> BodyKind:
    """Tell from the header who reads the body."""
    if content_type == "text/plain":  # what trackers send
        return RAW
    if content_type is None:
        return BodyKind.ABSENT
    media_type = content_type.partition(";")[0].strip().lower()
    kind, slash, subtype = media_type.partition("/")
    if media_type == "application/json" or (kind and slash and subtype.endswith("+json")):
        return BodyKind.JSON
    if media_type == "application/x-www-form-urlencoded":
        return BodyKind.URLENCODED
    if kind == "multipart" and subtype in ("form-data", "mixed"):
        return BodyKind.MULTIPART
    return BodyKind.RAW


def decode_event(body: bytes, kind: BodyKind, *, content_type: str | None) -> Decoded:
    """Read a body of at most ``kind.limit_bytes``. Never raises, whatever the bytes are."""
    if kind is BodyKind.RAW:
        return decode_raw(body)
    if kind is BodyKind.JSON:
        return _decode_parsed(body)
    if kind is BodyKind.ABSENT:
        return RawEvent()
    return _decode_form(body, kind, content_type or "")


def decode_raw(body: bytes) -> RawEvent | list[FieldError]:
    """Read JSON under a type that says nothing, as trackers send it. Never raises.

    As ``strict_json.decode`` does it, without the difference that it makes between errors.
    """
    event = strict_json.try_decode(body, _EVENT)
    return [UNPARSABLE] if event is None else event


def too_large(kind: BodyKind) -> list[FieldError] | Refused:
    """Say that the body was longer than ``kind.limit_bytes``."""
    return [UNPARSABLE] if kind is BodyKind.RAW else Refused(TOO_LARGE)


def broken_off(kind: BodyKind, *, status: int) -> list[FieldError] | Refused:
    """Say that the body did not come to its end; ``status`` is the error view's, where that tells it."""
    return [UNPARSABLE] if kind is BodyKind.RAW else Refused(status)


def _decode_parsed(body: bytes) -> Decoded:
    """Read JSON as Plug does: an empty body is an empty object, what is no object has no fields."""
    if not body:
        return RawEvent()
    try:
        return strict_json.decode(body, _EVENT)
    except strict_json.NotAnObjectError:
        return RawEvent()
    except strict_json.JsonError:
        return Refused(BAD_REQUEST)


def _decode_form(body: bytes, kind: BodyKind, content_type: str) -> Decoded:
    try:
        if kind is BodyKind.URLENCODED:
            fields = form.decode_urlencoded(body)
        else:
            fields = form.decode_multipart(body, content_type)
    except UnicodeDecodeError:  # a ValueError as well, so it comes first
        return Refused(UNSUPPORTED_MEDIA_TYPE)
    except form.FormError:
        return Refused(BAD_REQUEST)
    return msgspec.convert(fields, RawEvent)

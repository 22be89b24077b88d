"""JSON read so that no bytes of a stranger can raise anything but ``JsonError``.

msgspec tells trouble in three ways (its own error, UnicodeDecodeError, RecursionError) and lets bytes that
are no UTF-8 pass in members that it skips; here all of that is one error.
"""

from typing import Final, TypeVar

import msgspec

T = TypeVar("T")

TROUBLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that decoding UTF-8 bytes can raise."""

_WHITE_SPACE: Final = b" \t\r\n"
_SHAPE: Final = msgspec.json.Decoder(msgspec.Raw)


class JsonError(ValueError):
    """The bytes are no JSON, or more deeply nested than is read."""


class NotAnObjectError(JsonError):
    """They are JSON, but a list or a scalar where an object was asked for."""


def decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode UTF-8 bytes. Raises NotAnObjectError or JsonError, and nothing else."""
    try:
        if not data.isascii():
            str(data, "utf-8")
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        if _is_well_formed(data) and not data.lstrip(_WHITE_SPACE).startswith(b"{"):
            raise NotAnObjectError(str(error)) from None
        raise JsonError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JsonError(str(error)) from None
    except RecursionError:
        raise JsonError("nested too deeply") from None


def try_decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """Decode UTF-8 bytes; None when that is not possible, with no look at why. Never raises."""
    try:
        if not data.isascii():
            str(data, "utf-8")
        return decoder.decode(data)
    except TROUBLE:
        return None


def _is_well_formed(data: bytes) -> bool:
    """Read to the end, because a wrong shape is noticed before the first malformed byte."""
    try:
        _SHAPE.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True

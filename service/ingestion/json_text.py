"""JSON inside a text: trackers may send props and revenue as a text that holds an object (reference 3.2)."""

from typing import Any, Final

import msgspec

_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


def find_object(value: object) -> dict[str, Any] | None:
    """Give the object that the value is, or that its text holds; None for everything else."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, str):
        return None
    try:
        return _OBJECT.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None

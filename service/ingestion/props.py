"""Custom properties: which pairs of a request are kept, and as what text. Source: reference section 3.7.

Of more than 30 pairs those with the largest keys are kept. So does the original with up to 32 keys; with
more, its survivors follow the hash order of its runtime and cannot be told, so the same rule goes on.
"""

from typing import Any, Final

from service.ingestion.json_text import find_object
from service.ingestion.text import MAX_BYTES_OF_CHAR, has_at_most_bytes, is_blank

MAX_PROPS: Final = 30
MAX_KEY_BYTES: Final = 300
MAX_VALUE_BYTES: Final = 2000
SHORT_KEY_CHARS: Final = MAX_KEY_BYTES // MAX_BYTES_OF_CHAR
SHORT_VALUE_CHARS: Final = MAX_VALUE_BYTES // MAX_BYTES_OF_CHAR
"""So short a text is within its limit, whatever it holds."""
SIZE_MESSAGE: Final = "keys should have at most 300 bytes and values 2000 bytes"

PATH_EVENTS: Final = frozenset({"404", "WP Form Completions", "Form: Submission"})
"""Events that get the property ``path`` from the server when the sender gives none."""

_SCIENTIFIC_FROM: Final = 2.0**53

Props = tuple[tuple[str, str], ...]


def build_props(source: object, *, event_name: str | None, pathname: str) -> Props:
    """Give the pairs that are kept, ascending by key; anything but an object (or its text) gives none."""
    given = source if type(source) is dict else find_object(source)
    pairs: list[tuple[str, str]] = []
    for key, value in (given or {}).items():
        text = value if type(value) is str else _text(value)
        # Nearly always the first letter tells that neither is blank, without a call of ours.
        if text and key and not (text.isspace() and is_blank(text)) and not (key.isspace() and is_blank(key)):
            pairs.append((key, text))
    add_path = event_name in PATH_EVENTS and all(key != "path" for key, _ in pairs)
    if not pairs and not add_path:
        return ()
    pairs.sort()
    room = MAX_PROPS - add_path
    if len(pairs) > room:
        del pairs[: len(pairs) - room]
    if add_path:
        pairs.append(("path", pathname))
        pairs.sort()
    return tuple(pairs)


def has_allowed_sizes(props: Props) -> bool:
    """Whether every key and every value is short enough; one that is not makes the whole request invalid."""
    for key, value in props:
        is_short = len(key) <= SHORT_KEY_CHARS and len(value) <= SHORT_VALUE_CHARS
        if not is_short and not _has_allowed_size(key, value):
            return False
    return True


def _has_allowed_size(key: str, value: str) -> bool:
    return has_at_most_bytes(key, MAX_KEY_BYTES) and has_at_most_bytes(value, MAX_VALUE_BYTES)


def float_text(number: float) -> str:
    """Write a float as Erlang does: the shorter of positional and scientific, positional when they tie.

    There is always a digit after the point; from 2⁵³ on it is always scientific.
    """
    sign, digits, exponent = _decompose(number)
    scientific = f"{digits[0]}.{digits[1:] or '0'}e{exponent}"
    if abs(number) >= _SCIENTIFIC_FROM:
        return sign + scientific
    positional = _positional(digits, exponent)
    return sign + (positional if len(positional) <= len(scientific) else scientific)


def _text(value: Any) -> str:
    """Give the text of a value that is none; empty when its pair is to be dropped."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return str(value)
    return float_text(value) if isinstance(value, float) else ""


def _decompose(number: float) -> tuple[str, str, int]:
    """Give sign, shortest digits that read back as the number, and the exponent of the first digit."""
    mantissa, _, exponent_text = repr(number).partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    leading_zeros = len(whole) + len(fraction) - len(digits)
    exponent = int(exponent_text or 0) + len(whole) - 1 - leading_zeros
    return (sign, digits.rstrip("0"), exponent) if digits else (sign, "0", 0)


def _positional(digits: str, exponent: int) -> str:
    if exponent < 0:
        return f"0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    return f"{whole}.{digits[exponent + 1 :] or '0'}"

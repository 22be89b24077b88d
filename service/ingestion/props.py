"""Custom properties: which pairs of a request are kept, and as what text. Source: reference section 3.7.

Of more than 30 pairs those with the largest keys are kept. So does the original with up to 32 keys; with
more, its survivors follow the hash order of its runtime and cannot be told, so the same rule goes on.
"""

from typing import Any, Final

from service.ingestion.json_text import find_object
from service.ingestion.text import has_at_most_bytes, is_blank

MAX_PROPS: Final = 30
MAX_KEY_BYTES: Final = 300
MAX_VALUE_BYTES: Final = 2000
SIZE_MESSAGE: Final = "keys should have at most 300 bytes and values 2000 bytes"

PATH_EVENTS: Final = frozenset({"404", "WP Form Completions", "Form: Submission"})
"""Events that get the property ``path`` from the server when the sender gives none."""

_SCIENTIFIC_FROM: Final = 2.0**53

Props = tuple[tuple[str, str], ...]


def build_props(source: object, *, event_name: str | None, pathname: str) -> Props:
    """Give the pairs that are kept, ascending by key; anything but an object (or its text) gives none."""
    given = find_object(source)
    pairs = [(key, text) for key, value in given.items() if (text := _text(key, value))] if given else []
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
    return all(
        has_at_most_bytes(key, MAX_KEY_BYTES) and has_at_most_bytes(value, MAX_VALUE_BYTES)
        for key, value in props
    )


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


def _text(key: str, value: Any) -> str:
    """Give the value's text; empty when the pair is to be dropped."""
    if isinstance(value, str):
        text = value
    elif value is True:
        text = "true"
    elif value is False:
        text = "false"
    elif isinstance(value, int):
        text = str(value)
    elif isinstance(value, float):
        text = float_text(value)
    else:
        return ""
    return "" if is_blank(text) or is_blank(key) else text


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

"""The ``traceparent`` header of W3C Trace Context, levels 1 and 2: who called, and whether that is sampled.

Its companion ``tracestate`` is left out, as the specification allows: nothing here would read it.
"""

import re
from typing import Final

from msgspec import Struct

_TRACEPARENT: Final = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)
_FIRST_VERSION: Final = "00"
_NO_VERSION: Final = "ff"
_SAMPLED: Final = 1


class TraceParent(Struct, frozen=True):
    """The span that caused a request: its trace, its own id, and whether its sender keeps it."""

    trace_id: int
    span_id: int
    sampled: bool


def parse_traceparent(text: str) -> TraceParent | None:
    """Give what the header says; None for everything that is no valid traceparent. Never raises.

    Later versions may have more fields at the end, the first version may not.
    """
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == _NO_VERSION or (version == _FIRST_VERSION and more is not None):
        return None
    parent = TraceParent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))
    return parent if parent.trace_id and parent.span_id else None


def format_traceparent(parent: TraceParent) -> str:
    """Write the header."""
    return f"00-{parent.trace_id:032x}-{parent.span_id:016x}-{int(parent.sampled):02x}"

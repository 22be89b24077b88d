"""One span as it is sent."""

from typing import NamedTuple

from opentelemetry.trace import SpanContext, SpanKind

Attributes = tuple[tuple[str, str | int], ...]
"""The values of a key are all of one kind."""


class Span(NamedTuple):
    """A span, whole; times in UTC nanoseconds.

    Not the SDK's class: that takes a dictionary and an object for each pair of ids, and three times as long.
    """

    name: str
    kind: SpanKind
    trace_id: int
    span_id: int
    parent_id: int
    """0: it has none."""
    has_remote_parent: bool
    began: int
    ended: int
    attributes: Attributes = ()
    measures: tuple[tuple[str, float], ...] = ()
    """The attributes that are hardly ever the same twice."""
    links: tuple[SpanContext, ...] = ()
    is_failed: bool = False

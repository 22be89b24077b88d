"""Every metric of the service: plain integers on the hot path, OpenTelemetry and Prometheus at the edge.

- ``catalogue``: every name, with its meaning; docs/telemetry.md is made from it.
- ``counting``: ``Telemetry``, to which call sites hand values.
- ``figures``: the plain values.
- ``export``, ``prometheus``: turn the values into OTLP and Prometheus' text when somebody asks.
"""

from service.telemetry import catalogue
from service.telemetry.catalogue import (
    telemetry_event_buffered,
    telemetry_event_dropped,
    telemetry_event_refused,
)
from service.telemetry.counting import MAX_TALLY_KEYS, OTHER_DOMAIN, TallyKey, Telemetry
from service.telemetry.figures import Distribution, Measured, Source

__all__ = [
    "MAX_TALLY_KEYS",
    "OTHER_DOMAIN",
    "Distribution",
    "Measured",
    "Source",
    "TallyKey",
    "Telemetry",
    "catalogue",
    "telemetry_event_buffered",
    "telemetry_event_dropped",
    "telemetry_event_refused",
]

"""What a metric is, and how Prometheus calls it."""

import re
from typing import Final, Literal

from msgspec import Struct

SECONDS: Final = "s"
BYTES: Final = "By"

UNIT_WORDS: Final = {SECONDS: "seconds", BYTES: "bytes"}
"""What Prometheus calls the units; those in braces are not part of its names."""


class Metric(Struct, frozen=True, kw_only=True):
    """One metric."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    """A counter only grows until the process ends; a gauge is the value of the moment."""
    unit: str
    """In UCUM, as OpenTelemetry wants it; ``{event}`` counts events."""
    meaning: str
    advice: str
    """What to do when it moves."""
    attributes: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Upper ends of a histogram's buckets, in its unit; above the last there is one more."""

    @property
    def prometheus_name(self) -> str:
        """The name in Prometheus, by OpenTelemetry's rules.

        The series of a histogram add ``_bucket``, ``_sum`` and ``_count``.
        """
        name = re.sub(r"[^A-Za-z0-9]+", "_", self.name)
        word = UNIT_WORDS.get(self.unit)
        if word is not None and word not in name.split("_"):
            name += f"_{word}"
        return f"{name}_total" if self.kind == "counter" else name


def prometheus_label(attribute: str) -> str:
    """Give the name that an attribute has in Prometheus."""
    return re.sub(r"[^A-Za-z0-9]+", "_", attribute)

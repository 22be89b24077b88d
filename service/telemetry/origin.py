"""Whose telemetry it is: the resource that metrics, spans and log lines carry.

The instance is the service on one data folder, and stays the same over restarts: a collector or Prometheus
then sees one process whose counters begin anew, and not a second one beside the first.
"""

from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

SERVICE: Final = "gatehouse"


def describe_origin(*, version: str, instance: str) -> Resource:
    """Give the resource; ``OTEL_RESOURCE_ATTRIBUTES`` adds to it, and goes before ``instance``."""
    named = {"service.name": SERVICE, "service.version": version}
    return Resource.create(
        {"service.instance.id": instance, **OTELResourceDetector().detect().attributes, **named}
    )

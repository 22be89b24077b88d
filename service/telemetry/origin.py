"""Whose telemetry it is: the resource that metrics, spans and log lines carry.

The instance is the service on one data folder, and stays the same over restarts: a collector or Prometheus
then sees one process whose counters begin anew, and not a second one beside the first.
"""

from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

SERVICE: Final = "gatehouse"


class Origin(Resource):
    """A resource that knows its hash.

    The SDK's makes JSON of itself each time, and the exporter asks for it once a span: a fifth of what one
    costs to be sent (opentelemetry-sdk 1.45; this can go when ``Resource.__hash__`` remembers).
    """

    def __init__(self, resource: Resource) -> None:
        super().__init__(dict(resource.attributes), resource.schema_url)
        self._hash = super().__hash__()

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)

    def __hash__(self) -> int:
        return self._hash


def describe_origin(*, version: str, instance: str) -> Resource:
    """Give the resource; ``OTEL_RESOURCE_ATTRIBUTES`` adds to it, and goes before ``instance``."""
    named = {"service.name": SERVICE, "service.version": version}
    found = {"service.instance.id": instance, **OTELResourceDetector().detect().attributes, **named}
    return Origin(Resource.create(found))

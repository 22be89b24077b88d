"""What the public listener needs to know and whom it asks: its settings, and the system as an interface."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from actors.messages import BuildResult
from actors.runtime import Envelope
from service.http.body import READ_TIMEOUT_S
from service.ingestion.request import Request
from service.tracing.records import RequestTrace
from service.wire.forwarded import TrustedProxies


class Build(Struct, frozen=True):
    """Which build of the service this is, as ``/api/system`` tells it."""

    version: str
    commit: str = ""
    created: str = ""
    tags: str = ""


class PublicSettings(Struct, frozen=True, kw_only=True):
    """The settings of the public listener."""

    trusted_proxies: TrustedProxies
    sender_token: str
    """What senders of batches must know; without one (empty) nobody may send any."""
    build: Build
    drop_reasons_header: bool = True
    geo_database: Callable[[], str]
    """Gives the type of the database of locations in force."""
    body_timeout_s: float = READ_TIMEOUT_S


class ReadinessReport(Protocol):
    """Whether events are taken, and the state of each part: ``ok`` or a sentence."""

    @property
    def ready(self) -> bool:
        """Whether events are taken."""

    @property
    def checks(self) -> Mapping[str, str]:
        """The state of each part by its name."""


class EventSystem(Protocol):
    """The running system, as the public listener sees it."""

    def offer(self, envelope: Envelope) -> None:
        """Judge the request of an ``Ingest``; the envelope is answered with BuildResult, perhaps at once."""

    def turns_away(self) -> bool:
        """Tell whether the next request is refused whatever it is; it is counted then."""

    def build_and_buffer(self, request: Request, trace: RequestTrace | None = None) -> Awaitable[BuildResult]:
        """Judge one request for each of its domains; ``trace`` follows it."""

    def build_and_buffer_batch(
        self, requests: Sequence[Request], trace: RequestTrace | None = None
    ) -> Awaitable[list[BuildResult]]:
        """Judge many; the results are in the order of the requests."""

    def readiness(self) -> ReadinessReport:
        """Tell whether events are taken, and what is wrong where something is."""

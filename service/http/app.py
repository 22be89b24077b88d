"""The public listener: what trackers, senders of batches and monitors reach. Source: reference section 1."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from service.clock import Clock
from service.http.answers import Answers
from service.http.events import BATCH_PATH, EventRoutes
from service.http.expectation import expecting
from service.http.health import HealthRoutes
from service.http.intake import EVENT_PATH, EventIntake
from service.http.lean.connection import Limits
from service.http.lean.door import Door
from service.http.lean.replies import ReplyBytes
from service.http.lean.runner import LeanParts, LeanRunner
from service.http.lean.watch import watch_requests
from service.http.settings import EventSystem, PublicSettings
from service.http.timing import timed
from service.telemetry import Telemetry
from service.tracing.spans import Tracing

MAX_LINE_BYTES: Final = 8192
"""Security limit on the request line, and on the value of one header, as in the reference's web server."""

KEEP_ALIVE_S: Final = 75.0

LINGER_S: Final = 1.0
"""How long the rest of a refused body is read and thrown away, so that its sender gets to see the answer."""


AIOHTTP_OPTIONS: Final[Mapping[str, Any]] = {
    "access_log": None,
    "handle_signals": False,
    "keepalive_timeout": KEEP_ALIVE_S,
    "lingering_time": LINGER_S,
    "max_line_size": MAX_LINE_BYTES,
    "max_field_size": MAX_LINE_BYTES,
    "auto_decompress": False,
}
"""What aiohttp's runner is told.

Bodies are taken as they are sent: the reference knows no ``content-encoding`` of requests either.
"""

USUAL_ANSWERS: Final[Mapping[str, Sequence[int]]] = {
    EVENT_PATH: (202, 400, 500, 503),
    BATCH_PATH: (200, 401, 500, 503),
}
"""Counted from 0 on, because Prometheus sees no growth to a first value: one 500 a day would not be seen."""

_LEAN_PARTS: Final = web.AppKey("lean_parts", LeanParts)


def public_app(
    *,
    system: EventSystem,
    settings: PublicSettings,
    clock: Clock,
    telemetry: Telemetry,
    tracing: Tracing | None = None,
    door: Door | None = None,
) -> web.Application:
    """Give the public listener as an aiohttp application; it keeps its own limits on bodies.

    ``door`` bounds its connections.
    """
    answers = Answers()
    intake = EventIntake(settings, clock)
    app = web.Application()
    health = HealthRoutes(system=system, settings=settings, answers=answers)
    events = EventRoutes(
        system=system, settings=settings, clock=clock, answers=answers, intake=intake, tracing=tracing
    )
    app.add_routes(expecting(timed(health.routes() + events.routes(), telemetry)))
    for path, statuses in USUAL_ANSWERS.items():
        for status in statuses:
            telemetry.request_durations("POST", path, status)
    app[_LEAN_PARTS] = LeanParts(
        system=system,
        intake=intake,
        replies=ReplyBytes(answers, clock),
        watch=watch_requests(telemetry, tracing, settings.trusted_proxies),
        limits=Limits(keep_alive_s=KEEP_ALIVE_S, body_s=settings.body_timeout_s, linger_s=LINGER_S),
        door=Door() if door is None else door,
    )
    return app


def public_runner(app: web.Application, *, shutdown_timeout_s: float = 60.0) -> web.AppRunner:
    """Give the runner of the public listener; add sites to it, and ``cleanup`` it to stop.

    Its connections take the short way for plain events. What still works ``shutdown_timeout_s`` after the
    cleanup began is cut off.
    """
    return LeanRunner(app, app[_LEAN_PARTS], shutdown_timeout=shutdown_timeout_s, **AIOHTTP_OPTIONS)

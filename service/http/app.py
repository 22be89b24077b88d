"""The public listener: what trackers, senders of batches and monitors reach. Source: reference section 1."""

from typing import Final

from aiohttp import web

from service.clock import Clock
from service.http.answers import Answers
from service.http.events import EventRoutes
from service.http.health import HealthRoutes
from service.http.settings import EventSystem, PublicSettings
from service.http.timing import timed
from service.telemetry import Telemetry
from service.tracing.spans import Tracing

MAX_LINE_BYTES: Final = 8192
"""Security limit on the request line, and on the value of one header, as in the reference's web server."""

KEEP_ALIVE_S: Final = 75.0

LINGER_S: Final = 1.0
"""How long the rest of a refused body is read and thrown away, so that its sender gets to see the answer."""


def public_app(
    *,
    system: EventSystem,
    settings: PublicSettings,
    clock: Clock,
    telemetry: Telemetry,
    tracing: Tracing | None = None,
) -> web.Application:
    """Give the public listener as an aiohttp application; it keeps its own limits on bodies."""
    answers = Answers()
    app = web.Application()
    health = HealthRoutes(system=system, settings=settings, answers=answers)
    events = EventRoutes(system=system, settings=settings, clock=clock, answers=answers, tracing=tracing)
    app.add_routes(timed(health.routes() + events.routes(), telemetry))
    return app


def public_runner(app: web.Application, *, shutdown_timeout_s: float = 60.0) -> web.AppRunner:
    """Give the runner of the public listener; add sites to it, and ``cleanup`` it to stop.

    What still works ``shutdown_timeout_s`` after that is cut off.

    Bodies are taken as they are sent: the reference knows no ``content-encoding`` of requests either.
    """
    return web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=shutdown_timeout_s,
        keepalive_timeout=KEEP_ALIVE_S,
        lingering_time=LINGER_S,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_LINE_BYTES,
        auto_decompress=False,
    )

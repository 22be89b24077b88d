"""Measures how long requests take, by the semantic conventions for HTTP servers: method, route, status."""

from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web

from service.clock import stopwatch
from service.telemetry import Telemetry

Handler = Callable[[web.Request], Awaitable[web.Response]]

UNKNOWN_ROUTE = "/{anything:.*}"
"""The pattern that takes what no other route does; it counts as none."""
CRASHED = 500


def timed(routes: list[web.RouteDef], telemetry: Telemetry) -> list[web.RouteDef]:
    """Give the routes with handlers that are measured; as they are when nobody reads the figures."""
    if not telemetry.detailed:
        return routes
    return [
        web.RouteDef(
            route.method,
            route.path,
            _timed(cast(Handler, route.handler), route.path, telemetry),
            route.kwargs,
        )
        for route in routes
    ]


def _timed(handler: Handler, path: str, telemetry: Telemetry) -> Handler:
    route = "" if path == UNKNOWN_ROUTE else path

    async def measure(request: web.Request) -> web.Response:
        began = stopwatch()
        try:
            response = await handler(request)
        except Exception:
            telemetry.record_request(request.method, route, CRASHED, stopwatch() - began)
            raise
        telemetry.record_request(request.method, route, response.status, stopwatch() - began)
        return response

    return measure

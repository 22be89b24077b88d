"""``Expect``: "100-continue" is met, anything else is 417.

aiohttp's own handler repeats what was expected in its answer, and answers 500 where that is no text.
"""

from typing import Final

from aiohttp import HttpVersion11, web

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


async def meet_expectation(request: web.Request) -> None:
    """Let the sender go on. Raises HTTPExpectationFailed."""
    if request.version != HttpVersion11:
        return
    if request.headers["Expect"].lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="Only 100-continue can be expected here.")
    await request.writer.write(CONTINUE)
    # It is no part of the answer, which may still become an error.
    request.writer.output_size = 0


def expecting(routes: list[web.RouteDef]) -> list[web.RouteDef]:
    """Give the routes with this handler of expectations."""
    return [
        web.RouteDef(
            route.method, route.path, route.handler, {**route.kwargs, "expect_handler": meet_expectation}
        )
        for route in routes
    ]

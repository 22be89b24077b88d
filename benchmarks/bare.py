"""The yardstick: an aiohttp handler behind a router that reads the body, decodes its JSON and answers 202.

What any service on aiohttp costs before it does something.
"""

import argparse
import asyncio

import msgspec
import uvloop
from aiohttp import web


async def take_event(request: web.Request) -> web.Response:
    """Decode the event and say thanks."""
    msgspec.json.decode(await request.read())
    return web.Response(status=202, text="ok")


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    app = web.Application()
    app.add_routes([web.post("/api/event", take_event)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.get_running_loop().create_future()


def main() -> None:
    """Serve on the port given."""
    parser = argparse.ArgumentParser(description="Answer 202 to every event.")
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()

"""A collector that takes everything: answers 200 to every POST, as OTLP over HTTP wants it."""

import argparse
import asyncio

import uvloop
from aiohttp import web


async def take(request: web.Request) -> web.Response:
    """Read it and say thanks; an empty body is the whole of OTLP's "all of it"."""
    await request.read()
    return web.Response(content_type="application/x-protobuf")


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    app = web.Application(client_max_size=2**26)
    app.add_routes([web.post("/v1/{signal}", take)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.get_running_loop().create_future()


def main() -> None:
    """Serve on the port given."""
    parser = argparse.ArgumentParser(description="Take OTLP and throw it away.")
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()

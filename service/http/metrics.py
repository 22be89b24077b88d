"""``GET /metrics``: the figures in Prometheus' text form, on a listener of their own."""

from aiohttp import web

from service.telemetry.prometheus import CONTENT_TYPE, PrometheusText


def metrics_app(text: PrometheusText) -> web.Application:
    """Give the application that answers ``GET /metrics`` and nothing else."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=text.render(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/metrics", show)])
    return app

"""Brings the figures of the service to whoever shall read them: a collector, ``GET /metrics``, or nobody."""

import asyncio
import platform
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from actors.system import System
from service import __version__
from service.cli.folder import name_instance
from service.config import Config, split_address
from service.http.listener import Listener, admin_runner
from service.ingestion.user_agent import UserAgents
from service.tables import WatchedTables
from service.telemetry import Measured, Source, Telemetry, catalogue


def wants_measures(config: Config) -> bool:
    """Tell whether anybody reads the figures."""
    return config.otlp_endpoint is not None or config.metrics_listen is not None


def sources(
    telemetry: Telemetry, system: System, loaded: WatchedTables, user_agents: UserAgents
) -> tuple[Source, ...]:
    """Give all that figures come from."""

    def measure_data() -> Iterable[Measured]:
        version = {"version": __version__, "python": platform.python_version()}
        yield Measured(catalogue.BUILD_INFO, 1, version)
        yield Measured(catalogue.USER_AGENTS_GIVEN_UP, user_agents.given_up)
        for name, cache in (loaded.caches | {"user_agents": user_agents.cache}).items():
            yield Measured(catalogue.CACHE_HITS, cache.hits, {"cache": name})
            yield Measured(catalogue.CACHE_MISSES, cache.misses, {"cache": name})

    return telemetry.measure, system.figures, measure_data


@asynccontextmanager
async def exporting(config: Config, read: Sequence[Source], *, stop_s: float) -> AsyncIterator[None]:
    """Send the figures to the collector while the block lasts, and once more at its end, within ``stop_s``.

    Without a collector nothing is done, and OpenTelemetry not even imported.
    """
    if config.otlp_endpoint is None:
        yield
        return
    from service.telemetry.export import MetricsExport, open_exporter

    exporter = open_exporter(config.otlp_endpoint, config.otlp_protocol)
    export = MetricsExport(exporter, read, version=__version__, instance=name_instance(config.data_dir))
    export.start()
    try:
        yield
    finally:
        await asyncio.to_thread(export.stop, timeout_s=stop_s)


@asynccontextmanager
async def metrics_listener(
    config: Config, read: Sequence[Source], *, stop_s: float
) -> AsyncIterator[str | None]:
    """Answer ``GET /metrics`` while the block lasts; gives the URL, None when it is not configured."""
    if config.metrics_listen is None:
        yield None
        return
    from service.http.metrics import metrics_app
    from service.telemetry.prometheus import PrometheusText

    listener = Listener(admin_runner(metrics_app(PrometheusText(read)), shutdown_timeout_s=stop_s))
    try:
        await listener.prepare()
        yield await listener.listen(*split_address(config.metrics_listen)) + "/metrics"
    finally:
        await listener.close()

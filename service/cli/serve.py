"""``gatehouse serve``: run the service until it is told to stop."""

import asyncio
import gc
import logging
import shlex
import signal
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.cli.invocation import invocation

if TYPE_CHECKING:
    from service.cli.preparation import Preparation
    from service.config import Config

GC_THRESHOLDS: Final = (5_000, 10, 100)
SWITCH_S: Final = 0.0001
"""How long a thread that computes keeps the loop waiting, each time that the loop wants to go on."""
RETRY_S: Final = 2.0
"""How often a database that is away is tried again."""

FIRST_STEPS: Final = """
Gatehouse takes events for {domain}. Send a first one from another terminal:

  curl -i {url}/api/event -H 'Content-Type: text/plain' \\
    -H 'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0' \\
    -d '{{"n":"pageview","u":"http://{domain}/hello","d":"{domain}"}}'

and a second later read it back:

  {command} sql "SELECT timestamp, name, hostname, pathname, browser FROM events_v2"

Ctrl-C stops it. More: {command} --help
"""

log = logging.getLogger(__name__)


def serve(
    ctx: typer.Context,
    *,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", help="Where trackers send their events.")
    ] = None,
    admin_listen: Annotated[
        str | None, typer.Option("--admin-listen", metavar="HOST:PORT", help="Where the admin API answers.")
    ] = None,
    first_steps: Annotated[
        str | None,
        typer.Option("--first-steps", metavar="DOMAIN", help="Print how to send an event for this site."),
    ] = None,
) -> None:
    """Take events until SIGTERM or Ctrl-C, then answer and insert what is in flight, and end.

    gatehouse serve --listen 0.0.0.0:8000

    A second Ctrl-C ends it at once; what was acknowledged is in the journal until the next start inserts it.
    """
    import uvloop

    from service.logs import configure_logging

    sys.setswitchinterval(SWITCH_S)
    config = invocation(ctx).with_flags({"listen": listen, "admin_listen": admin_listen}).config
    logs = configure_logging(level=config.log_level, output_format=config.log_format, also=_otlp_logs(config))
    with closing(logs), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, first_steps))


def _otlp_logs(config: "Config") -> "list[logging.Handler]":
    if not config.otlp_logs:
        return []
    from service import __version__
    from service.cli.folder import name_instance, prepare_folder
    from service.otlp_logs import open_otlp_logs

    assert config.otlp_endpoint is not None, "the configuration was checked"
    prepare_folder(config.data_dir)
    instance = name_instance(config.data_dir)
    return [
        open_otlp_logs(config.otlp_endpoint, config.otlp_protocol, version=__version__, instance=instance)
    ]


async def _serve(config: "Config", first_steps: str | None) -> None:
    from service.cli.assembly import running_service
    from service.huge_pages import HugePages

    stop = _stop_signal()
    async with running_service(config) as running:
        log.info("Taking events", extra={"url": running.events_url})
        log.info("Answering the admin API", extra={"url": running.admin_url})
        if first_steps is not None:
            typer.echo(describe_first_steps(config, running.events_url, first_steps))
        _calm_garbage_collector()
        with closing(HugePages()) as huge_pages:
            huge_pages.start()
            await _wait(stop, running.preparation)
        log.info("Stopping: what is in flight is answered and inserted")
    log.info("Stopped")


def _calm_garbage_collector() -> None:
    """Take what lives as long as the service out of every collection, and collect less often.

    An event leaves no cycles behind: a collection every 700 allocations finds nothing. Nor must one be put
    off for too long: after 50,000 it held the loop for 34 ms, after 5,000 it is 3 to 5.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _stop_signal() -> asyncio.Event:
    """Give an event that the first SIGTERM or SIGINT sets; a second one ends the process as usual."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def begin() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, begin)
    return stop


async def _wait(stop: asyncio.Event, preparation: "Preparation") -> None:
    """Wait for the signal; until the database is prepared, try that from time to time."""
    while not preparation.done and not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), RETRY_S)
        except TimeoutError:
            await preparation.retry()
    await stop.wait()


def describe_first_steps(config: "Config", url: str, domain: str) -> str:
    """Say how to send a first event for the domain to ``url``, and how to read it back."""
    command = f"{sys.argv[0]} --data-dir {shlex.quote(str(config.data_dir))}"
    return FIRST_STEPS.format(url=url, domain=domain, command=command)

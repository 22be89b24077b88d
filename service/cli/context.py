"""How a command gets at sites: through the running service, or on the data folder itself when none runs.

Through the service a change is in force for the next event. Without one, the next start finds it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import typer

from service.cli.folder import admin_socket, is_running, prepare_folder
from service.cli.invocation import invocation
from service.errors import SiteNotFound

if TYPE_CHECKING:
    from service.config import Config
    from service.sites.provisioning import Provisioning

SITES_FILE: Final = "sites.sqlite3"

T = TypeVar("T")


def provision(ctx: typer.Context, domain: str, work: "Callable[[Provisioning], Awaitable[T]]") -> T:
    """Give what ``work`` makes of the sites; an unknown ``domain`` is named in the error."""

    async def run() -> T:
        async with open_provisioning(invocation(ctx).config) as provisioning:
            return await work(provisioning)

    try:
        return asyncio.run(run())
    except SiteNotFound as error:
        raise SiteNotFound(
            f"No site is registered as {domain}. `gatehouse sites list` shows all of them,"
            f" `gatehouse sites add {domain}` adds it."
        ) from error


@asynccontextmanager
async def open_provisioning(config: "Config") -> "AsyncIterator[Provisioning]":
    """Give the provisioning of the configured data folder, and close it in the end. Raises GatehouseError."""
    prepare_folder(config.data_dir)
    if is_running(config.data_dir):
        from service.http.client import ClientProvisioning

        provisioning: Provisioning = ClientProvisioning(admin_socket(config.data_dir))
    else:
        from service.sites.provisioning import StoreProvisioning
        from service.sites.sqlite import SqliteSiteStore

        store = SqliteSiteStore(config.data_dir / SITES_FILE)
        await store.start()
        provisioning = StoreProvisioning(store, on_change=_nobody_to_tell)
    try:
        yield provisioning
    finally:
        await provisioning.close()


async def _nobody_to_tell(_: int) -> None:
    """No service runs; the next one reads the store at its start."""

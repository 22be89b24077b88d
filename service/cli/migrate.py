"""``gatehouse migrate``: make the tables that are missing."""

import asyncio
from typing import TYPE_CHECKING

import typer

from service.cli.invocation import invocation

if TYPE_CHECKING:
    from service.config import Config


def migrate(ctx: typer.Context) -> None:
    """Bring the database up to date; tables that Plausible made are left as they are.

    It may be run any number of times; `gatehouse serve` does the same at its start unless migrate_on_start
    is false.

    gatehouse --set store=native --set clickhouse_url=clickhouse://localhost:9000/analytics migrate
    """
    config = invocation(ctx).config
    done = asyncio.run(_migrate(config))
    for sentence in done:
        typer.echo(sentence)
    if not done:
        typer.echo("The database is up to date.")


async def _migrate(config: "Config") -> list[str]:
    from rich.console import Console
    from rich.progress import Progress

    from service.cli.stores import open_clickhouse
    from service.clickhouse.migrations import MIGRATIONS
    from service.clickhouse.migrations import migrate as migrate_database

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("opening the database", total=len(MIGRATIONS) + 1)
        async with open_clickhouse(config) as store:
            return await migrate_database(
                store,
                cluster=config.clickhouse_cluster,
                on_step=lambda sentence: progress.update(task, advance=1, description=sentence),
            )

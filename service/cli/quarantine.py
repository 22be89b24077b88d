"""``gatehouse quarantine``: the rows that ClickHouse refuses, and what is to become of them.

Looking reads the folder, also while a service runs. What changes something goes through the running service,
or is done here when none runs.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

import typer

from service.cli.folder import admin_socket, is_running
from service.cli.invocation import invocation
from service.cli.output import print_json, print_table
from service.errors import GatehouseError

if TYPE_CHECKING:
    from service.config import Config
    from service.insertion import Retried
    from service.wire.refused_row import RefusedRow

ROWS_AT_ONCE: Final = 100
"""So many are retried or dropped by one request: in between, the service inserts its blocks."""
SHOWN_REASON_CHARACTERS: Final = 80

app = typer.Typer(
    help="List, show, retry and drop the rows that ClickHouse refuses.",
    no_args_is_help=True,
)

Ids = Annotated[
    list[str] | None,
    typer.Argument(help="Rows by their ids, or the beginnings of ids: that of a block names all its rows."),
]
All = Annotated[bool, typer.Option("--all", help="All rows that are in the quarantine.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for scripts.")]


class _Owner(Protocol):
    async def retry_rows(self, ids: Sequence[str]) -> "Retried": ...

    async def drop_rows(self, ids: Sequence[str]) -> int: ...


@app.command("list")
def list_rows(
    ctx: typer.Context,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many rows at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the rows, those of the oldest blocks first.

    gatehouse quarantine list
    """
    from service.quarantine import read_rows

    shown: list[RefusedRow] = []
    count = 0
    for row in read_rows(_folder(invocation(ctx).config)):
        count += 1
        if len(shown) < limit:
            shown.append(row)
    if as_json:
        print_json([_summary(row) for row in shown])
    elif shown:
        print_table(
            ("id", "refused at", "table", "site", "reason"),
            [
                (row.id, _time(row.refused_ms), row.table, str(row.values.site_id), _short(row.reason))
                for row in shown
            ],
        )
        if count > limit:
            typer.echo(f"{limit:,} of {count:,} rows; --limit {count} shows all.")
    else:
        typer.echo("The quarantine is empty: ClickHouse refuses nothing.")


@app.command()
def show(
    ctx: typer.Context,
    ids: Annotated[list[str], typer.Argument(help="As `list` shows them.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show rows with all their values and ClickHouse's reason.

    gatehouse quarantine show 0d5f2c
    """
    rows = _find(_folder(invocation(ctx).config), ids)
    if as_json:
        print_json([_summary(row) | {"values": _values(row)} for row in rows])
        return
    for row in rows:
        typer.echo(f"{row.id}\nrefused at {_time(row.refused_ms)}: {row.reason}")
        print_table(("column", "value"), [(name, str(value)) for name, value in _values(row).items()])


@app.command()
def retry(ctx: typer.Context, ids: Ids = None, *, every: All = False, as_json: AsJson = False) -> None:
    """Insert rows again, after what made ClickHouse refuse them was put right.

    What is stored leaves the quarantine; what is refused again stays. A retry that broke off may be repeated:
    each row has its own deduplication token.

    gatehouse quarantine retry --all
    """
    config = invocation(ctx).config
    names = _named(config, ids, every=every)
    stored, refused = asyncio.run(_retry(config, names))
    if as_json:
        print_json({"stored": stored, "refused": refused})
    else:
        typer.echo(f"{_count(stored)} stored, {len(refused):,} refused again.")
        for name, reason in list(refused.items())[:ROWS_AT_ONCE]:
            typer.echo(f"{name}: {reason}")
    if refused:
        raise typer.Exit(1)


@app.command()
def drop(
    ctx: typer.Context,
    ids: Ids = None,
    *,
    every: All = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Let go of rows for good.

    gatehouse quarantine drop 0d5f2c
    """
    config = invocation(ctx).config
    names = _named(config, ids, every=every)
    if not yes:
        typer.confirm(f"Let go of {_count(len(names))} for good?", abort=True)
    typer.echo(f"{_count(asyncio.run(_drop(config, names)))} dropped.")


async def _retry(config: "Config", names: list[str]) -> tuple[int, dict[str, str]]:
    stored = 0
    refused: dict[str, str] = {}
    async with _owner(config) as owner:
        for first in range(0, len(names), ROWS_AT_ONCE):
            done = await owner.retry_rows(names[first : first + ROWS_AT_ONCE])
            stored += done.stored
            refused |= done.refused
    return stored, refused


async def _drop(config: "Config", names: list[str]) -> int:
    async with _owner(config) as owner:
        return sum(
            [
                await owner.drop_rows(names[first : first + ROWS_AT_ONCE])
                for first in range(0, len(names), ROWS_AT_ONCE)
            ]
        )


@asynccontextmanager
async def _owner(config: "Config") -> AsyncIterator[_Owner]:
    """Give the one who may change the quarantine: the running service, or this process under its lock."""
    if is_running(config.data_dir):
        from service.http.quarantine_client import ClientQuarantine

        yield ClientQuarantine(admin_socket(config.data_dir))
        return
    from service.cli.offline_quarantine import offline_quarantine

    async with offline_quarantine(config) as owner:
        yield owner


def _named(config: "Config", ids: list[str] | None, *, every: bool) -> list[str]:
    from service.quarantine import read_rows

    folder = _folder(config)
    if every:
        names = [row.id for row in read_rows(folder)]
        if not names:
            raise GatehouseError("The quarantine is empty.")
        return names
    if not ids:
        raise typer.BadParameter("Name rows as `gatehouse quarantine list` shows them, or say --all.")
    return [row.id for row in _find(folder, ids)]


def _find(folder: Path, ids: list[str]) -> "list[RefusedRow]":
    from service.quarantine import read_rows

    found = [row for row in read_rows(folder) if row.id.startswith(tuple(ids))]
    for name in ids:
        if not any(row.id.startswith(name) for row in found):
            raise GatehouseError(
                f"No row of the quarantine has an id that begins with {name}; "
                "`gatehouse quarantine list` shows what is there."
            )
    return found


def _folder(config: "Config") -> Path:
    from service.quarantine import QUARANTINE_FOLDER

    return config.data_dir / QUARANTINE_FOLDER


def _summary(row: "RefusedRow") -> dict[str, Any]:
    return {
        "id": row.id,
        "block": row.block,
        "table": row.table,
        "row": row.row,
        "refused_at": _time(row.refused_ms),
        "site_id": row.values.site_id,
        "reason": row.reason,
    }


def _values(row: "RefusedRow") -> dict[str, Any]:
    from service.clickhouse.shown_rows import show_event, show_session
    from service.ingestion.rows import ClickhouseEvent

    if isinstance(row.values, ClickhouseEvent):
        return show_event(row.values)
    return show_session(row.sign, row.values)


def _time(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _short(reason: str) -> str:
    return reason if len(reason) <= SHOWN_REASON_CHARACTERS else reason[:SHOWN_REASON_CHARACTERS] + "…"


def _count(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows:,} rows"

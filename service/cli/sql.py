"""``gatehouse sql``: ask the store a question, through the running service or, when none runs, directly.

Only one process can open the embedded store's folder: a running service is asked over the admin socket.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.cli.folder import admin_socket, is_running
from service.cli.invocation import invocation
from service.errors import QueryFailed, StoreUnavailable

if TYPE_CHECKING:
    from service.config import Config

TERMINAL_FORMAT: Final = "PrettyCompactMonoBlock"
PIPE_FORMAT: Final = "TSVWithNames"
JSON_FORMAT: Final = "JSON"


def sql(
    ctx: typer.Context,
    statement: Annotated[str, typer.Argument(help="A SELECT; - reads it from standard input.")],
    *,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="Any output format of ClickHouse's: CSV, JSONEachRow, Vertical, ..."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format JSON.")] = False,
) -> None:
    """Ask ClickHouse, also while the service runs. It reads only: nothing can be changed.

    gatehouse sql "SELECT name, pathname, timestamp FROM events_v2 ORDER BY timestamp DESC LIMIT 10"

    gatehouse sql --json "SELECT count() FROM events_v2" | jq .data

    On a terminal the answer is a table, else tab-separated lines with a header.
    """
    if as_json:
        output_format = JSON_FORMAT
    elif output_format is None:
        output_format = TERMINAL_FORMAT if sys.stdout.isatty() else PIPE_FORMAT
    question = sys.stdin.read() if statement == "-" else statement
    asyncio.run(_print_answer(invocation(ctx).config, question, output_format))


async def _print_answer(config: "Config", statement: str, output_format: str) -> None:
    through_service = config.store == "embedded" and is_running(config.data_dir)
    answer = _ask_service if through_service else _ask_store
    async for chunk in answer(config, statement, output_format):
        sys.stdout.buffer.write(chunk)
    sys.stdout.flush()


async def _ask_service(config: "Config", statement: str, output_format: str) -> AsyncIterator[bytes]:
    import aiohttp

    connector = aiohttp.UnixConnector(str(admin_socket(config.data_dir)))
    patient = aiohttp.ClientTimeout(total=None)  # ClickHouse has limits of its own, and Ctrl-C is at hand
    async with aiohttp.ClientSession(connector=connector, timeout=patient) as session:
        question = {"query": statement, "format": output_format}
        try:
            async with session.post("http://gatehouse/api/v1/sql", json=question) as response:
                if response.status != HTTPStatus.OK:
                    raise QueryFailed((await response.json())["error"])
                async for chunk in response.content.iter_any():
                    yield chunk
        except aiohttp.ClientError as error:
            raise StoreUnavailable(f"The service broke off its answer: {error}") from error


async def _ask_store(config: "Config", statement: str, output_format: str) -> AsyncIterator[bytes]:
    from service.cli.stores import open_clickhouse

    async with open_clickhouse(config) as store:
        async for chunk in store.query_text(statement, output_format=output_format):
            yield chunk

"""``gatehouse spam``: the list of referrer spam."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.invocation import invocation
from service.errors import ConfigError

if TYPE_CHECKING:
    from service.config import Config

app = typer.Typer(help="Renew the list of referrer spam.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Renew the list of referrer spam."""


@app.command()
def update(
    ctx: typer.Context,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", help="A file with one host a line, instead of the URL.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Where to fetch it (default: the setting spam_list_url).")
    ] = None,
) -> None:
    """Fetch a newer list and keep it in the data folder, instead of the one that is built in.

    A list that is not one changes nothing. A running service uses the new one some seconds later.

    gatehouse spam update --url https://example.com/spammers.txt
    """
    from service.cli.folder import prepare_folder
    from service.tables.spam import store_spam_list

    config = invocation(ctx).with_flags({"spam_list_url": url}).config
    if config.spam_list is not None:
        raise ConfigError(f"spam_list is {config.spam_list}, which is used instead; change that file.")
    content = _read(file) if file is not None else _fetch(config)
    prepare_folder(config.data_dir)
    hosts = store_spam_list(content, config.data_dir)
    typer.echo(f"The spam list has {hosts:,} hosts now; a running service uses it within 15 seconds.")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None


def _fetch(config: "Config") -> bytes:
    from service.http.download import download_list

    if config.spam_list_url is None:
        raise ConfigError("Say where the list is to be had: --url, --file or the setting spam_list_url.")
    return asyncio.run(download_list(config.spam_list_url))

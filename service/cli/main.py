"""The root of the ``gatehouse`` command: global options, the commands, and how an error leaves the program.

An error that Gatehouse raises on purpose is one sentence on stderr, never a traceback; the exit code is 2 if
what was given is wrong, a setting or an event to be explained, else 1. The rooms behind a command are
imported when it runs, so that help is quick.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from service.cli import geo, goals, journal, quarantine, shields, sites, spam, token
from service.cli.check import check
from service.cli.explain import explain
from service.cli.invocation import Invocation
from service.cli.migrate import migrate
from service.cli.serve import serve
from service.cli.sql import sql
from service.cli.version import version
from service.errors import ConfigError, GatehouseError, QuestionInvalid

EXIT_ERROR: Final = 1
EXIT_INPUT: Final = 2

CONTEXT: Final = {"help_option_names": ["-h", "--help"]}


class SentenceGroup(TyperGroup):
    """A group of commands whose errors reach the user as a sentence."""

    def invoke(self, ctx: Any) -> Any:  # Typer keeps the class of this context to itself
        """Run the command; turn an error of Gatehouse's own into its sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except GatehouseError as error:
            typer.echo(f"gatehouse: {error}", err=True)
            is_input = isinstance(error, ConfigError | QuestionInvalid)
            raise typer.Exit(EXIT_INPUT if is_input else EXIT_ERROR) from error


app = typer.Typer(
    name="gatehouse",
    cls=SentenceGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
    rich_markup_mode="markdown",
)

OWNER_ONLY: Final = 0o077
"""The umask of every command."""


@app.callback()
def root(
    ctx: typer.Context,
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            envvar="GATEHOUSE_CONFIG",
            help="Configuration file; without it ./gatehouse.toml, if there is one.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Folder for everything that is kept (default: ./data).")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any setting, for example --set durability=fsync."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more (log_level = debug).")] = False,
) -> None:
    """Take web-analytics events over HTTP and write them to ClickHouse, none lost, none twice.

    First steps:

        gatehouse sites add example.com     take events for this site
        gatehouse serve                     start the service
        gatehouse sql "SELECT name, pathname FROM events_v2"

    Settings come from gatehouse.toml, GATEHOUSE_... variables and flags, the later ones winning.
    """
    flags: dict[str, object] = {"log_level": "debug"} if verbose else {}
    for assignment in settings or []:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(
                f"--set {assignment}: write it as NAME=VALUE, for example --set durability=fsync."
            )
        flags[name.strip()] = value.strip()
    if data_dir is not None:
        flags["data_dir"] = str(data_dir)
    ctx.obj = Invocation(file=config, flags=flags, environ=os.environ)


app.command("serve")(serve)
app.command("migrate")(migrate)
app.command("check")(check)
app.add_typer(sites.app, name="sites")
app.add_typer(shields.app, name="shields")
app.add_typer(goals.app, name="goals")
app.add_typer(spam.app, name="spam")
app.add_typer(geo.app, name="geo")
app.add_typer(journal.app, name="journal")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(token.app, name="token")
app.command("sql")(sql)
app.command("explain")(explain)
app.command("version")(version)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with its exit code."""
    # A command says by itself what goes wrong; lines of the libraries below would say it twice. `serve` logs.
    logging.basicConfig(handlers=[logging.NullHandler()])
    # Whatever is made by us or by a library (SQLite, ClickHouse inside the process) is its owner's only.
    os.umask(OWNER_ONLY)
    app(args=None if arguments is None else list(arguments), prog_name="gatehouse")

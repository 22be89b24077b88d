"""``gatehouse token``: who may use the admin API over the network."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from service.cli.folder import prepare_folder
from service.cli.invocation import invocation
from service.cli.output import print_json, print_table
from service.clock import wall
from service.http.admin_tokens import Scope, create_token, list_tokens, plain_copy, revoke_token
from service.http.tokens import ADMIN_TOKEN_FILE

app = typer.Typer(
    help="Make, list and revoke the tokens of the admin API. Commands on this machine need none.",
    no_args_is_help=True,
)


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for; by this name it is revoked.")],
    *,
    scope: Annotated[
        Scope, typer.Option("--scope", help="What it is good for; write includes read.")
    ] = Scope.READ,
) -> None:
    """Make a token and print it, this once: only its hash is kept. It is good from the next request on.

    gatehouse token create dashboard

    gatehouse token create provisioning --scope write > provisioning.token

    To replace a token, make a second one, give it to who uses the first, and revoke that.
    """
    folder = invocation(ctx).config.data_dir
    prepare_folder(folder)
    secret = create_token(folder, name, scope, now=wall())
    typer.echo(f"Token {name} ({scope}). Keep it now, it cannot be shown again:", err=True)
    typer.echo(secret)


@app.command("list")
def list_all(
    ctx: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for scripts.")] = False,
) -> None:
    """List the tokens that are good; not the tokens themselves, which nobody knows here.

    gatehouse token list
    """
    folder = invocation(ctx).config.data_dir
    prepare_folder(folder)
    tokens = list_tokens(folder)
    if as_json:
        print_json(
            [{"name": token.name, "scope": token.scope, "created_at": token.created_at} for token in tokens]
        )
        return
    if not tokens:
        typer.echo("There are no tokens. Make one: gatehouse token create NAME --scope write")
        return
    rows = [
        (token.name, token.scope.value, f"{datetime.fromtimestamp(token.created_at, UTC):%Y-%m-%d %H:%M}")
        for token in tokens
    ]
    print_table(("name", "scope", "created (UTC)"), rows)
    copy = plain_copy(folder)
    if copy is not None:
        typer.echo(
            f"\n{copy.name} can be read in {folder / ADMIN_TOKEN_FILE}. Once whoever needs it has it,"
            " delete that file; the token stays good."
        )


@app.command()
def revoke(
    ctx: typer.Context,
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="As `gatehouse token list` shows them.")
    ],
) -> None:
    """Revoke tokens: the next request with one of them is refused.

    gatehouse token revoke dashboard
    """
    folder = invocation(ctx).config.data_dir
    prepare_folder(folder)
    for name in names:
        revoke_token(folder, name)
        typer.echo(f"Revoked {name}.")

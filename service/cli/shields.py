"""``gatehouse shields``: which events of a site are kept out."""

from typing import Annotated

import typer

from service.cli.context import provision
from service.cli.output import print_json, print_table
from service.sites.records import ShieldKind, ShieldRule, shield_values

app = typer.Typer(
    help="List, add and remove shield rules: hostnames to let in; pages, addresses, countries to keep out.",
    no_args_is_help=True,
)

Domain = Annotated[str, typer.Argument(help="The site's domain.")]
Kind = Annotated[ShieldKind, typer.Argument(help="What the rule looks at.")]
Value = Annotated[
    str,
    typer.Argument(
        help="hostname, page: * stands for anything; ip: an address or a network such as 10.0.0.0/8;"
        " country: two letters, ZZ = unknown."
    ),
]


@app.command("list")
def list_shields(
    ctx: typer.Context,
    domain: Domain,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for scripts.")] = False,
) -> None:
    """List a site's shield rules.

    gatehouse shields list example.com
    """
    shields = provision(ctx, domain, lambda sites: sites.list_shields(domain))
    rows = [(kind.value, rule) for kind in ShieldKind for rule in shield_values(shields, kind)]
    if as_json:
        print_json(shields)
    elif rows:
        print_table(("kind", "rule"), rows)
    else:
        typer.echo(f"{domain} has no shield rules. Add one: gatehouse shields add {domain} ip 203.0.113.7")


@app.command()
def add(ctx: typer.Context, domain: Domain, kind: Kind, value: Value) -> None:
    """Add a rule; it holds for the next event.

    A hostname rule lets in: with the first one, events of all other hostnames are dropped.

    gatehouse shields add example.com ip 203.0.113.0/24

    gatehouse shields add example.com page "/admin/*"

    gatehouse shields add example.com hostname "*.example.com"
    """
    rule = provision(ctx, domain, lambda sites: sites.add_shield(domain, ShieldRule(kind, value)))
    effect = "lets in" if rule.kind is ShieldKind.HOSTNAME else "keeps out"
    typer.echo(f"{domain} {effect} {rule.kind} {rule.value}.")


@app.command()
def remove(ctx: typer.Context, domain: Domain, kind: Kind, value: Value) -> None:
    """Remove a rule; it ends with the next event.

    gatehouse shields remove example.com ip 203.0.113.0/24
    """
    provision(ctx, domain, lambda sites: sites.remove_shield(domain, ShieldRule(kind, value)))
    typer.echo(f"Removed {kind.value} {value} from the shields of {domain}.")

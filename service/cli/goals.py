"""``gatehouse goals``: what counts as reached, and which events carry money."""

from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.context import provision
from service.cli.output import print_json, print_table

if TYPE_CHECKING:
    from service.sites.provisioning import Provisioning
    from service.sites.records import Goal

app = typer.Typer(
    help="List, add and remove goals. Revenue is stored only for events that have a goal with a currency.",
    no_args_is_help=True,
)

Domain = Annotated[str, typer.Argument(help="The site's domain.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for scripts.")]


@app.command("list")
def list_goals(ctx: typer.Context, domain: Domain, *, as_json: AsJson = False) -> None:
    """List a site's goals.

    gatehouse goals list example.com
    """
    goals = provision(ctx, domain, lambda sites: all_goals(sites, domain))
    if as_json:
        print_json(goals)
    elif not goals:
        typer.echo(f"{domain} has no goals. Add one: gatehouse goals add {domain} --event Signup")
    else:
        rows = [
            (
                str(goal.id),
                goal.display_name,
                goal.goal_type.value,
                goal.event_name or goal.page_path or "",
                goal.currency or "",
                ", ".join(f"{name}={value}" for name, value in goal.custom_props.items()),
            )
            for goal in goals
        ]
        print_table(("id", "name", "type", "counts", "currency", "properties"), rows)


@app.command()
def add(
    ctx: typer.Context,
    domain: Domain,
    *,
    event: Annotated[str | None, typer.Option("--event", help="The name of the event to count.")] = None,
    page: Annotated[str | None, typer.Option("--page", help="The path of the page to count.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="What reports call it.")] = None,
    currency: Annotated[
        str | None, typer.Option("--currency", help="Its revenue is reported in this currency: EUR, USD, ...")
    ] = None,
    props: Annotated[
        list[str] | None,
        typer.Option("--prop", metavar="NAME=VALUE", help="Only events with this property; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a goal: an event or a page. One that is there already is left as it is.

    gatehouse goals add example.com --event Purchase --currency EUR

    gatehouse goals add example.com --page "/thanks*" --name "Order placed"
    """
    from service.sites.records import GoalType, NewGoal

    if (event is None) == (page is None):
        raise typer.BadParameter("Give either --event or --page.")
    new = NewGoal(
        goal_type=GoalType.PAGE if event is None else GoalType.EVENT,
        event_name=event,
        page_path=page,
        display_name=name,
        custom_props=_parse_props(props or []),
        currency=currency,
    )
    goal = provision(ctx, domain, lambda sites: sites.put_goal(domain, new))
    if as_json:
        print_json(goal)
    else:
        typer.echo(f"{domain} has the goal {goal.display_name} (goal {goal.id}).")


@app.command()
def remove(
    ctx: typer.Context,
    domain: Domain,
    goal_id: Annotated[int, typer.Argument(metavar="ID", help="Its number in `gatehouse goals list`.")],
) -> None:
    """Remove a goal by its number.

    gatehouse goals remove example.com 3
    """
    provision(ctx, domain, lambda sites: sites.delete_goal(domain, goal_id))
    typer.echo(f"Removed goal {goal_id} of {domain}.")


async def all_goals(sites: "Provisioning", domain: str) -> "list[Goal]":
    """Give all of a site's goals."""
    from service.sites.records import MAX_PAGE_ITEMS, PageRequest

    found: list[Goal] = []
    after: str | None = None
    while True:
        page = await sites.list_goals(domain, PageRequest(after=after, limit=MAX_PAGE_ITEMS))
        found += page.items
        after = page.after
        if after is None:
            return found


def _parse_props(assignments: list[str]) -> dict[str, str]:
    props: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise typer.BadParameter(f"Write {assignment} as NAME=VALUE.", param_hint="--prop")
        props[name] = value
    return props

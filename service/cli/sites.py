"""``gatehouse sites``: which sites are counted, and how much of their traffic."""

import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.cli.context import provision
from service.cli.output import print_json, print_table

if TYPE_CHECKING:
    from service.ingestion.shields import Shields
    from service.sites.provisioning import Provisioning
    from service.sites.records import Goal, Limits, LimitsChange, NewSite, SiteChange, SiteRecord

NO_LIMIT: Final = "none"

app = typer.Typer(
    help="Add, show, change and remove sites. Events of unknown sites are dropped.", no_args_is_help=True
)

Domain = Annotated[
    str, typer.Argument(help="The site's domain, as in data-domain: example.com, example.com/blog.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for scripts.")]
Timezone = Annotated[
    str | None, typer.Option("--timezone", help="Where its days begin, an IANA name such as Europe/Tallinn.")
]
Threshold = Annotated[
    str | None,
    typer.Option(
        "--threshold", metavar="N|none", help="Events taken a window; 0 blocks the site, none: no limit."
    ),
]
ScaleSeconds = Annotated[
    int | None, typer.Option("--scale-seconds", metavar="S", help="The window of --threshold, in seconds.")
]
AcceptUntil = Annotated[
    str | None,
    typer.Option("--accept-until", metavar="DAY|none", help="The last day (UTC) on which events are taken."),
]


@app.command()
def add(
    ctx: typer.Context,
    domain: Domain,
    *,
    timezone: Timezone = None,
    threshold: Threshold = None,
    scale_seconds: ScaleSeconds = None,
    accept_until: AcceptUntil = None,
    if_missing: Annotated[bool, typer.Option("--if-missing", help="Be content when it is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a site; its events are taken from now on.

    gatehouse sites add example.com --timezone Europe/Tallinn

    gatehouse sites add example.com/blog --threshold 1000 --scale-seconds 60
    """
    from service.sites.records import NewSite

    limits = _limits_change(threshold, scale_seconds, accept_until)
    new = NewSite(domain=domain, timezone=timezone or "Etc/UTC", limits=limits)
    site, is_new = provision(ctx, domain, lambda sites: _add(sites, new, if_missing=if_missing))
    if as_json:
        print_json(site)
    else:
        typer.echo(f"{'Added' if is_new else 'Already there:'} {site.domain} (site {site.id}).")


@app.command("list")
def list_sites(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """List all sites with their limits.

    gatehouse sites list --json | jq -r '.[].domain'
    """
    found = provision(ctx, "", _all_sites)
    if as_json:
        print_json(found)
    elif not found:
        typer.echo("There are no sites yet. Add one: gatehouse sites add example.com")
    else:
        rows = [(str(site.id), site.domain, site.timezone, _describe_limits(site.limits)) for site in found]
        print_table(("id", "domain", "timezone", "traffic"), rows)


@app.command()
def show(ctx: typer.Context, domain: Domain, *, as_json: AsJson = False) -> None:
    """Show a site with its goals and shield rules.

    gatehouse sites show example.com
    """
    site, goals, shields = provision(ctx, domain, lambda sites: _everything(sites, domain))
    if as_json:
        from msgspec.structs import asdict

        print_json(asdict(site) | {"goals": goals, "shields": shields})
        return
    rows = [("domain", site.domain), ("id", str(site.id)), ("timezone", site.timezone)]
    if site.domain_changed_from is not None:
        rows.append(("was", f"{site.domain_changed_from}, taken for 72 hours after the change"))
    rows.append(("traffic", _describe_limits(site.limits)))
    rows += [("goal", goal.display_name) for goal in goals]
    rows += [("hostname allowed", rule) for rule in shields.hostnames]
    rows += [("page blocked", rule) for rule in shields.pages]
    rows += [("address blocked", rule) for rule in shields.ips]
    rows += [("country blocked", rule) for rule in shields.countries]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        typer.echo(f"{name:<{width}}  {value}")


@app.command("set")
def change(
    ctx: typer.Context,
    domain: Domain,
    *,
    new_domain: Annotated[
        str | None, typer.Option("--domain", help="Its new domain; the old one is taken for 72 hours more.")
    ] = None,
    timezone: Timezone = None,
    threshold: Threshold = None,
    scale_seconds: ScaleSeconds = None,
    accept_until: AcceptUntil = None,
    as_json: AsJson = False,
) -> None:
    """Change a site; what is not named stays as it is.

    gatehouse sites set example.com --domain example.org

    gatehouse sites set example.com --threshold none --accept-until 2027-12-31
    """
    from msgspec import UNSET

    from service.sites.records import LimitsChange, SiteChange

    limits = _limits_change(threshold, scale_seconds, accept_until)
    site_change = SiteChange(
        domain=UNSET if new_domain is None else new_domain, timezone=UNSET if timezone is None else timezone
    )
    if limits == LimitsChange() and site_change == SiteChange():
        raise typer.BadParameter(
            "Say what to change, for example --threshold 1000; --help lists all options."
        )
    site = provision(ctx, domain, lambda sites: _change(sites, domain, site_change, limits))
    if as_json:
        print_json(site)
    else:
        typer.echo(f"{site.domain} (site {site.id}): {site.timezone}, {_describe_limits(site.limits)}.")


@app.command()
def remove(
    ctx: typer.Context,
    domain: Domain,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a site with its goals and shield rules. Its rows in ClickHouse stay.

    gatehouse sites remove example.com --yes
    """
    if not yes:
        typer.confirm(f"Remove {domain}? Its events will be dropped from now on.", abort=True)
    provision(ctx, domain, lambda sites: sites.delete_site(domain))
    typer.echo(f"Removed {domain}.")


async def _add(sites: "Provisioning", new: "NewSite", *, if_missing: bool) -> "tuple[SiteRecord, bool]":
    from service.errors import SiteNotFound

    if if_missing:
        try:
            return await sites.get_site(new.domain), False
        except SiteNotFound:
            return await sites.create_site(new), True
    return await sites.create_site(new), True


async def _all_sites(sites: "Provisioning") -> "list[SiteRecord]":
    from service.sites.records import MAX_PAGE_ITEMS, PageRequest

    found: list[SiteRecord] = []
    after: str | None = None
    while True:
        page = await sites.list_sites(PageRequest(after=after, limit=MAX_PAGE_ITEMS))
        found += page.items
        after = page.after
        if after is None:
            return found


async def _everything(sites: "Provisioning", domain: str) -> "tuple[SiteRecord, list[Goal], Shields]":
    from service.cli.goals import all_goals

    return await sites.get_site(domain), await all_goals(sites, domain), await sites.list_shields(domain)


async def _change(
    sites: "Provisioning", domain: str, site_change: "SiteChange", limits: "LimitsChange"
) -> "SiteRecord":
    from service.sites.records import LimitsChange, SiteChange

    if limits != LimitsChange():
        await sites.set_limits(domain, limits)
    if site_change != SiteChange():
        return await sites.update_site(domain, site_change)
    return await sites.get_site(domain)


def _limits_change(
    threshold: str | None, scale_seconds: int | None, accept_until: str | None
) -> "LimitsChange":
    from msgspec import UNSET

    from service.sites.records import LimitsChange

    return LimitsChange(
        threshold=UNSET if threshold is None else _parse_threshold(threshold),
        scale_seconds=UNSET if scale_seconds is None else scale_seconds,
        accept_traffic_until=UNSET if accept_until is None else _parse_day(accept_until),
    )


def _parse_threshold(text: str) -> int | None:
    if text == NO_LIMIT:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is neither a number nor none.", param_hint="--threshold") from error


def _parse_day(text: str) -> datetime.date | None:
    if text == NO_LIMIT:
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text} is neither a day such as 2027-12-31 nor none.", param_hint="--accept-until"
        ) from error


def _describe_limits(limits: "Limits") -> str:
    if limits.threshold is None:
        text = "no limit"
    elif limits.threshold == 0:
        text = "blocked"
    else:
        text = f"at most {limits.threshold} events in {limits.scale_seconds} s"
    return text if limits.accept_traffic_until is None else f"{text}, until {limits.accept_traffic_until}"

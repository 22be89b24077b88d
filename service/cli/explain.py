"""``gatehouse explain``: what would become of an event, and why; nothing is stored."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.folder import admin_socket, is_running
from service.cli.invocation import invocation
from service.cli.output import print_json
from service.errors import QuestionInvalid

if TYPE_CHECKING:
    from service.config import Config
    from service.ingestion.explanation import DryRun


def explain(
    ctx: typer.Context,
    *,
    url: Annotated[str, typer.Option("--url", help="The page, as the tracker sends it.")],
    referrer: Annotated[
        str | None, typer.Option("--referrer", help="Where the visitor came from, a whole URL.")
    ] = None,
    user_agent: Annotated[
        str | None, typer.Option("--user-agent", help="The visitor's browser, its whole header.")
    ] = None,
    ip: Annotated[
        str | None,
        typer.Option("--ip", help="The address that connects; without it a proxy on this machine does."),
    ] = None,
    sites: Annotated[
        list[str] | None,
        typer.Option(
            "--site", "--domain", help="The site, as in data-domain; may be repeated (default: the URL's)."
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="The event's name.")] = "pageview",
    headers: Annotated[
        list[str] | None,
        typer.Option(
            "--header", metavar="NAME:VALUE", help="Any header, such as X-Forwarded-For: 203.0.113.7."
        ),
    ] = None,
    props: Annotated[
        list[str] | None, typer.Option("--prop", metavar="KEY=VALUE", help="A custom property.")
    ] = None,
    props_object: Annotated[
        str | None, typer.Option("--props", metavar="JSON", help="Custom properties as a JSON object.")
    ] = None,
    revenue: Annotated[
        str | None, typer.Option("--revenue", metavar="AMOUNT CURRENCY", help='Its money: "29.90 EUR".')
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive/--no-interactive", help="Whether it ends a bounce.")
    ] = True,
    scroll_depth: Annotated[
        int | None, typer.Option("--scroll-depth", help="Of an engagement: how far down, in percent.")
    ] = None,
    engagement_time: Annotated[
        int | None, typer.Option("--engagement-time", help="Of an engagement, in milliseconds.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, as POST /api/v1/explain answers.")] = False,
) -> None:
    """Say what would become of an event, step by step, and why. Nothing is stored or changed.

    The running service is asked, with its live sessions and limits; when none runs, the data folder is.

    gatehouse explain --url https://example.com/ --referrer https://www.google.com/ --ip 203.0.113.7

    gatehouse explain --url https://example.com/pay --name Purchase --revenue "29.90 EUR" --prop plan=pro
    """
    event: dict[str, Any] = {
        "n": name,
        "u": url,
        "d": ",".join(sites) if sites else None,
        "r": referrer,
        "p": _read_props(props_object, props or []),
        "$": None if revenue is None else _read_money(revenue),
        "i": interactive,
        "sd": scroll_depth,
        "e": engagement_time,
        "ip": ip,
        "user_agent": user_agent,
        "headers": _read_headers(headers or []),
    }
    config = invocation(ctx).config
    running = is_running(config.data_dir)
    found = asyncio.run(_explain(config, _encode(event), running=running))
    if as_json:
        print_json(found)
        return
    from service.cli.explanation_text import print_explanation

    print_explanation(found, by="the running service" if running else f"the data in {config.data_dir}")


async def _explain(config: "Config", question: bytes, *, running: bool) -> "DryRun":
    if running:
        from service.http.explain_client import ask_to_explain

        return await ask_to_explain(admin_socket(config.data_dir), question)
    from service.cli.offline_explainer import explain_offline

    return await explain_offline(config, question)


def _encode(event: dict[str, Any]) -> bytes:
    import msgspec

    try:
        return msgspec.json.encode({name: value for name, value in event.items() if value is not None})
    except UnicodeEncodeError:
        raise QuestionInvalid("One of the options is not valid UTF-8, so no tracker can send it.") from None


def _read_props(given: str | None, pairs: list[str]) -> dict[str, Any] | None:
    from service.ingestion.json_text import find_object

    found = {} if given is None else find_object(given)
    if found is None:
        raise typer.BadParameter('It is no JSON object such as {"plan": "pro"}.', param_hint="--props")
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair}: write it as KEY=VALUE.", param_hint="--prop")
        found[key] = value
    return found or None


def _read_money(text: str) -> dict[str, str]:
    amount, _, currency = text.strip().rpartition(" ")
    if not amount:
        raise typer.BadParameter(f'{text}: write it as "29.90 EUR".', param_hint="--revenue")
    return {"amount": amount.strip(), "currency": currency}


def _read_headers(lines: list[str]) -> dict[str, str] | None:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise typer.BadParameter(f"{line}: write it as NAME: VALUE.", param_hint="--header")
        headers.setdefault(name.strip().lower(), value.strip())
    return headers or None

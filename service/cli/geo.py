"""``gatehouse geo``: the database of locations, what it says of an address, and a newer one."""

import asyncio
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.cli.invocation import invocation
from service.errors import ConfigError

if TYPE_CHECKING:
    from service.config import Config
    from service.ingestion.geolocation import Geolocator, Location

MAX_DOWNLOAD_BYTES: Final = 2**30
"""Security limit; the largest city databases have some hundred megabytes."""
DOWNLOAD_TIMEOUT_S: Final = 1800.0
DAY_S: Final = 86_400

app = typer.Typer(help="Show and renew the database of locations.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Show and renew the database of locations."""


@app.command()
def show(
    ctx: typer.Context,
    address: Annotated[str, typer.Argument(metavar="IP", help="An IPv4 or IPv6 address.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
) -> None:
    """Say which database is used, what it has on an address, and what an event from there gets.

    gatehouse geo show 198.51.100.7
    """
    import msgspec

    from service.clock import wall
    from service.ingestion.geolocation import Location
    from service.ingestion.shields import VPN_COUNTRY
    from service.tables.addresses import watch_addresses
    from service.tables.geo import WatchedGeolocator, find_attribution
    from service.wire.forwarded import parse_address

    remote_ip = parse_address(address)
    if remote_ip is None:
        raise ConfigError(f"{address!r} is no IPv4 or IPv6 address.")
    config = invocation(ctx).config
    database = WatchedGeolocator(config.geo_database, config.data_dir)
    geo = database.published.value
    verdict = watch_addresses(config.ip_lists, config.asn_database).published.value.find(remote_ip)
    location = Location(VPN_COUNTRY) if verdict == "anonymous_vpn_ip" else geo.locate(remote_ip)
    fields, attribution = geo.find_fields(remote_ip), find_attribution(geo.kind)
    if as_json:
        found = {
            "ip": remote_ip,
            "database": {
                "path": None if database.path is None else str(database.path),
                "type": geo.kind,
                "built_at": geo.built_at,
                "attribution": attribution,
            },
            "fields": fields,
            "ip_list": verdict,
            "event": location,
        }
        typer.echo(msgspec.json.encode(found))
        return
    typer.echo(f"Database     {database.path or 'built in'}, {_describe(geo, now=wall())}")
    typer.echo(
        f"It has       {', '.join(f'{name} = {value}' for name, value in fields.items()) or 'nothing'}"
    )
    if verdict is not None:
        typer.echo(f"ip_lists     {verdict}")
    typer.echo(f"Event gets   {_say(location)}")
    if attribution is not None:
        typer.echo(f"\n{attribution}")


@app.command()
def update(
    ctx: typer.Context,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", help="A .mmdb, .mmdb.gz or .tar.gz, instead of the URL.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Where to fetch it (default: the setting geo_database_url).")
    ] = None,
) -> None:
    """Fetch a newer database and keep it in the data folder.

    One that is damaged, or knows no countries, changes nothing. A running service uses the new one some
    seconds later.

    gatehouse geo update --file GeoLite2-City_20261120.tar.gz
    """
    from service.cli.folder import prepare_folder
    from service.clock import wall
    from service.tables.geo import store_geo_database

    config = invocation(ctx).with_flags({"geo_database_url": url}).config
    if config.geo_database is not None:
        raise ConfigError(f"geo_database is {config.geo_database}, which is used instead; replace that file.")
    if file is None and config.geo_database_url is None:
        raise ConfigError(
            "Say where the database is to be had: --url, --file or the setting geo_database_url."
        )
    prepare_folder(config.data_dir)
    geo = _fetch_and_store(config) if file is None else store_geo_database(file, config.data_dir)
    typer.echo(
        f"The geo database is {_describe(geo, now=wall())} now; a running service uses it within 15 seconds."
    )


def _fetch_and_store(config: "Config") -> "Geolocator":
    from service.http.download import download_file
    from service.tables.geo import store_geo_database

    assert config.geo_database_url is not None, "the caller looked"
    try:
        with tempfile.TemporaryDirectory(dir=config.data_dir, prefix=".geo-") as folder:
            fetched = Path(folder) / "download"
            asyncio.run(
                download_file(
                    config.geo_database_url,
                    fetched,
                    max_bytes=MAX_DOWNLOAD_BYTES,
                    timeout_s=DOWNLOAD_TIMEOUT_S,
                )
            )
            return store_geo_database(fetched, config.data_dir, shown="that was fetched")
    except OSError as error:
        raise ConfigError(f"what was fetched cannot be kept in {config.data_dir}: {error.strerror}") from None


def _describe(geo: "Geolocator", *, now: float) -> str:
    if geo.built_at is None:
        return geo.kind
    days = int((now - geo.built_at) // DAY_S)
    return f"{geo.kind} of {datetime.fromtimestamp(geo.built_at, UTC):%Y-%m-%d} ({days} days old)"


def _say(location: "Location") -> str:
    if not location.country_code:
        return "no country (for shields: ZZ)"
    regions = [code for code in (location.subdivision1_code, location.subdivision2_code) if code]
    parts = [f"country {location.country_code}"]
    if regions:
        parts.append(f"regions {', '.join(regions)}")
    if location.city_geoname_id:
        parts.append(f"city {location.city_geoname_id}")
    return ", ".join(parts)

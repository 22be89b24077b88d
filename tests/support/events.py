"""Events for tests of the rules: requests with sensible defaults, and events that ran through the steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from service.ingestion.event import STEPS, Context, Event, Tables, describe_visit, run_steps
from service.ingestion.raw_event import RawEvent
from service.ingestion.request import Request, build_request
from service.ingestion.rows import SessionAttributes
from service.ingestion.shields import Shields, compile_shields
from service.ingestion.site import Site
from service.tables import load_tables
from tests.support.user_agents import user_agents

NOON: Final = 1_795_003_200
"""A noon, UTC epoch seconds."""
SALT: Final = bytes(range(16))
OLD_SALT: Final = bytes(range(16, 32))
FIREFOX: Final = "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0"
SITE: Final = Site(id=1, domain="example.com")


def make_request(**changes: Any) -> Request:
    """Give a pageview of https://example.com/, with changes."""
    fields: dict[str, Any] = {
        "timestamp": NOON,
        "remote_ip": "203.0.113.7",
        "user_agent": FIREFOX,
        "event_name": "pageview",
        "domains": ("example.com",),
        "url_host": "example.com",
        "hostname": "example.com",
        "pathname": "/",
    }
    return Request(**(fields | changes))


def make_tables(
    *,
    geo_database: Path | None = None,
    spam_list: Path | None = None,
    exchange_rates: Path | None = None,
    sources: Path | None = None,
    ip_lists: Sequence[str] = (),
) -> Tables:
    """Load the real tables, with the files given."""
    return load_tables(
        user_agents=user_agents(),
        geo_database=geo_database,
        spam_list=spam_list,
        exchange_rates=exchange_rates,
        sources=sources,
        ip_lists=ip_lists,
    ).tables


def make_context(
    tables: Tables,
    *,
    site: Site = SITE,
    shields: Shields | None = None,
    previous_salt: bytes | None = None,
) -> Context:
    """Give what the steps need beside the event."""
    return Context(
        site=site,
        shields=compile_shields(shields or Shields()),
        tables=tables,
        current_salt=SALT,
        previous_salt=previous_salt,
    )


def describe(context: Context, *, query: str = "", referrer: str = "") -> SessionAttributes:
    """Give what a visit to https://example.com/ begins with, read as the tracker sends it."""
    url = f"https://example.com/?{query}" if query else "https://example.com/"
    raw = RawEvent(n="pageview", u=url, d="example.com", r=referrer)
    request = build_request(raw, timestamp=NOON, remote_ip="203.0.113.7", user_agent=FIREFOX, ip_class=None)
    assert isinstance(request, Request), request
    event = Event(domain="example.com", request=request)
    assert run_steps(event, context) is None
    return describe_visit(event)


def build_event(context: Context, **changes: Any) -> Event:
    """Give an event that ran through all steps (or to the one that dropped it), also those that wait."""
    request = make_request(**changes)
    event = Event(domain=request.domains[0], request=request)
    if run_steps(event, context) is None:
        for step in STEPS:
            if step.waits:
                step.run(event, context)
    return event

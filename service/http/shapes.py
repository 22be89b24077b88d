"""The JSON that the admin API answers. Source: reference 17.2.

The reference's shapes are kept to the letter. With ``details=true`` a site or goal is given with all that is
known of it, which is a superset: number, former domain, limits and times of a site; currency of a goal.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from service.sites.records import Goal, Page, SiteRecord

T = TypeVar("T")

Shape = Mapping[str, Any]


def answer(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Give a JSON answer."""
    body = msgspec.json.encode(value)
    return web.Response(
        status=status, body=body, content_type="application/json", charset="utf-8", headers=headers
    )


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Give an answer that says in one sentence why there is no other."""
    return answer({"error": message}, status=status, headers=headers)


def show_site(site: SiteRecord, *, details: bool) -> Shape:
    """Give a site as create, get and update answer it."""
    if details:
        return _as_mapping(site)
    return {
        "domain": site.domain,
        "timezone": site.timezone,
        "custom_properties": site.custom_properties,
        "tracker_script_configuration": site.tracker_script_configuration,
    }


def show_listed_site(site: SiteRecord, *, details: bool) -> Shape:
    """Give a site as a list of sites holds it."""
    return _as_mapping(site) if details else {"domain": site.domain, "timezone": site.timezone}


def show_goal(goal: Goal, *, details: bool) -> Shape:
    """Give a goal."""
    shown = dict(_as_mapping(goal))
    if not details:
        del shown["currency"]
    return shown


def show_page(name: str, page: Page[T], show: Callable[[T], Shape]) -> Shape:
    """Give a part of a list under its name, with the cursors of its neighbours."""
    meta = {"after": page.after, "before": page.before, "limit": page.limit}
    return {name: [show(item) for item in page.items], "meta": meta}


def _as_mapping(record: SiteRecord | Goal) -> Shape:
    return msgspec.structs.asdict(record)

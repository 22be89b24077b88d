"""Where a visit came from: referrer, source, campaign tags, click id (reference 14.1 to 14.5 and 14.9).

A tag in the URL goes before the referrer. Names of sources come from the table that is handed in
(``source_table``).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from service.ingestion.request import Request
from service.ingestion.source_table import APP_PREFIX, Match, Referrer, SourceTable
from service.ingestion.url import split

TAG_PARAMETERS: Final = ("utm_source", "source", "ref")
CLICK_ID_PARAMETERS: Final = ("gclid", "gbraid", "wbraid", "msclkid", "fbclid", "twclid")
CAMPAIGN_PARAMETERS: Final = ("utm_medium", "utm_campaign", "utm_content", "utm_term")
PARAMETERS: Final = (*TAG_PARAMETERS, *CLICK_ID_PARAMETERS, *CAMPAIGN_PARAMETERS)
"""All that are looked at."""

_SCHEMES: Final = frozenset({"http", "https", "android-app"})


class Source(Struct, frozen=True, gc=False):
    """Where one event came from. Tags are as sent; ``None`` for a medium that was not sent at all."""

    referrer: str = ""
    """Host and path of a valid referrer, without ``www.``, scheme, query and trailing slashes."""
    referrer_source: str = ""
    click_id_param: str = ""
    """The name of the parameter that an advertisement left, never its value."""
    utm_medium: str | None = None
    utm_source: str = ""
    utm_campaign: str = ""
    utm_content: str = ""
    utm_term: str = ""


NO_SOURCE: Final = Source()


def find_source(request: Request, table: SourceTable) -> Source:
    """Give where a request came from, by its URL's query and its referrer."""
    return source_of(request.referrer, request.url_host, request.query, table)


def source_of(
    sent_referrer: str | None, url_host: str | None, query: Mapping[str, str] | None, table: SourceTable
) -> Source:
    """Give where a request with this referrer, and this host and query of its URL, came from."""
    referrer = parse_referrer(sent_referrer, url_host) if sent_referrer else None
    if not query:
        if referrer is None:
            return NO_SOURCE
        return Source(_stored_referrer(referrer), table.find(referrer))
    tag_name = _first_present(TAG_PARAMETERS, query)
    tag = query[tag_name] if tag_name else None
    return Source(
        referrer=_stored_referrer(referrer) if referrer is not None else "",
        referrer_source=_source_name(tag, referrer, table),
        click_id_param=_first_present(CLICK_ID_PARAMETERS, query),
        utm_medium=query.get("utm_medium"),
        utm_source=tag or "",
        utm_campaign=query.get("utm_campaign", ""),
        utm_content=query.get("utm_content", ""),
        utm_term=query.get("utm_term", ""),
    )


class SourceMatch(NamedTuple):
    """What told the source: a tag's parameter or ``referrer``, its text, and the rule that named it."""

    told_by: str
    text: str
    match: Match | None
    """None: no table knows it, so the text itself is the name."""


def match_source(request: Request, table: SourceTable) -> SourceMatch | None:
    """Give what ``find_source`` took the source's name from; None when there is no source."""
    query = request.query or {}
    if tag_name := _first_present(TAG_PARAMETERS, query):
        tag = query[tag_name]
        return SourceMatch(tag_name, tag, table.match_name(tag))
    referrer = parse_referrer(request.referrer, request.url_host) if request.referrer else None
    if referrer is None:
        return None
    return SourceMatch("referrer", referrer.prefix + referrer.host, table.match_referrer(referrer))


def infer_medium(source: Source) -> Source:
    """Give the medium of a search advertisement where none was sent (reference 14.4)."""
    if source.utm_medium is None and (source.referrer_source, source.click_id_param) in _INFERRED:
        return msgspec.structs.replace(source, utm_medium=f"({source.click_id_param})")
    return source


def parse_referrer(referrer: str, url_host: str | None) -> Referrer | None:
    """Give a referrer cut to what counts; None when it is invalid or is the site itself (reference 14.2)."""
    url = split(referrer)
    if url.scheme not in _SCHEMES or not url.host:
        return None
    host = url.host.removeprefix("www.")
    if url.host == "localhost" or host == (url_host or "").removeprefix("www."):
        return None
    return Referrer(APP_PREFIX if url.scheme == "android-app" else "", host, url.path)


_INFERRED: Final = frozenset({("Google", "gclid"), ("Bing", "msclkid")})


def _first_present(names: tuple[str, ...], query: Mapping[str, str]) -> str:
    for name in names:
        if name in query:
            return name
    return ""


def _stored_referrer(referrer: Referrer) -> str:
    return f"{referrer.prefix}{referrer.host}{referrer.path.rstrip('/')}"


def _source_name(tag: str | None, referrer: Referrer | None, table: SourceTable) -> str:
    if tag is not None:
        return table.name(tag)
    return table.find(referrer) if referrer is not None else ""

"""Where a visit came from: referrer, source, campaign tags, click id (reference 14.1 to 14.5 and 14.9).

A tag in the URL goes before the referrer. Names of sources come from a table that is handed in; its hosts
stand for their subdomains too, the longest host wins, and within a host the longest path (the reference goes
by file order).
"""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from service.ingestion.request import Request
from service.ingestion.url import split

TAG_PARAMETERS: Final = ("utm_source", "source", "ref")
CLICK_ID_PARAMETERS: Final = ("gclid", "gbraid", "wbraid", "msclkid", "fbclid", "twclid")
APP_PREFIX: Final = "android-app://"
MAX_HOST_CHARS: Final = 253
"""Longer names are no DNS names; no source is looked for."""

_SCHEMES: Final = frozenset({"http", "https", "android-app"})
_ANY_SUFFIX: Final = ".*"
_SECOND_LEVELS: Final = frozenset({"co", "com", "net", "org"})


class Category(enum.StrEnum):
    """What kind of place a source is; channels depend on it (reference 14.6)."""

    SEARCH = "search"
    SOCIAL = "social"
    SHOPPING = "shopping"
    VIDEO = "video"
    EMAIL = "email"
    AI_ASSISTANT = "ai_assistant"


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


class Referrer(Struct, frozen=True, gc=False):
    """A valid referrer cut to what counts: ``android-app://`` or nothing, host without ``www.``, path."""

    prefix: str
    host: str
    path: str


class SourceEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One source: its name, its hosts (``host``, ``host/path`` or ``name.*``) and other names for it."""

    name: str
    category: Category | None = None
    hosts: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    paid: tuple[str, ...] = ()
    """Other names that are used for advertisements only."""


class SourceTable:
    """All known sources, ready to be asked by host, by name and by category."""

    def __init__(self, entries: list[SourceEntry]) -> None:
        self._names: dict[str, str] = {}
        """Any name of a source in lower case to the one that is stored."""
        self._hosts: dict[str, list[tuple[str, str]]] = {}
        """Host to pairs of path (no slash at its end) and name, longest path first."""
        self._stems: dict[str, str] = {}
        """First label of a host that is the same source under every country's suffix."""
        self._categories: dict[str, Category] = {}
        self._paid: frozenset[str] = frozenset(alias for entry in entries for alias in entry.paid)
        for entry in entries:
            self._add(entry)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> "SourceTable":
        """Read a table with a list named ``source``. Raises msgspec.ValidationError that says where."""
        return cls(msgspec.convert(data.get("source", []), list[SourceEntry]))

    def name(self, text: str) -> str:
        """Give the canonical name for a tag or host, else the text as it is."""
        return self._names.get(text.lower(), text)

    def find(self, referrer: Referrer) -> str:
        """Give the name of the source that a referrer belongs to, else its host."""
        address = referrer.prefix + referrer.host
        known = self._names.get(address.lower())
        if known is not None:
            return known
        if not referrer.prefix and len(referrer.host) <= MAX_HOST_CHARS:
            found = self._find_host(referrer.host, referrer.path)
            if found is not None:
                return found
        return address

    def category(self, source: str) -> Category | None:
        """Give the category of a canonical name in lower case."""
        return self._categories.get(source)

    def is_paid(self, tag: str) -> bool:
        """Tell whether a tag in lower case is used for advertisements only."""
        return tag in self._paid

    def _add(self, entry: SourceEntry) -> None:
        for alias in (entry.name, *entry.aliases, *entry.paid):
            self._names[alias.lower()] = entry.name
        if entry.category is not None:
            self._categories[entry.name.lower()] = entry.category
        for address in entry.hosts:
            if address.endswith(_ANY_SUFFIX):
                self._stems[address.removesuffix(_ANY_SUFFIX)] = entry.name
                continue
            host, slash, path = address.partition("/")
            places = self._hosts.setdefault(host, [])
            places.append((slash + path.rstrip("/") if path else "", entry.name))
            places.sort(key=lambda place: len(place[0]), reverse=True)

    def _find_host(self, host: str, path: str) -> str | None:
        """Try the host, then what is left of it without its first label, and so on."""
        rest = host
        while True:
            for prefix, name in self._hosts.get(rest, ()):
                if path == prefix or path.startswith(f"{prefix}/") or not prefix:
                    return name
            label, dot, rest = rest.partition(".")
            if not dot:
                return None
            stem = self._stems.get(label)
            if stem is not None and _is_country_suffix(rest):
                return stem


def find_source(request: Request, table: SourceTable) -> Source:
    """Give where a request came from, by its URL's query and its referrer."""
    query = request.query
    referrer = parse_referrer(request.referrer, request.url_host) if request.referrer else None
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
    if host in ("", "localhost") or host == (url_host or "").removeprefix("www."):
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


def _is_country_suffix(suffix: str) -> bool:
    """Tell whether a suffix is a top-level domain, or one of a country's usual second levels (``co.uk``)."""
    first, dot, country = suffix.partition(".")
    return not dot or (first in _SECOND_LEVELS and len(country) == 2)

"""The table of sources: names for tags and for referrers' hosts, and the kind of place that each one is.

Source: reference 14.3 to 14.6 and 14.9. Hosts stand for their subdomains too, the longest host wins, and
within a host the longest path (the reference goes by file order). An operator's entries come after the built-
in ones and take what they name from them. A look-up is a walk over dictionaries, one step a label.
"""

import enum
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

MAX_HOST_CHARS: Final = 253
"""Longer names are no DNS names; no source is looked for."""
APP_PREFIX: Final = "android-app://"
BUILT_IN: Final = "built-in table"

_ANY_SUFFIX: Final = ".*"
_SECOND_LEVELS: Final = frozenset({"co", "com", "net", "org"})
_DOTS_OF_STEMS: Final = 2
"""google.co.uk"""
_DOTS_OF_PLAIN_HOSTS: Final = 4
"""Up to here a look at each label costs less than finding out which can matter."""
_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")
_STEM: Final = re.compile(r"[a-z0-9_-]+")


class Category(enum.StrEnum):
    """What kind of place a source is; channels depend on it (reference 14.6)."""

    SEARCH = "search"
    SOCIAL = "social"
    SHOPPING = "shopping"
    VIDEO = "video"
    EMAIL = "email"
    AI_ASSISTANT = "ai_assistant"


class Referrer(Struct, frozen=True, gc=False):
    """A valid referrer cut to what counts: ``android-app://`` or nothing, host without ``www.``, path."""

    prefix: str
    host: str
    path: str


class SourceEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One source, as ``data/sources.toml`` explains it."""

    name: str
    category: Category | None = None
    hosts: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    paid: tuple[str, ...] = ()
    """Other names that are used for advertisements only."""


class KindEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """Names that keep their own spelling and of which only the kind is known."""

    category: Category
    names: tuple[str, ...]
    """Tags or whole hosts, in lower case."""


Entry = SourceEntry | KindEntry


class SourceTableError(ValueError):
    """A table cannot be used; the sentence names the entry and what is wrong with it."""


class Match(NamedTuple):
    """What named a source: the rule as the table writes it, and the table it stands in."""

    name: str
    rule: str
    table: str


class SourceTable:
    """All known sources, ready to be asked by host, by name and by category."""

    def __init__(self, entries: Iterable[Entry] = (), *, table: str = BUILT_IN) -> None:
        self._names: dict[str, Match] = {}
        """Any name of a source in lower case."""
        self._hosts: dict[str, list[tuple[str, Match]]] = {}
        """Host to pairs of path (no slash at its end) and source, longest path first."""
        self._stems: dict[str, Match] = {}
        """First label of a host that is the same source under every country's suffix."""
        self._domains: dict[str, Match] = {}
        """Each with a dot before it."""
        self._domain_ends: tuple[str, ...] = ()
        """The same again, for one quick test."""
        self._dots: dict[str, int] = {}
        """The last two labels of hosts to the most dots in one of them; labels before cannot matter."""
        self._categories: dict[str, Category] = {}
        self._paid: set[str] = set()
        self.add(entries, table=table)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> "SourceTable":
        """Read a table with lists named ``source`` and ``kind``. Raises SourceTableError."""
        return cls(read_entries(data))

    def __len__(self) -> int:
        return len({match.name for match in self._names.values()})

    def add(self, entries: Iterable[Entry], *, table: str) -> None:
        """Add entries; what they name is theirs from now on."""
        for entry in entries:
            if isinstance(entry, KindEntry):
                self._categories |= dict.fromkeys(entry.names, entry.category)
            else:
                self._add(entry, table)
        self._domain_ends = tuple(self._domains)
        for host in self._hosts:
            end = ".".join(host.rsplit(".", 2)[-2:])
            self._dots[end] = max(host.count("."), self._dots.get(end, 0))

    def name(self, text: str) -> str:
        """Give the canonical name for a tag, else the text as it is."""
        match = self.match_name(text)
        return match.name if match is not None else text

    def find(self, referrer: Referrer) -> str:
        """Give the name of the source that a referrer belongs to, else its host."""
        match = self.match_referrer(referrer)
        return match.name if match is not None else referrer.prefix + referrer.host

    def match_name(self, text: str) -> Match | None:
        """Find what names a tag, or an address as a whole."""
        lower = text.lower()
        match = self._names.get(lower)
        return self._match_domain(lower) if match is None and lower.endswith(self._domain_ends) else match

    def match_referrer(self, referrer: Referrer) -> Match | None:
        """Find what names the source that a referrer belongs to."""
        host = referrer.host
        if referrer.prefix or len(host) > MAX_HOST_CHARS:
            return self.match_name(referrer.prefix + host)
        lower = host.lower()
        match = self._names.get(lower)
        if match is None and lower.endswith(self._domain_ends):
            match = self._match_domain(lower)
        if match is None:
            return self._match_host(host, referrer.path)
        # One page of a host may be something else than the host.
        for path, place in self._hosts.get(host, ()):
            if path and _is_below(referrer.path, path):
                return place
        return match

    def category(self, source: str) -> Category | None:
        """Give the category of a source in lower case: of a name, or of a host that was sent as a tag."""
        found = self._categories.get(source)
        if found is None and "." in source and len(source) <= MAX_HOST_CHARS:
            match = self._match_host(source, "")
            return self._categories.get(match.name.lower()) if match is not None else None
        return found

    def is_paid(self, tag: str) -> bool:
        """Tell whether a tag in lower case is used for advertisements only."""
        return tag in self._paid

    def _add(self, entry: SourceEntry, table: str) -> None:
        name = entry.name
        for alias in (name, *entry.aliases, *entry.paid):
            self._names[alias.lower()] = Match(name, alias, table)
        self._paid.update(alias.lower() for alias in entry.paid)
        if entry.category is not None:
            self._categories[name.lower()] = entry.category
        for domain in entry.domains:
            self._names[domain] = self._domains[f".{domain}"] = Match(name, domain, table)
        for address in entry.hosts:
            match = Match(name, address, table)
            if address.endswith(_ANY_SUFFIX):
                self._stems[address.removesuffix(_ANY_SUFFIX)] = match
                continue
            host, slash, path = address.partition("/")
            self._add_host(host, slash + path.rstrip("/") if path else "", match)

    def _add_host(self, host: str, path: str, match: Match) -> None:
        places = [place for place in self._hosts.get(host, ()) if place[0] != path]
        places.append((path, match))
        places.sort(key=lambda place: len(place[0]), reverse=True)
        self._hosts[host] = places
        known = self.match_name(host)
        if not path and known is not None and known.name != match.name:
            # Names go before hosts, so an older one would keep this host for itself.
            self._names[host] = match

    def _match_domain(self, text: str) -> Match:
        return next(match for end, match in self._domains.items() if text.endswith(end))

    def _match_host(self, host: str, path: str) -> Match | None:
        """Try the host, then what is left of it without its first label, and so on."""
        hosts, stems = self._hosts, self._stems
        rest = host if host.count(".") <= _DOTS_OF_PLAIN_HOSTS else self._without_idle_labels(host)
        while True:
            if rest in hosts:
                for place, match in hosts[rest]:
                    if not place or _is_below(path, place):
                        return match
            label, dot, rest = rest.partition(".")
            if not dot:
                return None
            if label in stems and _is_country_suffix(rest):
                return stems[label]

    def _without_idle_labels(self, host: str) -> str:
        """Give the end of a long host that can decide: so made-up hosts cost no more than short ones."""
        _, third, second, last = host.rsplit(".", 3)
        end = f"{second}.{last}"
        dots = self._dots.get(end, 1)
        if dots > _DOTS_OF_STEMS:
            excess = host.count(".") - dots
            return host.split(".", excess)[excess] if excess > 0 else host
        return f"{third}.{end}" if dots == _DOTS_OF_STEMS or third in self._stems else end


def read_entries(data: Mapping[str, object]) -> list[Entry]:
    """Read the entries of a table. Raises SourceTableError that names the entry."""
    if strangers := sorted(data.keys() - {"source", "kind"}):
        raise SourceTableError(
            f'"{strangers[0]}" is not known; a table holds [[source]] and [[kind]] entries'
        )
    sources, kinds = data.get("source", []), data.get("kind", [])
    if not isinstance(sources, list) or not isinstance(kinds, list) or not (sources or kinds):
        raise SourceTableError("there is no [[source]] in it")
    return [*_read_sources(sources), *_read_kinds(kinds)]


def _read_sources(raw: Iterable[object]) -> Iterable[SourceEntry]:
    owners: dict[str, str] = {}
    for number, item in enumerate(raw, 1):
        try:
            entry = msgspec.convert(item, SourceEntry)
            _check(entry, owners)
        except (msgspec.ValidationError, SourceTableError) as error:
            name = item.get("name") if isinstance(item, dict) else None
            raise SourceTableError(f"entry {number}{f' ({name})' if name else ''}: {error}") from None
        yield entry


def _read_kinds(raw: Iterable[object]) -> Iterable[KindEntry]:
    owners: dict[str, Category] = {}
    for number, item in enumerate(raw, 1):
        try:
            entry = msgspec.convert(item, KindEntry)
        except msgspec.ValidationError as error:
            raise SourceTableError(f"kind {number}: {error}") from None
        for name in entry.names:
            if not name.strip() or name != name.lower():
                raise SourceTableError(f'kind {number} ({entry.category}): "{name}" must be in lower case')
            if owners.setdefault(name, entry.category) is not entry.category:
                raise SourceTableError(
                    f'kind {number} ({entry.category}): "{name}" is already {owners[name]}'
                )
        yield entry


def _check(entry: SourceEntry, owners: dict[str, str]) -> None:
    """Refuse what could never be found, and what another entry of the same table has already."""
    if not entry.name.strip():
        raise SourceTableError("name is empty")
    for host in entry.hosts:
        if host.endswith(_ANY_SUFFIX):
            is_valid = _STEM.fullmatch(host.removesuffix(_ANY_SUFFIX)) is not None
        else:
            is_valid = _HOST.fullmatch(host.partition("/")[0]) is not None and not host.startswith("www.")
        if not is_valid:
            raise SourceTableError(
                f'hosts: "{host}" must be example.com, example.com/path or example.*, without scheme and www.'
            )
    for domain in entry.domains:
        if not _HOST.fullmatch(domain):
            raise SourceTableError(f'domains: "{domain}" must be like example.com')
    names = [alias.lower() for alias in (entry.name, *entry.domains, *entry.aliases, *entry.paid)]
    if not all(name.strip() for name in names):
        raise SourceTableError("a name is empty")
    for claim in (*entry.hosts, *names):
        owner = owners.setdefault(claim, entry.name)
        if owner != entry.name:
            raise SourceTableError(f'"{claim}" is already {owner}')


def _is_below(path: str, place: str) -> bool:
    return path.startswith(place) and (len(path) == len(place) or path[len(place)] == "/")


def _is_country_suffix(suffix: str) -> bool:
    """Tell whether a suffix is a top-level domain, or one of a country's usual second levels (``co.uk``)."""
    return "." not in suffix or (suffix[:-3] in _SECOND_LEVELS and suffix[-3] == ".")

"""What was sent, what was said of it, and what must therefore be stored: the model that a soak is held to.

Every event has a number, which is its page's path, and what it is follows from the number alone. So the
database can be asked for each single one, and a byte an event is all that has to be remembered.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

SITES: Final = 4
VISITORS_OF_A_SITE: Final = 150
NAMES: Final = (*["pageview"] * 6, *["Signup"] * 2, "Download", "engagement")
USER_AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
TRACKER_VERSION: Final = 24
_SPREAD: Final = 2_654_435_761
"""Multiplying by it sends neighbouring numbers to visitors far apart."""


class Fate(enum.IntEnum):
    """What the sender of an event knows of it."""

    UNSENT = 0
    """Not one byte of it was sent."""
    UNANSWERED = 1
    """Sent, and the connection ended before there was an answer: it may be stored, once."""
    ACKNOWLEDGED = 2
    """202: it must be stored, once."""
    DROPPED = 3
    """202, and the answer says that it was dropped: it must not be stored."""
    REFUSED = 4
    """503: it must not be stored; its sender tries again with the same number."""


class Ledger:
    """The fate of each number. A number's fate is changed by its one sender at a time."""

    def __init__(self) -> None:
        self._fates = bytearray()

    def __len__(self) -> int:
        return len(self._fates)

    def take_number(self) -> int:
        """Give a number that no event has yet."""
        self._fates.append(Fate.UNSENT)
        return len(self._fates) - 1

    def note(self, number: int, fate: Fate) -> None:
        """Remember what became of an event."""
        self._fates[number] = fate

    def count(self, fate: Fate) -> int:
        """Give how many events have this fate."""
        return self._fates.count(fate)

    def compare(self, stored: Iterable[tuple[int, int]]) -> "Comparison":
        """Hold what is stored, each number with how often it is, against what must be."""
        acknowledged_stored = duplicated = unwanted = unanswered_stored = 0
        for number, copies in stored:
            duplicated += copies - 1
            fate = self._fates[number]
            acknowledged_stored += fate == Fate.ACKNOWLEDGED
            unanswered_stored += fate == Fate.UNANSWERED
            unwanted += fate in {Fate.UNSENT, Fate.DROPPED, Fate.REFUSED}
        acknowledged = self.count(Fate.ACKNOWLEDGED)
        return Comparison(
            acknowledged=acknowledged,
            stored=acknowledged_stored,
            lost=acknowledged - acknowledged_stored,
            duplicated=duplicated,
            unwanted=unwanted,
            unanswered_stored=unanswered_stored,
        )


class Comparison(Struct, frozen=True):
    """What the database has of what it must have."""

    acknowledged: int
    stored: int
    """Of the acknowledged ones."""
    lost: int
    """Of the acknowledged ones."""
    duplicated: int
    """Copies beyond the first, of whatever event."""
    unwanted: int
    """Stored, though their sender was told that they are not."""
    unanswered_stored: int


def domain_of(site: int) -> str:
    """Give the domain of a site, counted from 0."""
    return f"site{site}.example"


def event_of(number: int) -> dict[str, object]:
    """Give the event of a number as a tracker sends it."""
    domain = domain_of(number % SITES)
    name = NAMES[number // SITES % len(NAMES)]
    event: dict[str, object] = {"n": name, "u": f"https://{domain}/{number}", "d": domain}
    if name == "engagement":
        event |= {"sd": number % 101, "e": 1000, "v": TRACKER_VERSION}
    return event


def address_of(number: int) -> str:
    """Give the address of the visitor to whom the event of a number belongs."""
    site, visitor = number % SITES, number * _SPREAD // 2**16 % VISITORS_OF_A_SITE
    return f"203.0.{site}.{visitor + 1}"


def headers_of(number: int) -> Mapping[str, str]:
    """Give the headers with which a tracker sends the event of a number."""
    return {"content-type": "text/plain", "user-agent": USER_AGENT, "x-forwarded-for": address_of(number)}

"""The heads of plain requests that came lately, and what they say: read once, however often they come.

A visitor's page views and engagement events have the same head, byte for byte, and so have the visitors that
one proxy speaks for as soon as they come again. Of a head that came once only its hash is remembered: most
never come again, and to keep them costs more than to read them. A head holds an address, so none is
remembered for longer than two turns after it came last: ``turn`` is called from time to time.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from service.http.intake import Sender

MAX_HEADS: Final = 4096
"""Of one generation; there are two."""
MAX_MET: Final = 16_384
"""Heads that came once since the last turn; with one more all of these are forgotten."""
MAX_REMEMBERED_BYTES: Final = 2048
TURN_S: Final = 60.0
"""How often the older generation is forgotten."""

_OF_ONE_REQUEST: Final = frozenset({"traceparent", "x-idempotency-key", "x-request-id"})
"""A head with one of these never comes again."""


class Head(Struct, eq=False, gc=False):
    """What the head of a plain request says."""

    headers: Mapping[str, str]
    """Those that are looked at, by their lower-case names, as aiohttp decodes them."""
    length: int
    """Bytes of the body."""
    closes: bool = False
    """Whether the sender wants the connection closed after the answer."""
    traceparent: str | None = None
    request_id: str | None = None
    sender: Sender | None = None
    """What it says of who sent it; None until somebody asked."""
    peer: str = ""
    """The peer for which ``sender`` is true."""
    is_kept: bool = False
    """Whether it is remembered."""


def make_head(headers: Mapping[str, str], length: int) -> Head:
    """Give the head with these headers."""
    return Head(
        headers,
        length,
        "connection" in headers and headers["connection"].lower() == "close",
        headers.get("traceparent"),
        headers.get("x-request-id"),
    )


class Heads:
    """Two generations: what comes again moves into the younger one, the older one is forgotten at a turn."""

    __slots__ = ("_met", "old", "young")

    def __init__(self) -> None:
        self.young: dict[bytes, Head] = {}
        """What came since the last turn, to be looked at without a call; ``get`` knows the others too."""
        self.old: dict[bytes, Head] = {}
        """What came in the turn before and not since."""
        self._met: set[int] = set()
        """The hashes of heads that came once."""

    def __len__(self) -> int:
        return len(self.young) + len(self.old)

    def get(self, data: bytes) -> Head | None:
        """Give what a head says; None when it did not come lately."""
        head = self.young.get(data)
        if head is None and self.old:
            head = self.old.pop(data, None)
            if head is not None:
                self._put(data, head)
        return head

    def remember(self, data: bytes, head: Head) -> None:
        """Remember a head when it comes for the second time, unless it is long or cannot come again."""
        met, name = self._met, hash(data)
        if name in met:
            if len(data) <= MAX_REMEMBERED_BYTES and _OF_ONE_REQUEST.isdisjoint(head.headers):
                self._put(data, head)
            return
        if len(met) >= MAX_MET:
            met.clear()
        met.add(name)

    def turn(self) -> None:
        """Forget what did not come since the last turn."""
        self.old, self.young = self.young, {}
        self._met.clear()

    def _put(self, data: bytes, head: Head) -> None:
        if len(self.young) >= MAX_HEADS:
            self.turn()
        self.young[data] = head
        head.is_kept = True

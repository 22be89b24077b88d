"""How often somebody may do something: so many times at once, then so many a second. Bounded in memory."""

import ipaddress
from collections import OrderedDict
from typing import Final

from service.clock import Clock

MAX_KEPT: Final = 1024
"""Beyond it who was seen longest ago is forgotten, and begins anew."""

IPV6_NETWORK_BITS: Final = 64
"""What one customer has is counted as one peer: else each had more addresses than can be kept."""


class Allowances:
    """What each of many has left; it comes back with time, whatever happens. Never raises."""

    def __init__(self, clock: Clock, *, burst: int, per_s: float) -> None:
        self._clock = clock
        self._burst = float(burst)
        self._per_s = per_s
        # What was left and when that was, who was seen longest ago first; who is not in it has all.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def has_some(self, who: str) -> bool:
        """Tell whether there is one left."""
        return self._now(who)[0] >= 1

    def take(self, who: str) -> bool:
        """Take one; False when none is left."""
        left, now = self._now(who)
        taken = left >= 1
        self._left[who] = (left - taken, now)
        self._left.move_to_end(who)
        if len(self._left) > MAX_KEPT:
            self._left.popitem(last=False)
        return taken

    def __len__(self) -> int:
        return len(self._left)

    def _now(self, who: str) -> tuple[float, float]:
        now = self._clock()
        left, before = self._left.get(who, (self._burst, now))
        if now < before:  # the clock was set back: time goes on from there
            self._left[who] = (left, now)
            before = now
        return min(self._burst, left + (now - before) * self._per_s), now


def peer_group(address: str) -> str:
    """Give under which name a peer is counted: its address, of IPv6 its network."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, IPV6_NETWORK_BITS), strict=False))

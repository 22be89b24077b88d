"""How many connections may be open at once, and which one goes when another one comes.

At the bound those that have been quiet longest, and have no request under way, make room for new ones: idle
ones, and those that send a head or a body in drops. Only when there are none is a new one refused.
"""

from collections.abc import Callable, Iterable
from typing import Final

from service.telemetry import Measured, catalogue

DEFAULT_LIMIT: Final = 16_384
QUIET_S: Final = 1.0
"""A connection that was answered since is not quiet yet."""
ROOM_SHARE: Final = 16
"""At the bound one in so many goes, so that the quiet ones need not be looked for each time."""
LINGERING: Final = 64
"""Refused connections that may stay beyond the limit until their senders have seen the answer."""
LOOK_AGAIN_S: Final = 0.5
"""How long nobody is looked for after nobody was found."""


class Door:
    """Counts the connections of the public listener and says whether there is room for one more."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.refused = 0
        """New connections that were answered 503 and closed."""
        self.let_go = 0
        """Quiet ones that were closed for new ones."""
        self.count: Callable[[], int] = int
        """Gives how many are open; the listener's own count once it runs."""
        self.lingering = 0
        """Refused ones that stay until their senders saw the answer; not counted as open."""
        self._look_at = 0.0
        # When it is worth while to look for quiet ones again, on the clock of the loop.

    def has_room(self, now: float, let_go: Callable[[int], int]) -> bool:
        """Tell whether a new connection may stay; ``let_go`` closes so many quiet ones, and gives how many.

        ``now`` is on the clock of the loop.
        """
        if self.count() < self.limit:
            return True
        if now >= self._look_at:
            gone = let_go(max(1, self.limit // ROOM_SHARE))
            self.let_go += gone
            if self.count() < self.limit:
                return True
            self._look_at = now + LOOK_AGAIN_S
        self.refused += 1
        return False

    def may_linger(self) -> bool:
        """Tell whether a refused connection may stay for a moment; it is one of ``lingering`` then."""
        stays = self.lingering < LINGERING
        self.lingering += stays
        return stays

    def measure(self) -> Iterable[Measured]:
        """Give the figures of the moment."""
        yield Measured(catalogue.CONNECTIONS_OPEN, self.count())
        yield Measured(catalogue.CONNECTIONS_LIMIT, self.limit)
        yield Measured(catalogue.CONNECTIONS_LET_GO, self.let_go)
        yield Measured(catalogue.CONNECTIONS_REFUSED, self.refused)

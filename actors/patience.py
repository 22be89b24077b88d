"""How long the line at the door may be: a stall is waited out, a load that stays too high is not.

Under a load that stays, the line is always as long as it may be, and all that is refused takes time besides:
with every second request refused a line of 50 ms keeps whoever is let in for more than 100. So it is shorter
from the first refusal on, until none was needed for a while.
"""

from typing import Final

STALL_SHARE: Final = 0.5
"""Of the longest line of a site, while none is turned away: who is let in at the door still waits there."""
OVERLOAD_SHARE: Final = 0.2
"""The same while there is too much to do."""
CALM_AFTER_S: Final = 1.0
"""Without a refusal."""


class Patience:
    """Remembers when somebody was turned away last."""

    __slots__ = ("_calm_at", "_overload_s", "_stall_s")

    def __init__(self, max_wait_s: float) -> None:
        self._stall_s = max_wait_s * STALL_SHARE
        self._overload_s = max_wait_s * OVERLOAD_SHARE
        self._calm_at = 0.0

    def ends(self, wait_s: float, now: float) -> bool:
        """Tell whether a line of so many seconds is too long for one more; ``now`` is on any steady clock."""
        if wait_s <= self._overload_s or (wait_s <= self._stall_s and now >= self._calm_at):
            return False
        self._calm_at = now + CALM_AFTER_S
        return True

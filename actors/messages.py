"""Every message of the system: its protocol on one page, grouped by receiver.

Imperative names are orders or questions; past participles are facts told.
"""

import enum
from collections.abc import Sequence

from msgspec import Struct

from service.ingestion.request import Request
from service.ingestion.rows import Entry
from service.ingestion.site import Site
from service.ingestion.verdict import Buffered, Dropped, DropReason, Retry, RetryReason, Verdict


class BuildResult(Struct, frozen=True):
    """What became of one request: a verdict for each of its domains, in the order they were sent."""

    outcomes: tuple[tuple[str, Verdict], ...]

    @property
    def buffered(self) -> list[str]:
        """The domains whose event is in the journal."""
        return [domain for domain, verdict in self.outcomes if isinstance(verdict, Buffered)]

    @property
    def dropped(self) -> list[tuple[str, DropReason]]:
        """The domains whose event was judged and will not be stored, with the reason."""
        return [(domain, verdict.reason) for domain, verdict in self.outcomes if isinstance(verdict, Dropped)]

    @property
    def refused(self) -> list[tuple[str, RetryReason]]:
        """The domains whose event was not judged and may be sent again."""
        return [(domain, verdict.reason) for domain, verdict in self.outcomes if isinstance(verdict, Retry)]

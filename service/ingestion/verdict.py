"""What becomes of one event for one domain: buffered, dropped with a reason, or refused for now.

Source: reference section 4.3. The reasons of the remote persistor and of enterprise-internal features are
left out.
"""

import enum
from typing import Final

from msgspec import Struct


class DropReason(enum.StrEnum):
    """Why an event was dropped; the value is the name used in headers, counters and metrics."""

    BOT = "bot"
    SPAM_REFERRER = "spam_referrer"
    NOT_FOUND = "not_found"
    BLOCK = "block"
    THROTTLE = "throttle"
    PAYMENT_REQUIRED = "payment_required"
    INVALID = "invalid"
    DC_IP = "dc_ip"
    THREAT_IP = "threat_ip"
    SITE_IP_BLOCKLIST = "site_ip_blocklist"
    SITE_COUNTRY_BLOCKLIST = "site_country_blocklist"
    SITE_PAGE_BLOCKLIST = "site_page_blocklist"
    SITE_HOSTNAME_ALLOWLIST = "site_hostname_allowlist"
    LOCK_TIMEOUT = "lock_timeout"
    NO_SESSION_FOR_ENGAGEMENT = "no_session_for_engagement"


class RetryReason(enum.StrEnum):
    """Why an event was refused without being judged; the sender should try again."""

    OVERLOADED = "overloaded"
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    SITE_UNAVAILABLE = "site_unavailable"
    NOT_READY = "not_ready"


class Buffered(Struct, frozen=True):
    """The event is in the journal: it will be in ClickHouse."""


class Repeated(Struct, frozen=True):
    """An event with this key is in the journal, or was; this one is not stored again."""


class Dropped(Struct, frozen=True):
    """The event was judged and will not be stored."""

    reason: DropReason


class Retry(Struct, frozen=True):
    """The event was not judged; nothing of it is kept. HTTP says 503 with Retry-After."""

    reason: RetryReason


Verdict = Buffered | Repeated | Dropped | Retry

BUFFERED: Final = Buffered()
"""The one Buffered; there is nothing to tell two of them apart."""
REPEATED: Final = Repeated()

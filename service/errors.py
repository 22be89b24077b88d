"""Every error that Gatehouse raises on purpose, in one tree.

::

    GatehouseError
    ├── ConfigError             a setting is wrong or unknown
    ├── RulesMissing            the rules for user agents are not there
    ├── SiteError               a change to a site, goal or shield was refused
    │   ├── SiteNotFound
    │   ├── GoalNotFound
    │   ├── ShieldRuleNotFound
    │   └── SiteInvalid         carries field and message
    ├── SiteStoreUnavailable    the sites' database is locked, full, broken or away
    ├── StoreError              ClickHouse
    │   ├── StoreUnavailable    away, slow or refusing connections: try again later
    │   ├── BlockRejected       it read the block and will never take it
    │   └── QueryFailed         a SQL statement of a person is wrong
    ├── TokenInvalid            a token's name is wrong, taken or unknown
    ├── QuestionInvalid         what was to be explained is no valid event
    ├── DownloadFailed          a list or a database could not be fetched from its URL
    └── JournalError            the disk
        ├── JournalFull         the size limit or the disk is reached
        ├── QuarantineFull      the quarantine's size limit is reached
        ├── JournalLocked       another process owns the folder
        └── JournalCorrupt      a segment cannot be read

The actor kernel has errors of its own (``actors.runtime``), because it knows nothing of this package.
"""


class GatehouseError(Exception):
    """Base of all; its text is a sentence for a person in a hurry."""


class ConfigError(GatehouseError):
    """A setting is wrong or unknown; the service does not start."""


class RulesMissing(GatehouseError):
    """The package with the rules for user agents is not there, or not as it should be."""


class SiteError(GatehouseError):
    """A change to a site, goal or shield was refused."""


class SiteNotFound(SiteError):
    """No site is registered under that domain."""


class GoalNotFound(SiteError):
    """The site has no goal with that number."""


class ShieldRuleNotFound(SiteError):
    """The site has no such shield rule."""


class SiteInvalid(SiteError):
    """A value breaks a rule; ``field`` names it, ``message`` says which rule."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class SiteStoreUnavailable(GatehouseError):
    """The sites' database is locked, full, broken or away; nothing was changed."""


class StoreError(GatehouseError):
    """ClickHouse did not do what it was asked to."""


class StoreUnavailable(StoreError):
    """ClickHouse is away, slow or refuses connections; the same call may work later."""


class BlockRejected(StoreError):
    """ClickHouse read the block and will never take it, however often it is sent."""


class QueryFailed(StoreError):
    """A statement written by a person is wrong; the text is ClickHouse's own answer."""


class TokenInvalid(GatehouseError):
    """A token of the admin API cannot be made or revoked: its name is wrong, taken or unknown."""


class QuestionInvalid(GatehouseError):
    """What was to be explained is no valid event; the text names every field that is wrong."""


class DownloadFailed(GatehouseError):
    """What was to be fetched is away, slow, too long or refused."""


class JournalError(GatehouseError):
    """The journal cannot be read or written."""


class JournalFull(JournalError):
    """The journal's size limit, or the disk, is full; nothing was written."""


class QuarantineFull(JournalError):
    """The quarantine's size limit is reached; the row was not kept."""


class JournalLocked(JournalError):
    """Another process owns the journal's folder."""


class JournalCorrupt(JournalError):
    """A segment's header cannot be read; it was set aside."""

"""Every metric of the service: its name, type, unit, attributes, meaning, and what to do when it moves.

The only place where a metric is named. ``docs/telemetry.md`` is made from it. Names and units follow
OpenTelemetry's conventions; no attribute holds a domain, an address or anything else that a visitor or a
sender chooses (site × reason is in the table ``ingest_counters``).
"""

from typing import Final

from service.telemetry.metric import BYTES, SECONDS, Metric

STEP_BOUNDS_S: Final = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2e-2, 0.1)
REQUEST_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""What the semantic conventions advise for ``http.server.request.duration``."""
LAG_BOUNDS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
DISK_BOUNDS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
INSERT_BOUNDS_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
DELAY_BOUNDS_S: Final = (
    0.1,
    0.2,
    0.5,
    1.0,
    1.5,
    2.0,
    3.0,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
    7200.0,
    43200.0,
)
BLOCK_BOUNDS: Final = (1.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 50_000.0, 100_000.0)


def telemetry_event_buffered() -> str:
    """Give the name under which buffered events are counted."""
    return "gatehouse.events.buffered"


def telemetry_event_dropped() -> str:
    """Give the name under which dropped events are counted, by attribute ``reason``."""
    return "gatehouse.events.dropped"


def telemetry_event_refused() -> str:
    """Give the name under which events are counted that were not judged, by attribute ``reason``."""
    return "gatehouse.events.refused"


EVENTS_BUFFERED: Final = Metric(
    name=telemetry_event_buffered(),
    kind="counter",
    unit="{event}",
    meaning="Events that are in the journal, so that they will be in ClickHouse; one for each domain.",
    advice="A fall to nothing while `http.server.request.duration` goes on: see what is dropped or refused.",
)
EVENTS_DROPPED: Final = Metric(
    name=telemetry_event_dropped(),
    kind="counter",
    unit="{event}",
    attributes=("reason",),
    meaning="Events that were judged and are not stored.",
    advice="A jump: ask `ingest_counters` which domain. `not_found`: a site is missing or misspelt; `bot`, "
    "`dc_ip`, `threat_ip`, `spam_referrer`: traffic of machines; `lock_timeout`: the service is too "
    "slow, see `gatehouse.mailbox.age` and `gatehouse.event_loop.lag`; `invalid`: a bug, please "
    "report it.",
)
EVENTS_REPEATED: Final = Metric(
    name="gatehouse.events.repeated",
    kind="counter",
    unit="{event}",
    meaning="Events that were stored before, under the same key of their sender; not stored again.",
    advice="Many: senders do not get their answers in time, see `http.server.request.duration`.",
)
KEYS_REMEMBERED: Final = Metric(
    name="gatehouse.keys.remembered",
    kind="gauge",
    unit="{key}",
    meaning="Keys of idempotent senders that are remembered, of 24 hours.",
    advice="Near the setting `idempotency_max_keys`: see `gatehouse.keys.forgotten`.",
)
KEYS_FORGOTTEN: Final = Metric(
    name="gatehouse.keys.forgotten",
    kind="counter",
    unit="{key}",
    meaning="Keys that were forgotten before 24 hours were over, because there were too many.",
    advice="Above 0: a retry may be stored twice; raise `idempotency_max_keys` (some 85 bytes a key).",
)
CONNECTIONS_OPEN: Final = Metric(
    name="gatehouse.connections.open",
    kind="gauge",
    unit="{connection}",
    meaning="Connections of senders and monitors that are open.",
    advice="Near `gatehouse.connections.limit`: quiet connections are closed early for new ones.",
)
CONNECTIONS_LIMIT: Final = Metric(
    name="gatehouse.connections.limit",
    kind="gauge",
    unit="{connection}",
    meaning="Connections that may be open: `max_connections`, or fewer when the system allows fewer files.",
    advice="Lower than `max_connections`: raise the limit of open files (`ulimit -n`, `LimitNOFILE`).",
)
CONNECTIONS_LET_GO: Final = Metric(
    name="gatehouse.connections.let_go",
    kind="counter",
    unit="{connection}",
    meaning="Quiet connections that were closed early because new ones came and there was no room.",
    advice="It grows: more senders than `max_connections` keep connections open, or somebody opens "
    "connections to use them up; events are taken all the same.",
)
CONNECTIONS_REFUSED: Final = Metric(
    name="gatehouse.connections.refused",
    kind="counter",
    unit="{connection}",
    meaning="New connections that were answered 503 and closed, because all open ones were at work.",
    advice="It grows: raise `max_connections`, or put a proxy in front that shares connections.",
)
EVENTS_REFUSED: Final = Metric(
    name=telemetry_event_refused(),
    kind="counter",
    unit="{event}",
    attributes=("reason",),
    meaning="Events that were not judged: the sender got 503 and is told to try again.",
    advice="`overloaded`: more is sent than one core takes; `journal_unavailable`: the disk is full or "
    "broken, or ClickHouse was away too long, see `gatehouse.journal.size`; `site_unavailable`: an "
    "actor crashes, see the log; `not_ready`: the service starts or stops.",
)
EVENTS_INSERTED: Final = Metric(
    name="gatehouse.events.inserted",
    kind="counter",
    unit="{event}",
    meaning="Events that ClickHouse has confirmed, those that an earlier process left in the journal "
    "included.",
    advice="Stands still while events are buffered: see `gatehouse.insert.retries`.",
)
EVENTS_WAITING: Final = Metric(
    name="gatehouse.events.waiting",
    kind="gauge",
    unit="{event}",
    meaning="Events in the journal that ClickHouse has not confirmed.",
    advice="Grows: ClickHouse is away or slower than the traffic. None of them is lost.",
)
EVENT_DELAY: Final = Metric(
    name="gatehouse.event.delay",
    kind="histogram",
    unit=SECONDS,
    bounds=DELAY_BOUNDS_S,
    meaning="From the moment that an event is in the journal until ClickHouse has confirmed its row.",
    advice="About `block_max_age_s` plus one insert when all is well. More: ClickHouse is slow or away.",
)
REQUEST_DURATION: Final = Metric(
    name="http.server.request.duration",
    kind="histogram",
    unit=SECONDS,
    attributes=(
        "http.request.method",
        "url.scheme",
        "http.route",
        "http.response.status_code",
        "error.type",
    ),
    bounds=REQUEST_BOUNDS_S,
    meaning="Requests to the public listener, from the head's arrival to the answer; without a route: "
    "nothing is there.",
    advice="Slow: see `gatehouse.event_loop.lag`, then `gatehouse.journal.sync.duration`. 503: see "
    "`gatehouse.events.refused`. 500: a bug, please report it.",
)
REQUESTS_IN_FLIGHT: Final = Metric(
    name="gatehouse.requests.in_flight",
    kind="gauge",
    unit="{request}",
    meaning="Requests that have no verdict yet; at `max_in_flight` more are refused.",
    advice="Near the limit: the service is full, or the disk of the journal does not answer.",
)
STEP_DURATION: Final = Metric(
    name="gatehouse.pipeline.step.duration",
    kind="histogram",
    unit=SECONDS,
    attributes=("step",),
    bounds=STEP_BOUNDS_S,
    meaning="What one step of the pipeline took, measured for one event in 512; a step after a drop is not "
    "run.",
    advice="Tells where the time of an event goes.",
)
USER_AGENTS_GIVEN_UP: Final = Metric(
    name="gatehouse.user_agents.given_up",
    kind="counter",
    unit="{user_agent}",
    meaning="User agents whose parsing took too long; their events are stored without browser and system.",
    advice="A rise: somebody sends user agents made to be slow.",
)
MAILBOX_DEPTH: Final = Metric(
    name="gatehouse.mailbox.depth",
    kind="gauge",
    unit="{message}",
    attributes=("actor.kind",),
    meaning="Messages that wait, in all mailboxes of the kind; of sites counted over the last ten seconds.",
    advice="Grows steadily: that kind of actor is the bottleneck, or it hangs; see the age.",
)
MAILBOX_AGE: Final = Metric(
    name="gatehouse.mailbox.age",
    kind="gauge",
    unit=SECONDS,
    attributes=("actor.kind",),
    meaning="How long the oldest message has waited, to a tenth of a second; of sites, the oldest event.",
    advice="Seconds at `buffer`: the journal's disk hangs. At `inserter` or `counters`: ClickHouse is "
    "away, which is no loss. At `front` or `site`: too little CPU.",
)
SITES_KNOWN: Final = Metric(
    name="gatehouse.sites.known",
    kind="gauge",
    unit="{site}",
    meaning="Domains whose events are taken.",
    advice="0 after a start: the list of sites could not be read.",
)
SITES_AWAKE: Final = Metric(
    name="gatehouse.sites.awake",
    kind="gauge",
    unit="{site}",
    meaning="Sites that have an actor in memory.",
    advice="For planning memory.",
)
SESSIONS_LIVE: Final = Metric(
    name="gatehouse.sessions.live",
    kind="gauge",
    unit="{session}",
    meaning="Sessions in memory, of all sites.",
    advice="Near `gatehouse.sessions.limit`: raise `max_sessions` if there is memory.",
)
SESSIONS_LIMIT: Final = Metric(
    name="gatehouse.sessions.limit",
    kind="gauge",
    unit="{session}",
    meaning="The setting `max_sessions`.",
    advice="The room for `gatehouse.sessions.live`.",
)
SESSIONS_EVICTED: Final = Metric(
    name="gatehouse.sessions.evicted",
    kind="counter",
    unit="{session}",
    meaning="Sessions that ended early because there were `max_sessions`; their visitors' next events begin "
    "new ones.",
    advice="Any rise: visits are counted too high; raise `max_sessions`.",
)
DEAD_LETTERS: Final = Metric(
    name="gatehouse.dead_letters",
    kind="counter",
    unit="{message}",
    attributes=("actor.kind", "reason"),
    meaning="Messages that nobody handled, because a mailbox was full or its actor had ended. Never an "
    "event: these get a verdict.",
    advice="Ticks to an actor that hangs are normal in small numbers; the log names the messages.",
)
ACTOR_RESTARTS: Final = Metric(
    name="gatehouse.actor.restarts",
    kind="counter",
    unit="{restart}",
    attributes=("actor.kind",),
    meaning="Actors that crashed and were started again.",
    advice="Any: a bug; the log has the place in the code. Please report it.",
)
ASKS_TIMED_OUT: Final = Metric(
    name="gatehouse.asks.timed_out",
    kind="counter",
    unit="{ask}",
    attributes=("actor.kind",),
    meaning="Questions to an actor that had no answer in time; at `site`, events dropped as `lock_timeout`.",
    advice="See `gatehouse.mailbox.age` of that kind.",
)
EVENT_LOOP_LAG: Final = Metric(
    name="gatehouse.event_loop.lag",
    kind="histogram",
    unit=SECONDS,
    bounds=LAG_BOUNDS_S,
    meaning="How much later than planned the event loop came to a timer that is due ten times a second.",
    advice="Often above 50 ms: the core is full, or something blocks the loop.",
)
JOURNAL_SIZE: Final = Metric(
    name="gatehouse.journal.size",
    kind="gauge",
    unit=BYTES,
    meaning="What the journal holds on disk.",
    advice="Grows for minutes: ClickHouse does not keep up. At `gatehouse.journal.limit` events get 503.",
)
JOURNAL_LIMIT: Final = Metric(
    name="gatehouse.journal.limit",
    kind="gauge",
    unit=BYTES,
    meaning="What the journal may grow to: `journal_max_bytes`, or less when its disk is full before.",
    advice="The room for `gatehouse.journal.size`. Below the setting: its disk is too small.",
)
JOURNAL_WRITTEN: Final = Metric(
    name="gatehouse.journal.written",
    kind="counter",
    unit=BYTES,
    meaning="What was appended to the journal.",
    advice="Its rate says how long the room that is left will last while ClickHouse is away.",
)
JOURNAL_SEGMENTS: Final = Metric(
    name="gatehouse.journal.segments",
    kind="gauge",
    unit="{segment}",
    meaning="Blocks in the journal, the open one included.",
    advice="More than three for long: ClickHouse does not keep up.",
)
JOURNAL_OLDEST_AGE: Final = Metric(
    name="gatehouse.journal.oldest.age",
    kind="gauge",
    unit=SECONDS,
    meaning="Age of the oldest block that ClickHouse has not confirmed; 0 when there is none.",
    advice="How far the database is behind. Above a minute: see `gatehouse.insert.retries` and the log.",
)
JOURNAL_SYNC_DURATION: Final = Metric(
    name="gatehouse.journal.sync.duration",
    kind="histogram",
    unit=SECONDS,
    bounds=DISK_BOUNDS_S,
    meaning="How long appends waited for the disk to confirm them; only with `durability` = `fsync`.",
    advice="Slow: the disk is; every request waits for it.",
)
BUFFER_ROWS: Final = Metric(
    name="gatehouse.buffer.rows",
    kind="gauge",
    unit="{event}",
    meaning="Events in the block that is being filled.",
    advice="At `block_max_rows` the block is closed, so it never stays there.",
)
BUFFER_AGE: Final = Metric(
    name="gatehouse.buffer.age",
    kind="gauge",
    unit=SECONDS,
    meaning="Age of the first event in the block that is being filled.",
    advice="Far above `block_max_age_s`: the buffer hangs; see `gatehouse.mailbox.age`.",
)
BLOCK_SIZE: Final = Metric(
    name="gatehouse.block.size",
    kind="histogram",
    unit="{event}",
    attributes=("trigger",),
    bounds=BLOCK_BOUNDS,
    meaning="Events in a block when it was closed, and why it was (`size`, `age`, `flush`, `failure`).",
    advice="Many small blocks make ClickHouse merge more: raise `block_max_age_s`.",
)
BLOCKS_REJECTED: Final = Metric(
    name="gatehouse.blocks.rejected",
    kind="counter",
    unit="{block}",
    meaning="Blocks of which ClickHouse refused rows; the rest of each was stored.",
    advice="Any: `gatehouse quarantine list` has the rows and ClickHouse's words.",
)
INSERT_DURATION: Final = Metric(
    name="gatehouse.insert.duration",
    kind="histogram",
    unit=SECONDS,
    attributes=("outcome",),
    bounds=INSERT_BOUNDS_S,
    meaning="One try to insert a block: `inserted`, `failed` (it is tried again), or `refused` (rows of "
    "it were).",
    advice="Slow: ClickHouse has too much to do, or too many parts.",
)
INSERT_RETRIES: Final = Metric(
    name="gatehouse.insert.retries",
    kind="counter",
    unit="{retry}",
    attributes=("error.type",),
    meaning="Tries that ClickHouse, or the disk, did not take and that are repeated with the same token.",
    advice="Rises: ClickHouse is away or refuses; the log has its words. Nothing is lost while the journal "
    "has room.",
)
ROWS_QUARANTINED: Final = Metric(
    name="gatehouse.rows.quarantined",
    kind="counter",
    unit="{row}",
    attributes=("table",),
    meaning="Rows that ClickHouse refuses and that went to the quarantine.",
    advice="Any: rows are missing in the database; `gatehouse quarantine list` says why.",
)
BLOCKS_POSTPONED: Final = Metric(
    name="gatehouse.blocks.postponed",
    kind="gauge",
    unit="{block}",
    meaning="Blocks that wait in the journal, because the quarantine has no room for their refused rows.",
    advice="Any: `gatehouse quarantine list` says what is in it; retry or discard rows, and they go on.",
)
QUARANTINE_ROWS: Final = Metric(
    name="gatehouse.quarantine.rows",
    kind="gauge",
    unit="{row}",
    meaning="Refused rows on disk.",
    advice="Any: put the tables right, then `gatehouse quarantine retry`.",
)
QUARANTINE_SIZE: Final = Metric(
    name="gatehouse.quarantine.size",
    kind="gauge",
    unit=BYTES,
    meaning="What the refused rows take on disk.",
    advice="Grows: ClickHouse refuses more and more; see `gatehouse quarantine list`.",
)
ROWS_INSERTED: Final = Metric(
    name="gatehouse.rows.inserted",
    kind="counter",
    unit="{row}",
    attributes=("table",),
    meaning="Rows that ClickHouse has confirmed.",
    advice="`sessions_v2` has up to two rows an event, `ingest_counters` a few a minute.",
)
CACHE_HITS: Final = Metric(
    name="gatehouse.cache.hits",
    kind="counter",
    unit="{lookup}",
    attributes=("cache",),
    meaning="Look-ups that were answered from memory.",
    advice="A share that falls: see the misses.",
)
CACHE_MISSES: Final = Metric(
    name="gatehouse.cache.misses",
    kind="counter",
    unit="{lookup}",
    attributes=("cache",),
    meaning="Look-ups that had to be worked out.",
    advice="A large share: somebody sends made-up user agents or hosts, which costs CPU. Of "
    "`sites`: sites that begin to get events, each a read of the site database.",
)
TALLY_FOLDED: Final = Metric(
    name="gatehouse.tally.folded",
    kind="counter",
    unit="{count}",
    meaning="Counts that stand under the domain `(other)` in `ingest_counters`, for there were too many "
    "domains.",
    advice="A flood of made-up domains; the totals are right.",
)
SALT_AGE: Final = Metric(
    name="gatehouse.salt.age",
    kind="gauge",
    unit=SECONDS,
    meaning="Time since 00:00 UTC of the day for which the salt in force was made.",
    advice="Above 86,400: it was not rotated, because the site database cannot be written; no event is "
    "taken then.",
)
GEO_DATABASE_AGE: Final = Metric(
    name="gatehouse.geo_database.age",
    kind="gauge",
    unit=SECONDS,
    meaning="Time since the geo database was made, by its own word; absent when it does not say.",
    advice="Above five weeks: fetch a newer one (`gatehouse geo update`), addresses move.",
)
GEO_LOOKUPS_FAILED: Final = Metric(
    name="gatehouse.geo.lookups_failed",
    kind="counter",
    unit="{lookup}",
    meaning="Look-ups in the geo database that found it damaged.",
    advice="Any: replace the file.",
)
TABLES_STALE: Final = Metric(
    name="gatehouse.tables.stale",
    kind="gauge",
    unit="{table}",
    meaning="Tables whose last refresh failed; what was there before stays in force.",
    advice="Readiness says which; the log says why.",
)
EXPORTS_FAILED: Final = Metric(
    name="gatehouse.telemetry.exports.failed",
    kind="counter",
    unit="{export}",
    meaning="Exports of metrics that the collector did not take. Counters lose nothing by it.",
    advice="The collector is away or slow; the log says so once a minute.",
)
TRACES_CUT: Final = Metric(
    name="gatehouse.traces.cut",
    kind="counter",
    unit="{trace}",
    meaning="Traces of failed, retried or slow requests that were not kept: too many in one second, or no "
    "room on the way to the collector.",
    advice="Grows while requests fail: see `http.server.request.duration` by status. Otherwise the collector "
    "is slow.",
)
SPAN_LINKS_CUT: Final = Metric(
    name="gatehouse.span_links.cut",
    kind="counter",
    unit="{link}",
    meaning="Requests that the span of their block does not link to, because it links to enough others.",
    advice="Grows when more is sampled than a block can name: lower `trace_ratio`.",
)
SPANS_LOST: Final = Metric(
    name="gatehouse.spans.lost",
    kind="counter",
    unit="{span}",
    meaning="Spans that the collector did not take.",
    advice="The collector is away or slow; the log says so once a minute. Events are not touched by it.",
)
ADMIN_REFUSALS: Final = Metric(
    name="gatehouse.admin.refusals",
    kind="counter",
    unit="{request}",
    attributes=("reason",),
    meaning="Requests to the admin API that were turned away: `no_token`, `wrong_token`, `slowed` (too many "
    "of these from one address), `read_only` (the token may not change things), `too_fast` (one token, too "
    "often).",
    advice="`wrong_token` or `slowed`: somebody tries tokens, or a script has one that was revoked.",
)
BUILD_INFO: Final = Metric(
    name="gatehouse.build.info",
    kind="gauge",
    unit="{build}",
    attributes=("version", "python"),
    meaning="Always 1; its attributes say which build runs.",
    advice="Tells which processes of a fleet run an old build.",
)

CATALOGUE: Final = (
    EVENTS_BUFFERED,
    EVENTS_DROPPED,
    EVENTS_REPEATED,
    EVENTS_REFUSED,
    KEYS_REMEMBERED,
    KEYS_FORGOTTEN,
    EVENTS_WAITING,
    EVENTS_INSERTED,
    EVENT_DELAY,
    REQUEST_DURATION,
    REQUESTS_IN_FLIGHT,
    CONNECTIONS_OPEN,
    CONNECTIONS_LIMIT,
    CONNECTIONS_LET_GO,
    CONNECTIONS_REFUSED,
    STEP_DURATION,
    USER_AGENTS_GIVEN_UP,
    CACHE_HITS,
    CACHE_MISSES,
    MAILBOX_DEPTH,
    MAILBOX_AGE,
    SITES_KNOWN,
    SITES_AWAKE,
    SESSIONS_LIVE,
    SESSIONS_LIMIT,
    SESSIONS_EVICTED,
    DEAD_LETTERS,
    ACTOR_RESTARTS,
    ASKS_TIMED_OUT,
    EVENT_LOOP_LAG,
    JOURNAL_SIZE,
    JOURNAL_LIMIT,
    JOURNAL_WRITTEN,
    JOURNAL_SEGMENTS,
    JOURNAL_OLDEST_AGE,
    JOURNAL_SYNC_DURATION,
    BUFFER_ROWS,
    BUFFER_AGE,
    BLOCK_SIZE,
    BLOCKS_REJECTED,
    INSERT_DURATION,
    INSERT_RETRIES,
    ROWS_INSERTED,
    ROWS_QUARANTINED,
    BLOCKS_POSTPONED,
    QUARANTINE_ROWS,
    QUARANTINE_SIZE,
    TALLY_FOLDED,
    SALT_AGE,
    GEO_DATABASE_AGE,
    GEO_LOOKUPS_FAILED,
    TABLES_STALE,
    EXPORTS_FAILED,
    TRACES_CUT,
    SPAN_LINKS_CUT,
    SPANS_LOST,
    ADMIN_REFUSALS,
    BUILD_INFO,
)
"""In the order of the documentation: the way of an event."""

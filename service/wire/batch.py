"""``POST /api/events``: many events of a trusted sender in one body, and a verdict for each. Gatehouse's own.

- The body is a JSON list, or JSON values one a line (NDJSON); at most 1,000 items in 8 MB.
- An item has the fields of an event (reference 3.2) and perhaps ``timestamp``, ``ip`` and ``user_agent``, and
  an ``id``: one that was stored in the last 24 hours is not stored again.
- An item that is wrong is ``invalid`` by itself; the others are not held up by it.
- ``timestamp``: seconds since 1970, or ISO 8601 text, UTC where it names no zone. Up to 72 h back; up to 60 s
  ahead it is taken for a fast clock and becomes now.
- Of an item's several domains the worst verdict is the item's: one to try again, then one that was dropped.
"""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct, structs

from service.ingestion.idempotency import KEY_MESSAGE, is_key
from service.ingestion.raw_event import RawEvent, UsualEvent
from service.ingestion.request import FieldError, Request, build_request, build_usual
from service.ingestion.text import MAX_BYTES_OF_CHAR, has_at_most_bytes
from service.ingestion.verdict import BUFFERED, Buffered, Dropped, Repeated, Verdict
from service.wire import strict_json
from service.wire.forwarded import parse_address
from service.wire.reply import JSON, RETRY_AFTER, Reply, errors_by_field, errors_reply

MAX_ITEMS: Final = 1000
MAX_BODY_BYTES: Final = 8_000_000
MAX_SEPARATORS: Final = 1_000_000
"""Security limit on commas and line breaks, before millions of tiny items are cut apart and then refused."""
MAX_OBJECTS: Final = 4 * MAX_ITEMS
"""Braces up to which a list is read in one go: items are objects, and may hold some."""
MAX_AGE_S: Final = 72 * 3600
MAX_AHEAD_S: Final = 60
MAX_USER_AGENT_BYTES: Final = 8192
"""As long as a header may be."""
MAX_USUAL_USER_AGENT_CHARS: Final = MAX_USER_AGENT_BYTES // MAX_BYTES_OF_CHAR

NDJSON_TYPES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

NOT_A_LIST: Final = errors_reply([FieldError("request", "must be a JSON list, or JSON objects one a line")])
TOO_MANY: Final = errors_reply(
    [FieldError("request", f"should have at most {MAX_ITEMS} item(s)")], status=413
)
TOO_LARGE: Final = errors_reply(
    [FieldError("request", f"should be at most {MAX_BODY_BYTES} byte(s)")], status=413
)
BROKEN_OFF: Final = errors_reply([FieldError("request", "ended before its time")])
UNAUTHORISED: Final = errors_reply(
    [FieldError("authorization", "must be Bearer and the sender token, which the data folder holds")],
    status=401,
    headers=(("www-authenticate", "Bearer"),),
)

NOT_AN_OBJECT: Final = FieldError("request", "must be a JSON object")


class BatchItem(RawEvent):
    """An event of a batch as it stands on the wire."""

    timestamp: Any = None
    ip: Any = None
    user_agent: Any = None
    id: Any = None


class UsualItem(UsualEvent, kw_only=True):
    """An event of a batch as nearly every sender has it; see ``UsualEvent``."""

    timestamp: Any = None
    ip: str
    user_agent: Annotated[str, Meta(max_length=MAX_USUAL_USER_AGENT_CHARS)]
    id: Any = None


class Invalid(Struct, frozen=True):
    """An item that is wrong, and everything that is wrong with it."""

    errors: list[FieldError]


Item = Request | Invalid
Outcome = Sequence[tuple[str, Verdict]] | Invalid
"""What became of an item: a verdict for each of its domains, or it was wrong."""

VERDICTS: Final = ("buffered", "dropped", "invalid", "retry")
_WORST_FIRST: Final = ("retry", "dropped", "buffered")
_BUFFERED: Final[dict[str, object]] = {"verdict": "buffered"}

_ITEM: Final = msgspec.json.Decoder(BatchItem)
_ITEMS: Final = msgspec.json.Decoder(list[BatchItem])
_USUAL_ITEMS: Final = msgspec.json.Decoder(list[UsualItem])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_JSON_SPACE: Final = b" \t\r\n"


def decode_batch(
    body: bytes, *, content_type: str | None, now: float, remote_ip: str, user_agent: str | None
) -> list[Item] | Reply:
    """Read a body into requests and errors, in its order; or say why nothing of it can be read. Never raises.

    ``now`` is UTC epoch seconds. ``remote_ip`` and ``user_agent`` are the sender's own, for items without.
    """
    if body.count(b",") + body.count(b"\n") > MAX_SEPARATORS:
        return TOO_MANY
    items: Sequence[BatchItem | UsualItem | None] | None = _decode_whole(body, content_type or "")
    if items is None:
        parts = _cut(body, content_type or "")
        if parts is None:
            return NOT_A_LIST
        if len(parts) > MAX_ITEMS:
            return TOO_MANY
        items = list(map(_decode_item, parts))
    elif len(items) > MAX_ITEMS:
        return TOO_MANY
    return [_build(item, now, remote_ip, user_agent) for item in items]


def batch_reply(outcomes: Sequence[Outcome]) -> Reply:
    """Answer a batch with a verdict for each item; 503 only when not one of them was judged."""
    results = [_result(outcome) for outcome in outcomes]
    counts = Counter([result["verdict"] for result in results])
    totals = {verdict: counts[verdict] for verdict in VERDICTS}
    body = msgspec.json.encode({"results": results, **totals})
    if results and counts["retry"] == len(results):
        return Reply(503, JSON, body, RETRY_AFTER)
    return Reply(202, JSON, body)


def _cut(body: bytes, content_type: str) -> Sequence[bytes | msgspec.Raw] | None:
    """Cut a body into its items, by content type or first character; None when it is no list of any kind."""
    if _is_lines(body, content_type):
        return [line for line in body.split(b"\n") if line.strip(_JSON_SPACE)]
    try:
        return strict_json.decode(body, _LIST)
    except strict_json.JsonError:
        return None


def _is_lines(body: bytes, content_type: str) -> bool:
    is_object = body.lstrip(_JSON_SPACE)[:1] == b"{"
    return is_object or content_type.partition(";")[0].strip().lower() in NDJSON_TYPES


def _decode_whole(body: bytes, content_type: str) -> Sequence[BatchItem | UsualItem] | None:
    """Read a list of objects in one go; None when it is no such list, or may be a large one."""
    if body.count(b"{") > MAX_OBJECTS or _is_lines(body, content_type):
        return None
    usual = strict_json.try_decode(body, _USUAL_ITEMS)
    if usual is not None:
        return usual
    try:
        return strict_json.decode(body, _ITEMS)
    except strict_json.JsonError:
        return None


def _decode_item(part: bytes | msgspec.Raw) -> BatchItem | None:
    try:
        return strict_json.decode(bytes(part), _ITEM)
    except strict_json.JsonError:
        return None


def _build_usual(item: UsualItem, now: float) -> Request | None:
    """Make a Request, the same as ``_build``; None when there may be trouble."""
    errors: list[FieldError] = []
    moment = timestamp = int(now)
    if item.timestamp is not None:
        timestamp = _find_timestamp(item.timestamp, now, errors)
    key = None if item.id is None else _find_key(item.id, errors)
    address = parse_address(item.ip)
    if address is None or errors:
        return None
    return build_usual(item, timestamp, address, item.user_agent, None, key, None, timestamp < moment)


def _build(item: BatchItem | UsualItem | None, now: float, remote_ip: str, user_agent: str | None) -> Item:
    if item is None:
        return Invalid([NOT_AN_OBJECT])
    if isinstance(item, UsualItem):
        request = _build_usual(item, now)
        if request is not None:
            return request
        item = BatchItem(**structs.asdict(item))
    errors: list[FieldError] = []
    moment = int(now)
    timestamp = moment if item.timestamp is None else _find_timestamp(item.timestamp, now, errors)
    ip = remote_ip if item.ip is None else _find_ip(item.ip, remote_ip, errors)
    agent = user_agent if item.user_agent is None else _find_user_agent(item.user_agent, user_agent, errors)
    built = build_request(
        item,
        timestamp=timestamp,
        remote_ip=ip,
        user_agent=agent,
        ip_class=None,
        back_dated=timestamp < moment,
        key=None if item.id is None else _find_key(item.id, errors),
    )
    if isinstance(built, list):
        errors += built
        return Invalid(errors)
    return Invalid(errors) if errors else built


def _find_timestamp(value: Any, now: float, errors: list[FieldError]) -> int:
    """Give UTC epoch seconds, cut to whole ones as the server's own time is."""
    seconds = _seconds(value)
    if seconds is None:
        errors.append(FieldError("timestamp", "must be seconds since 1970 or ISO 8601 text"))
    elif seconds > now + MAX_AHEAD_S:
        errors.append(FieldError("timestamp", f"must be at most {MAX_AHEAD_S} s ahead"))
    elif seconds < now - MAX_AGE_S:
        errors.append(FieldError("timestamp", f"must be at most {MAX_AGE_S // 3600} h back"))
    else:
        return min(math.floor(seconds), int(now))
    return int(now)


def _seconds(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _find_ip(value: Any, fallback: str, errors: list[FieldError]) -> str:
    address = parse_address(value) if isinstance(value, str) else None
    if address is None:
        errors.append(FieldError("ip", "must be an IPv4 or IPv6 address"))
    return address or fallback


def _find_user_agent(value: Any, fallback: str | None, errors: list[FieldError]) -> str | None:
    if not isinstance(value, str):
        errors.append(FieldError("user_agent", "is invalid"))
    elif not has_at_most_bytes(value, MAX_USER_AGENT_BYTES):
        errors.append(FieldError("user_agent", f"should be at most {MAX_USER_AGENT_BYTES} byte(s)"))
    else:
        return value
    return fallback


def _find_key(value: Any, errors: list[FieldError]) -> str | None:
    key = str(value) if type(value) is int else value
    if isinstance(key, str) and is_key(key):
        return key
    errors.append(FieldError("id", KEY_MESSAGE))
    return None


def _result(outcome: Outcome) -> dict[str, object]:
    """Describe one item: by its worst verdict, and by domain where it has several."""
    if type(outcome) is tuple and len(outcome) == 1 and outcome[0][1] is BUFFERED:
        return _BUFFERED
    if isinstance(outcome, Invalid):
        return {"verdict": "invalid", "errors": errors_by_field(outcome.errors)}
    verdicts: dict[str, dict[str, object]] = {}
    for domain, verdict in outcome:
        described = _describe(verdict)
        verdicts[domain] = min(verdicts.get(domain, described), described, key=_rank)
    worst = min(verdicts.values(), key=_rank)
    return worst if len(verdicts) == 1 else {**worst, "domains": verdicts}


def _describe(verdict: Verdict) -> dict[str, object]:
    if isinstance(verdict, Buffered):
        return {"verdict": "buffered"}
    if isinstance(verdict, Repeated):
        return {"verdict": "buffered", "repeated": True}
    return {"verdict": "dropped" if isinstance(verdict, Dropped) else "retry", "reason": verdict.reason}


def _rank(described: dict[str, object]) -> int:
    return _WORST_FIRST.index(str(described["verdict"]))

"""What ``POST /api/event`` means, whoever read the request off its connection. Source: reference section 1.

The order is the reference's: trouble with a body that its parsers read (JSON, forms) comes first, before the
CORS step; then the method override, the ``Accept`` check, and last a tracker's body (``text/plain``).
"""

from typing import Final, NamedTuple, final

from msgspec import Struct

from actors.messages import BuildResult
from service.clock import Clock
from service.http.body import BodyTrouble
from service.http.settings import PublicSettings
from service.ingestion.identity import VisitorMemo
from service.ingestion.raw_event import RawEvent
from service.ingestion.request import FieldError, Request, build_request, build_usual
from service.ingestion.verdict import BUFFERED
from service.wire.accept import choose_format
from service.wire.event_api import (
    RAW,
    USUAL_EVENT,
    BodyKind,
    Decoded,
    Refused,
    body_kind,
    broken_off,
    decode_event,
    decode_raw,
    too_large,
)
from service.wire.forwarded import Lookup, resolve_ip_class, resolve_remote_ip
from service.wire.reply import OK, Reply, error_view, errors_reply, event_reply
from service.wire.strict_json import try_decode

EVENT_PATH: Final = "/api/event"
KEY_HEADER: Final = "x-idempotency-key"
NOT_FOUND: Final = 404
NOT_ACCEPTABLE: Final = 406
MAX_USUAL_BYTES: Final = 16_384
"""A longer body is read once, whatever it holds: a stranger's megabyte must not be decoded twice."""
OVERRIDING_METHODS: Final = frozenset({"PUT", "PATCH", "DELETE"})
KINDS_READ_FIRST: Final = frozenset({BodyKind.JSON, BodyKind.URLENCODED, BodyKind.MULTIPART})


@final
class Refusal(NamedTuple):
    """The answer to a request that no site gets to see."""

    reply: Reply
    cors: bool = True
    """Whether it has CORS headers: not when it was refused before the reference's CORS step."""


class Sender(Struct, frozen=True, gc=False):
    """What the headers say; the same for all requests with the same headers from the same peer."""

    remote_ip: str
    ip_class: str | None
    user_agent: str | None
    key: str | None
    """By which it marks this event, to send it again without harm."""
    memo: VisitorMemo | None
    """None where nobody remembers this sender."""
    is_usual: bool
    """Whether it sends and takes what trackers do: what is below needs no look then."""
    kind: BodyKind
    content_type: str | None
    accept: str | None
    takes_json: bool
    """Whether the ``Accept`` header lets us answer, if nothing else says what is wanted."""


class EventIntake:
    """Makes a ``Request`` of what was received, and a ``Reply`` of what became of it."""

    def __init__(self, settings: PublicSettings, clock: Clock) -> None:
        self._proxies = settings.trusted_proxies
        self._with_reasons = settings.drop_reasons_header
        self._clock = clock

    def meet(self, header: Lookup, peer: str, *, is_kept: bool = False) -> Sender:
        """Read the headers; never raises. ``is_kept`` says that the Sender will be asked for again."""
        content_type, accept = header("content-type"), header("accept")
        kind = body_kind(content_type)
        takes_json = choose_format(("json",), accept) is not None
        # In the order of the fields, which is quicker than by their names.
        return Sender(
            resolve_remote_ip(header, peer, self._proxies)[0],
            resolve_ip_class(header, peer, self._proxies),
            header("user-agent"),
            header(KEY_HEADER),
            VisitorMemo() if is_kept else None,
            takes_json and kind is RAW,
            kind,
            content_type,
            accept,
            takes_json,
        )

    def understand(
        self, sender: Sender, body: bytes | BodyTrouble, wanted: object = None
    ) -> Request | Refusal:
        """Judge one request by its sender and its body, or by why there is none; never raises.

        ``wanted`` is the ``_format`` parameter of the query, None when it has none.
        """
        clock = self._clock
        timestamp = int(clock())
        if sender.is_usual and wanted is None and isinstance(body, bytes):
            usual = try_decode(body, USUAL_EVENT) if len(body) <= MAX_USUAL_BYTES else None
            if usual is not None:
                request = build_usual(
                    usual,
                    timestamp,
                    sender.remote_ip,
                    sender.user_agent,
                    sender.ip_class,
                    sender.key,
                    sender.memo,
                )
                if request is not None:
                    return request
            event: RawEvent | list[FieldError] | Refusal = decode_raw(body)
        else:
            event = _read_unusual(sender, body, wanted)
        if not isinstance(event, RawEvent):
            return event if isinstance(event, Refusal) else Refusal(errors_reply(event))
        built = build_request(
            event,
            timestamp=timestamp,
            remote_ip=sender.remote_ip,
            user_agent=sender.user_agent,
            ip_class=sender.ip_class,
            key=sender.key,
            memo=sender.memo,
        )
        return built if isinstance(built, Request) else Refusal(errors_reply(built))

    def reply(self, result: BuildResult) -> Reply:
        """Tell what became of the request."""
        outcomes = result.outcomes
        if len(outcomes) == 1 and outcomes[0][1] is BUFFERED:
            return OK
        return event_reply(outcomes, with_reasons=self._with_reasons)


def _read_unusual(
    sender: Sender, body: bytes | BodyTrouble, wanted: object
) -> RawEvent | list[FieldError] | Refusal:
    """Read what is no tracker's usual body, or sent by who wants something else than a tracker does."""
    kind, accept = sender.kind, sender.accept
    event = decode_body(b"" if kind is BodyKind.ABSENT else body, kind, sender.content_type)
    if kind in KINDS_READ_FIRST:
        if isinstance(event, Refused):
            return Refusal(error_view(event.status, accept=accept), cors=False)
        if isinstance(event, RawEvent):
            wanted = wanted if event.format is None else event.format
            if _overrides_method(event):
                return Refusal(error_view(NOT_FOUND, accept=accept, wanted=wanted))
    if not (sender.takes_json if wanted is None else wanted == "json"):
        return Refusal(error_view(NOT_ACCEPTABLE, accept=accept, wanted=wanted))
    assert not isinstance(event, Refused), "a body that is not read first is refused by its errors"
    return event


def decode_body(body: bytes | BodyTrouble, kind: BodyKind, content_type: str | None) -> Decoded:
    """Read a body, or say why there is none."""
    if isinstance(body, bytes):
        return decode_event(body, kind, content_type=content_type)
    return too_large(kind) if body is BodyTrouble.TOO_LARGE else broken_off(kind, status=body.value)


def _overrides_method(event: RawEvent) -> bool:
    """Whether a field of the body makes another method of this POST, for which there is no route."""
    return isinstance(event.method, str) and event.method.upper() in OVERRIDING_METHODS

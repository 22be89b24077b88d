"""``POST /api/event``, ``POST /api/events`` and all that no other route takes. Source: reference section 1.

The order is the reference's: bodies that its parsers read (JSON, forms) are read first, for any URL; then
come CORS, the method override, the route, the ``Accept`` check, and last a tracker's body (``text/plain``).
"""

import hmac
from typing import Final

from aiohttp import web
from multidict import istr

from actors.runtime import ActorError
from service.clock import Clock
from service.http.answers import PREFLIGHT, Answers
from service.http.body import BodyTrouble, read_body
from service.http.peer import find_peer
from service.http.settings import EventSystem, PublicSettings
from service.http.tracing import Handler, TracedHandler, traced
from service.ingestion.raw_event import RawEvent
from service.ingestion.request import Request, build_request
from service.tracing.records import RequestTrace
from service.tracing.spans import Tracing
from service.wire import batch
from service.wire.accept import choose_format
from service.wire.event_api import BodyKind, Decoded, Refused, body_kind, broken_off, decode_event, too_large
from service.wire.forwarded import resolve_ip_class, resolve_remote_ip
from service.wire.reply import TRY_AGAIN, Reply, errors_reply, event_reply

NOT_FOUND: Final = 404
NOT_ACCEPTABLE: Final = 406
OVERRIDING_METHODS: Final = frozenset({"PUT", "PATCH", "DELETE"})
METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
KINDS_READ_FIRST: Final = frozenset({BodyKind.JSON, BodyKind.URLENCODED, BodyKind.MULTIPART})

_ACCEPT: Final = istr("Accept")
_AUTHORIZATION: Final = istr("Authorization")
_CONTENT_TYPE: Final = istr("Content-Type")
_PREFLIGHT_METHOD: Final = istr("Access-Control-Request-Method")
_USER_AGENT: Final = istr("User-Agent")


class EventRoutes:
    """The handlers that take events, and the one for everything that is not there."""

    def __init__(
        self,
        *,
        system: EventSystem,
        settings: PublicSettings,
        clock: Clock,
        answers: Answers,
        tracing: Tracing | None = None,
    ) -> None:
        self._system = system
        self._settings = settings
        self._clock = clock
        self._answers = answers
        self._token = settings.sender_token.encode()
        self._tracing = tracing

    def routes(self) -> list[web.RouteDef]:
        """Give the routes, the last of which takes everything."""
        return [
            web.post("/api/event", self._followed(self.take_event, "/api/event")),
            web.post("/api/events", self._followed(self.take_events, "/api/events")),
            web.route("*", "/{anything:.*}", self.find_nothing),
        ]

    async def take_event(self, request: web.Request, trace: RequestTrace | None = None) -> web.Response:
        """Take one event of a tracker."""
        content_type = request.headers.get(_CONTENT_TYPE)
        kind = body_kind(content_type)
        event: Decoded = RawEvent()
        if kind in KINDS_READ_FIRST:
            event = await self._decode(request, kind, content_type)
            if isinstance(event, Refused):
                return self._answers.view_error(request, event.status, cors=False)
        wanted = _wanted_format(request, event)
        if isinstance(event, RawEvent) and _overrides_method(event):
            return self._answers.view_error(request, NOT_FOUND, wanted=wanted)
        if choose_format(("json",), accept=request.headers.get(_ACCEPT), wanted=wanted) is None:
            return self._answers.view_error(request, NOT_ACCEPTABLE, wanted=wanted)
        if kind is BodyKind.RAW:
            event = await self._decode(request, kind, content_type)
        return self._answers.answer(request, await self._judge(request, event, trace))

    async def take_events(self, request: web.Request, trace: RequestTrace | None = None) -> web.Response:
        """Take a batch of a trusted sender."""
        if not self._is_trusted_sender(request):
            return self._answers.answer(request, batch.UNAUTHORISED)
        body = await self._read(request, batch.MAX_BODY_BYTES)
        if isinstance(body, BodyTrouble):
            reply = batch.TOO_LARGE if body is BodyTrouble.TOO_LARGE else batch.BROKEN_OFF
            return self._answers.answer(request, reply)
        decoded = batch.decode_batch(
            body,
            content_type=request.headers.get(_CONTENT_TYPE),
            now=self._clock(),
            remote_ip=self._remote_ip(request),
            user_agent=request.headers.get(_USER_AGENT),
        )
        reply = decoded if isinstance(decoded, Reply) else await self._judge_batch(decoded, trace)
        return self._answers.answer(request, reply)

    async def find_nothing(self, request: web.Request) -> web.Response:
        """Answer a preflight for any URL, and 404 for everything else."""
        if request.method == "OPTIONS" and _PREFLIGHT_METHOD in request.headers:
            return self._answers.answer(request, PREFLIGHT)
        content_type = request.headers.get(_CONTENT_TYPE)
        kind = body_kind(content_type)
        if request.method in METHODS_WITH_BODY and kind in KINDS_READ_FIRST:
            event = await self._decode(request, kind, content_type)
            if isinstance(event, Refused):
                return self._answers.view_error(request, event.status, cors=False)
        return self._answers.view_error(request, NOT_FOUND, wanted=_wanted_format(request, None))

    async def _judge(self, request: web.Request, event: Decoded, trace: RequestTrace | None) -> Reply:
        """Answer a body that was decoded: what is wrong with it, or what became of it."""
        if not isinstance(event, RawEvent):
            assert isinstance(event, list), "a refusal was answered before"
            return errors_reply(event)
        header, peer, proxies = request.headers.get, find_peer(request), self._settings.trusted_proxies
        built = build_request(
            event,
            timestamp=int(self._clock()),
            remote_ip=resolve_remote_ip(header, peer, proxies)[0],
            user_agent=request.headers.get(_USER_AGENT),
            ip_class=resolve_ip_class(header, peer, proxies),
        )
        if isinstance(built, list):
            return errors_reply(built)
        try:
            result = await self._system.build_and_buffer(built, trace)
        except ActorError:
            return TRY_AGAIN
        return event_reply(result.outcomes, with_reasons=self._settings.drop_reasons_header)

    async def _judge_batch(self, items: list[batch.Item], trace: RequestTrace | None) -> Reply:
        requests = [item for item in items if isinstance(item, Request)]
        try:
            results = iter(await self._system.build_and_buffer_batch(requests, trace))
        except ActorError:
            return TRY_AGAIN
        return batch.batch_reply(
            [item if isinstance(item, batch.Invalid) else next(results).outcomes for item in items]
        )

    def _followed(self, handler: TracedHandler, route: str) -> Handler:
        # Chosen once, so that a service without telemetry does not even ask.
        if self._tracing is None:
            return handler
        return traced(handler, route, tracing=self._tracing, trusted=self._settings.trusted_proxies)

    async def _decode(self, request: web.Request, kind: BodyKind, content_type: str | None) -> Decoded:
        body = await self._read(request, kind.limit_bytes)
        if body is BodyTrouble.TOO_LARGE:
            return too_large(kind)
        if isinstance(body, BodyTrouble):
            return broken_off(kind, status=body.value)
        return decode_event(body, kind, content_type=content_type)

    async def _read(self, request: web.Request, limit_bytes: int) -> bytes | BodyTrouble:
        return await read_body(request, limit_bytes=limit_bytes, timeout_s=self._settings.body_timeout_s)

    def _remote_ip(self, request: web.Request) -> str:
        return resolve_remote_ip(request.headers.get, find_peer(request), self._settings.trusted_proxies)[0]

    def _is_trusted_sender(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get(_AUTHORIZATION, "").partition(" ")
        return (
            scheme.lower() == "bearer"
            and bool(self._token)
            and hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        )


def _overrides_method(event: RawEvent) -> bool:
    """Whether a field of the body makes another method of this POST, for which there is no route."""
    return isinstance(event.method, str) and event.method.upper() in OVERRIDING_METHODS


def _wanted_format(request: web.Request, event: Decoded | None) -> object:
    """Give the ``_format`` parameter, which the body may hold, or the query."""
    if isinstance(event, RawEvent) and event.format is not None:
        return event.format
    return request.query.get("_format") if "_format" in request.raw_path else None

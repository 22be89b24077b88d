"""``POST /api/event``, ``POST /api/events`` and all that no other route takes, as handlers of aiohttp.

What an event's request means stands in ``intake``. For any other URL too, bodies that the reference's parsers
read (JSON, forms) are read before the route is looked for. Source: reference section 1.
"""

import hmac
from collections.abc import Callable
from typing import Final

from aiohttp import web
from multidict import istr

from actors.runtime import ActorError
from service.clock import Clock
from service.http.answers import PREFLIGHT, Answers
from service.http.body import BodyTrouble, read_body
from service.http.intake import EVENT_PATH, KINDS_READ_FIRST, NOT_FOUND, EventIntake, Refusal, decode_body
from service.http.peer import find_peer
from service.http.settings import EventSystem, PublicSettings
from service.http.tracing import Handler, TracedHandler, traced
from service.ingestion.request import Request
from service.tracing.records import RequestTrace
from service.tracing.spans import Tracing
from service.wire import batch
from service.wire.event_api import BodyKind, Refused, body_kind
from service.wire.forwarded import resolve_remote_ip
from service.wire.reply import TRY_AGAIN, Reply

BATCH_PATH: Final = "/api/events"
METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

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
        intake: EventIntake,
        tracing: Tracing | None = None,
    ) -> None:
        self._system = system
        self._settings = settings
        self._clock = clock
        self._answers = answers
        self._intake = intake
        self._token = settings.sender_token.encode()
        self._tracing = tracing

    def routes(self) -> list[web.RouteDef]:
        """Give the routes, the last of which takes everything."""
        return [
            web.post(EVENT_PATH, self._followed(self.take_event, EVENT_PATH, _trusts_nobody)),
            web.post(BATCH_PATH, self._followed(self.take_events, BATCH_PATH, self._is_trusted_sender)),
            web.route("*", "/{anything:.*}", self.find_nothing),
        ]

    async def take_event(self, request: web.Request, trace: RequestTrace | None = None) -> web.Response:
        """Take one event of a tracker."""
        kind = body_kind(request.headers.get(_CONTENT_TYPE))
        body = b"" if kind is BodyKind.ABSENT else await self._read(request, kind.limit_bytes)
        sender = self._intake.meet(request.headers.get, find_peer(request))
        understood = self._intake.understand(sender, body, wanted=_wanted_format(request))
        if isinstance(understood, Refusal):
            return self._answers.answer(request, understood.reply, cors=understood.cors)
        try:
            reply = self._intake.reply(await self._system.build_and_buffer(understood, trace))
        except ActorError:
            reply = TRY_AGAIN
        return self._answers.answer(request, reply)

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
            body = await self._read(request, kind.limit_bytes)
            refused = decode_body(body, kind, content_type)
            if isinstance(refused, Refused):
                return self._answers.view_error(request, refused.status, cors=False)
        return self._answers.view_error(request, NOT_FOUND, wanted=_wanted_format(request))

    async def _judge_batch(self, items: list[batch.Item], trace: RequestTrace | None) -> Reply:
        requests = [item for item in items if isinstance(item, Request)]
        try:
            results = iter(await self._system.build_and_buffer_batch(requests, trace))
        except ActorError:
            return TRY_AGAIN
        return batch.batch_reply(
            [item if isinstance(item, batch.Invalid) else next(results).outcomes for item in items]
        )

    def _followed(
        self, handler: TracedHandler, route: str, is_trusted: Callable[[web.Request], bool]
    ) -> Handler:
        # Chosen once, so that a service without telemetry does not even ask.
        if self._tracing is None:
            return handler
        return traced(
            handler,
            route,
            tracing=self._tracing,
            trusted=self._settings.trusted_proxies,
            is_trusted=is_trusted,
        )

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


def _trusts_nobody(_: web.Request) -> bool:
    """Tell that the sender is a stranger: what a tracker says of itself, anybody can say."""
    return False


def _wanted_format(request: web.Request) -> str | None:
    """Give the ``_format`` parameter of the query."""
    return request.query.get("_format") if "_format" in request.raw_path else None

"""Who may pass to the admin API: a bearer token of the scope that the route needs, and not too often.

Questions (``GET``, ``HEAD``) and routes that are named here need ``read``, everything else ``write``. So does
a SELECT: with ClickHouse's table functions it reads files and URLs that have nothing to do with events.

Tries that fail are counted, and slowed by peer: after some at once a peer has one a second. The tokens that
we make cannot be guessed, so a good one always passes, however many others fail from the same address (a
proxy's, perhaps). One that somebody made up is shorter and may be guessable: while its peer has no try left
it is not even looked at, which ends a second after the wrong ones do.
"""

import enum
import logging
from collections.abc import Callable
from typing import Final, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from service.clock import Clock
from service.errors import ConfigError
from service.http.admin_limits import Allowances, peer_group
from service.http.admin_tokens import AdminToken, Scope
from service.http.peer import find_peer
from service.http.shapes import refusal

NO_KEY: Final = "Missing API key. Please use a valid Plausible API key as a Bearer Token."
WRONG_KEY: Final = (
    "Invalid API key. Please make sure you're using a valid API key"
    " with access to the resource you've requested."
)
ONLY_READS: Final = (
    "This token may only read. `gatehouse token create NAME --scope write` makes one that may change things."
)
TOO_MANY_FAILED: Final = (
    "Too many requests without a valid API key came from your address; try again in a second."
)
TOO_FAST: Final = "Too many requests with this API key; try again in a second."

FAILURES_AT_ONCE: Final = 10
FAILURES_PER_S: Final = 1.0
REQUESTS_AT_ONCE: Final = 500
REQUESTS_PER_S: Final = 100.0
"""With one token; several times what scripts that add sites one by one need."""

UNGUESSABLE_CHARS: Final = 43
"""As long as 32 random bytes are when they are written down (``TOKEN_BYTES``)."""

READING_METHODS: Final = frozenset({"GET", "HEAD"})
READING_ROUTES: Final = frozenset({"/api/v1/explain"})
"""Whatever their method, they change nothing."""

_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}
_WAIT: Final = {"Retry-After": "1"}

log = logging.getLogger(__name__)


class Refused(enum.StrEnum):
    """Why a request was turned away, as it is counted."""

    NO_TOKEN = "no_token"  # noqa: S105 - a reason
    WRONG_TOKEN = "wrong_token"  # noqa: S105 - a reason
    SLOWED = "slowed"
    """Without a valid token, from an address that had no try left."""
    READ_ONLY = "read_only"
    TOO_FAST = "too_fast"


class KnownTokens(Protocol):
    """What is needed of the list of tokens (``AdminTokens``)."""

    def find(self, given: str) -> AdminToken | None:
        """Give the token that this is. Raises ConfigError when the list cannot be read."""


def admin_gate(tokens: KnownTokens, *, clock: Clock, count: Callable[[str], None]) -> Middleware:
    """Give what stands before every path, also unknown ones; ``count`` is told of each refusal."""
    failures = Allowances(clock, burst=FAILURES_AT_ONCE, per_s=FAILURES_PER_S)
    requests = Allowances(clock, burst=REQUESTS_AT_ONCE, per_s=REQUESTS_PER_S)

    def refuse(
        why: Refused, status: int, sentence: str, headers: dict[str, str] | None = None
    ) -> web.Response:
        count(why)
        return refusal(status, sentence, headers)

    def refuse_failed(peer: str, why: Refused, sentence: str) -> web.Response:
        if not failures.take(peer):
            return refuse(Refused.SLOWED, 429, TOO_MANY_FAILED, _WAIT)
        if why is Refused.WRONG_TOKEN:
            log.warning("An admin request with a wrong token was refused")
        return refuse(why, 401, sentence, _CHALLENGE)

    @web.middleware
    async def check_token(request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = peer_group(find_peer(request))
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        given = given.strip()
        if scheme.lower() != "bearer" or not given:
            return refuse_failed(peer, Refused.NO_TOKEN, NO_KEY)
        if len(given) < UNGUESSABLE_CHARS and not failures.has_some(peer):
            return refuse(Refused.SLOWED, 429, TOO_MANY_FAILED, _WAIT)
        try:
            token = tokens.find(given)
        except ConfigError as error:
            log.error("Nobody is let in to the admin API by a token: %s", error)
            return refusal(503, "Tokens cannot be checked; the log of the service says why.")
        if token is None:
            return refuse_failed(peer, Refused.WRONG_TOKEN, WRONG_KEY)
        if not requests.take(token.name):
            return refuse(Refused.TOO_FAST, 429, TOO_FAST, _WAIT)
        if needed_scope(request) is Scope.WRITE and token.scope is not Scope.WRITE:
            return refuse(Refused.READ_ONLY, 403, ONLY_READS)
        return await handler(request)

    return check_token


def needed_scope(request: web.Request) -> Scope:
    """Give the scope without which a request is refused."""
    resource = request.match_info.route.resource
    reads = request.method in READING_METHODS or (
        resource is not None and resource.canonical in READING_ROUTES
    )
    return Scope.READ if reads else Scope.WRITE

"""Who may pass to the admin API: a bearer token of the scope that the route needs.

Questions (``GET``, ``HEAD``) and routes that are named here need ``read``, everything else ``write``. So does
a SELECT: with ClickHouse's table functions it reads files and URLs that have nothing to do with events.
"""

import logging
from typing import Final, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from service.errors import ConfigError
from service.http.admin_tokens import AdminToken, Scope
from service.http.shapes import refusal

NO_KEY: Final = "Missing API key. Please use a valid Plausible API key as a Bearer Token."
WRONG_KEY: Final = (
    "Invalid API key. Please make sure you're using a valid API key"
    " with access to the resource you've requested."
)
ONLY_READS: Final = (
    "This token may only read. `gatehouse token create NAME --scope write` makes one that may change things."
)

READING_METHODS: Final = frozenset({"GET", "HEAD"})
READING_ROUTES: Final = frozenset({"/api/v1/explain"})
"""Whatever their method, they change nothing."""

_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}

log = logging.getLogger(__name__)


class KnownTokens(Protocol):
    """What is needed of the list of tokens (``AdminTokens``)."""

    def find(self, given: str) -> AdminToken | None:
        """Give the token that this is. Raises ConfigError when the list cannot be read."""


def admin_gate(tokens: KnownTokens) -> Middleware:
    """Give what stands before every path, also unknown ones."""

    @web.middleware
    async def check_token(request: web.Request, handler: Handler) -> web.StreamResponse:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            return refusal(401, NO_KEY, _CHALLENGE)
        try:
            token = tokens.find(given.strip())
        except ConfigError as error:
            log.error("Nobody is let in to the admin API by a token: %s", error)
            return refusal(503, "Tokens cannot be checked; the log of the service says why.")
        if token is None:
            log.warning("An admin request with a wrong token was refused")
            return refusal(401, WRONG_KEY, _CHALLENGE)
        if needed_scope(request) is Scope.WRITE and token.scope is not Scope.WRITE:
            return refusal(403, ONLY_READS)
        return await handler(request)

    return check_token


def needed_scope(request: web.Request) -> Scope:
    """Give the scope without which a request is refused."""
    resource = request.match_info.route.resource
    reads = request.method in READING_METHODS or (
        resource is not None and resource.canonical in READING_ROUTES
    )
    return Scope.READ if reads else Scope.WRITE

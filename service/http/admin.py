"""The admin API: sites and their rules, and the service as a whole. Keys and errors: reference 17.1.

Every answer that is no success is ``{"error": "<sentence>"}``. A bearer token is wanted for every path,
even unknown ones (``admin_gate``); over the Unix socket in the data folder, which only the owner can open,
none is (``tokens=None``).
"""

import logging
from typing import Final, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from actors.runtime import ActorError
from service.clickhouse.store import ClickhouseStore
from service.clock import Clock
from service.errors import (
    GoalNotFound,
    JournalError,
    QueryFailed,
    ShieldRuleNotFound,
    SiteInvalid,
    SiteNotFound,
    SiteStoreUnavailable,
    StoreError,
)
from service.http.admin_explain import ExplainingSystem, ExplainRoutes
from service.http.admin_gate import KnownTokens, Refused, admin_gate
from service.http.admin_operations import OperableSystem, OperationRoutes
from service.http.admin_quarantine import QuarantineRoutes, QuarantineSystem
from service.http.admin_rules import RuleRoutes
from service.http.admin_sites import SiteRoutes
from service.http.shapes import refusal
from service.sites.provisioning import Provisioning
from service.telemetry import Telemetry
from service.wire.forwarded import TrustedProxies

MAX_BODY_BYTES: Final = 1024 * 1024

_UNAVAILABLE: Final = {"Retry-After": "1"}

log = logging.getLogger(__name__)


class AdminSystem(OperableSystem, ExplainingSystem, QuarantineSystem, Protocol):
    """All that is needed of the running system."""


def admin_app(
    *,
    provisioning: Provisioning,
    system: AdminSystem,
    store: ClickhouseStore,
    trusted_proxies: TrustedProxies,
    clock: Clock,
    tokens: KnownTokens | None,
    telemetry: Telemetry,
) -> web.Application:
    """Give the admin API as an aiohttp application; without tokens whoever can connect may do all."""
    middlewares: list[Middleware] = [_refuse_clearly]
    if tokens is not None:
        for reason in Refused:  # begun at 0, so that the first one is seen to come
            telemetry.count_admin_refusal(reason, times=0)
        middlewares.append(admin_gate(tokens, clock=clock, count=telemetry.count_admin_refusal))
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY_BYTES)
    app.on_response_prepare.append(_name_server)
    app.router.add_routes(OperationRoutes(system, store).routes())
    app.router.add_routes(ExplainRoutes(system, trusted_proxies, clock).routes())
    app.router.add_routes(QuarantineRoutes(system).routes())
    app.router.add_routes(RuleRoutes(provisioning).routes())
    app.router.add_routes(SiteRoutes(provisioning).routes())
    return app


async def _name_server(_: web.Request, response: web.StreamResponse) -> None:
    """Say who answers, and not, as aiohttp does, with which versions."""
    response.headers["Server"] = "gatehouse"


@web.middleware
async def _refuse_clearly(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into answers: the one place where they get their status."""
    try:
        return await handler(request)
    except (SiteNotFound, GoalNotFound, ShieldRuleNotFound) as error:
        return refusal(404, str(error))
    except (SiteInvalid, QueryFailed) as error:
        return refusal(400, str(error))
    except (SiteStoreUnavailable, StoreError, JournalError) as error:
        return refusal(503, str(error), _UNAVAILABLE)
    except ActorError as error:
        log.warning("The system did not answer an admin request: %s", str(error) or type(error).__name__)
        return refusal(503, "The service is busy or stopping; please try again.", _UNAVAILABLE)
    except web.HTTPException as error:
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        plain = f"{error.status}: {error.reason}"
        return refusal(error.status, error.reason if error.text in (None, plain) else str(error.text), allow)

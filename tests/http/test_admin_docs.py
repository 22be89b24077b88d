"""The page about the admin API names every route that there is."""

import re
from collections.abc import Sequence
from pathlib import Path

import service
from service.clock import wall
from service.http.admin import admin_app
from service.ingestion.explanation import Explanation
from service.ingestion.request import Request
from service.insertion import Retried
from service.sites.provisioning import StoreProvisioning
from service.sites.sqlite import SqliteSiteStore
from service.telemetry import Telemetry
from service.wire.forwarded import TrustedProxies
from tests.support.admin_server import TalkingStore
from tests.support.public_server import ALL_WELL, Report

PAGE = Path(service.__file__).parent.parent / "docs" / "admin-api.md"


class IdleSystem:
    """A system that is never asked."""

    def __init__(self) -> None:
        self.statistics: dict[str, int] = {}

    async def flush(self) -> int:
        """Have nothing to flush."""
        return 0

    async def explain(self, request: Request) -> list[Explanation]:
        """Have nothing to explain."""
        return []

    async def retry_rows(self, ids: Sequence[str]) -> Retried:
        """Have no rows."""
        return Retried(0, {})

    async def drop_rows(self, ids: Sequence[str]) -> int:
        """Have no rows."""
        return 0

    def readiness(self) -> Report:
        """Be ready."""
        return ALL_WELL


async def _ignore(_: int) -> None:
    return


def test_page_names_every_route(tmp_path: Path) -> None:
    """Method and path of each route stand together in the tables, and nothing else does."""
    app = admin_app(
        provisioning=StoreProvisioning(SqliteSiteStore(tmp_path / "never-opened"), _ignore),
        system=IdleSystem(),
        store=TalkingStore(),
        trusted_proxies=TrustedProxies(()),
        clock=wall,
        tokens=None,
        telemetry=Telemetry(),
    )
    routes = {
        (route.method, re.sub(r"{(\w+)[^}]*}", r":\1", route.resource.canonical))
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    documented = {
        (method, path)
        for methods, path in re.findall(r"^\| ([A-Z, ]+) `(/[^`]+)`", PAGE.read_text(), re.MULTILINE)
        for method in methods.split(", ")
    }
    assert documented == routes

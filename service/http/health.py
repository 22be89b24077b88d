"""What monitors ask: is it alive, is it ready, which build is it. Source: reference section 1.6.

Ready means that events are taken. While ClickHouse is away they are taken all the same, into the journal, so
that says ``error`` in its line and the whole stays ready; it is not any more when the journal is full or
cannot be written. The reference's four names are kept for old
monitors, with its values: ``postgres`` stands for whatever holds the sites. Beside them stand ``ready``,
``state`` (``ready``, ``degraded``, ``not ready``) and ``checks``, the state of every part by its own name:
``ok`` or a sentence with figures.
"""

from collections.abc import Mapping

import msgspec
from aiohttp import web

from service.http.answers import Answers
from service.http.settings import EventSystem, PublicSettings, ReadinessReport
from service.wire.reply import EMPTY, JSON, Reply


class HealthRoutes:
    """The handlers for monitors."""

    def __init__(self, *, system: EventSystem, settings: PublicSettings, answers: Answers) -> None:
        self._system = system
        self._answers = answers
        self._settings = settings
        self._alive = _json(200, {"ok": True})

    def routes(self) -> list[web.RouteDef]:
        """Give the routes; aiohttp answers HEAD as GET without a body."""
        return [
            web.get("/api/error", self.take_error),
            web.get("/api/health", self.tell_ready),
            web.get("/api/system", self.describe),
            web.get("/api/system/health/live", self.tell_alive),
            web.get("/api/system/health/ready", self.tell_ready),
        ]

    async def tell_ready(self, request: web.Request) -> web.Response:
        """Say 200 when events are taken, else 500 as the reference does."""
        report = self._system.readiness()
        body = {
            **_reference_checks(report.checks, ready=report.ready),
            "ready": report.ready,
            "state": _state(report),
            "checks": report.checks,
        }
        return self._answers.answer(request, _json(200 if report.ready else 500, body))

    async def tell_alive(self, request: web.Request) -> web.Response:
        """Say that the process answers."""
        return self._answers.answer(request, self._alive)

    async def describe(self, request: web.Request) -> web.Response:
        """Say which build this is, and which database of locations it has."""
        description = {
            "geo_database": self._settings.geo_database(),
            "build": msgspec.to_builtins(self._settings.build),
        }
        return self._answers.answer(request, _json(200, description))

    async def take_error(self, request: web.Request) -> web.Response:
        """Answer the image that the oldest script asks for when it fails."""
        return self._answers.answer(request, EMPTY)


def _reference_checks(checks: Mapping[str, str], *, ready: bool) -> dict[str, str | None]:
    """Give the reference's four names their values; a part that is not checked is taken for well."""

    def is_ok(name: str) -> bool:
        return checks.get(name, "ok") == "ok"

    return {
        "postgres": "ok" if is_ok("sites") else "error",
        "clickhouse": "ok" if is_ok("clickhouse") else "error",
        "sites_cache": "ok" if is_ok("sites") else None,
        "sessions": "ok" if ready else "waiting",
    }


def _state(report: ReadinessReport) -> str:
    """Give ``ready``, ``degraded`` (events are taken, and something is wrong) or ``not ready``."""
    if not report.ready:
        return "not ready"
    return "ready" if all(check == "ok" for check in report.checks.values()) else "degraded"


def _json(status: int, value: object) -> Reply:
    return Reply(status, JSON, msgspec.json.encode(value))

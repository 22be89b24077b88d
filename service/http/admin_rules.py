"""``/api/v1/sites/goals`` and ``/api/v1/sites/:site_id/shields``: what is looked for and what is kept out.

Source: reference 17.2 for goals. Beyond it, a goal takes ``currency``, and shield rules have an interface::

    GET /:site_id/shields                 {"hostnames":[…],"pages":[…],"ips":[…],"countries":[…]}
    PUT /:site_id/shields     kind, value {"kind","value"}, the rule in canonical text
    DELETE /:site_id/shields  kind, value {"deleted":true}

``kind`` is hostname, page, ip or country; the parameters of DELETE may stand in the query.
"""

from collections.abc import Iterable

from aiohttp import web

from service.errors import GoalNotFound
from service.http.admin_sites import wants_details
from service.http.parameters import convert, page_request, read_parameters, require
from service.http.shapes import answer, show_goal, show_page
from service.sites.provisioning import Provisioning
from service.sites.records import NewGoal, ShieldRule


class RuleRoutes:
    """The handlers, around the provisioning that does the work."""

    def __init__(self, provisioning: Provisioning) -> None:
        self._provisioning = provisioning

    def routes(self) -> Iterable[web.RouteDef]:
        """Give the routes; they go before those of a site, of which no part is fixed."""
        return [
            web.get("/api/v1/sites/goals", self.list_goals),
            web.put("/api/v1/sites/goals", self.put_goal),
            web.delete("/api/v1/sites/goals/{goal_id}", self.delete_goal),
            web.get("/api/v1/sites/{site_id}/shields", self.list_shields),
            web.put("/api/v1/sites/{site_id}/shields", self.add_shield),
            web.delete("/api/v1/sites/{site_id}/shields", self.remove_shield),
        ]

    async def list_goals(self, request: web.Request) -> web.Response:
        """Answer a part of a site's goals."""
        parameters = await read_parameters(request)
        site_id = require(parameters, "site_id", "list goals")
        page = await self._provisioning.list_goals(site_id, page_request(parameters))
        details = wants_details(parameters)
        return answer(show_page("goals", page, lambda goal: show_goal(goal, details=details)))

    async def put_goal(self, request: web.Request) -> web.Response:
        """Find or make a goal."""
        parameters = await read_parameters(request)
        site_id = require(parameters, "site_id", "create a goal")
        goal_type = require(parameters, "goal_type", "create a goal")
        if goal_type in ("event", "page"):
            require(parameters, "event_name" if goal_type == "event" else "page_path", "create a goal")
        goal = await self._provisioning.put_goal(site_id, convert(parameters, NewGoal))
        return answer(show_goal(goal, details=wants_details(parameters)))

    async def delete_goal(self, request: web.Request) -> web.Response:
        """Delete a goal by its number."""
        site_id = require(await read_parameters(request), "site_id", "delete a goal")
        number = request.match_info["goal_id"]
        if not (number.isascii() and number.isdecimal() and len(number) < 20):
            raise GoalNotFound("Goal could not be found")
        await self._provisioning.delete_goal(site_id, int(number))
        return answer({"deleted": True})

    async def list_shields(self, request: web.Request) -> web.Response:
        """Answer a site's shield rules by kind."""
        return answer(await self._provisioning.list_shields(request.match_info["site_id"]))

    async def add_shield(self, request: web.Request) -> web.Response:
        """Add a shield rule."""
        rule = convert(await read_parameters(request), ShieldRule)
        return answer(await self._provisioning.add_shield(request.match_info["site_id"], rule))

    async def remove_shield(self, request: web.Request) -> web.Response:
        """Remove a shield rule."""
        rule = convert(await read_parameters(request), ShieldRule)
        await self._provisioning.remove_shield(request.match_info["site_id"], rule)
        return answer({"deleted": True})

"""``/api/v1/sites``: sites, their limits and their custom properties. Source: reference 17.1 and 17.2.

Beyond the reference: ``PUT /:site_id`` takes ``timezone``, and ``limits`` has a resource of its own::

    GET /:site_id/limits                                                  {"threshold","scale_seconds",
    PUT /:site_id/limits   threshold, scale_seconds, accept_traffic_until   "accept_traffic_until"}

``threshold`` is events a window (null = unlimited, 0 = blocked), ``scale_seconds`` the window,
``accept_traffic_until`` the last UTC day of traffic (null = no end). ``POST /`` takes them as ``limits``.
Teams, guests and shared links are left out: nothing here would use them.
"""

from collections.abc import Iterable

from aiohttp import web

from service.http.parameters import Parameters, convert, page_request, read_parameters, require
from service.http.shapes import answer, show_listed_site, show_page, show_site
from service.sites.provisioning import Provisioning
from service.sites.records import LimitsChange, NewSite, SiteChange

EMPTY_CHANGE = "Payload must contain at least one of the parameters 'domain', 'tracker_script_configuration'"


class SiteRoutes:
    """The handlers, around the provisioning that does the work."""

    def __init__(self, provisioning: Provisioning) -> None:
        self._provisioning = provisioning

    def routes(self) -> Iterable[web.RouteDef]:
        """Give the routes; those with a fixed second part come first."""
        return [
            web.get("/api/v1/sites", self.list),
            web.post("/api/v1/sites", self.create),
            web.get("/api/v1/sites/custom-props", self.list_properties),
            web.put("/api/v1/sites/custom-props", self.add_property),
            web.delete("/api/v1/sites/custom-props/{property:.+}", self.remove_property),
            web.get("/api/v1/sites/{site_id}", self.get),
            web.put("/api/v1/sites/{site_id}", self.update),
            web.delete("/api/v1/sites/{site_id}", self.delete),
            web.get("/api/v1/sites/{site_id}/limits", self.get_limits),
            web.put("/api/v1/sites/{site_id}/limits", self.set_limits),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """Answer a part of all sites."""
        parameters = await read_parameters(request)
        page = await self._provisioning.list_sites(page_request(parameters))
        details = wants_details(parameters)
        return answer(show_page("sites", page, lambda site: show_listed_site(site, details=details)))

    async def create(self, request: web.Request) -> web.Response:
        """Add a site."""
        parameters = await read_parameters(request)
        site = await self._provisioning.create_site(convert(parameters, NewSite))
        return answer(show_site(site, details=wants_details(parameters)))

    async def get(self, request: web.Request) -> web.Response:
        """Answer one site."""
        parameters = await read_parameters(request)
        site = await self._provisioning.get_site(request.match_info["site_id"])
        return answer(show_site(site, details=wants_details(parameters)))

    async def update(self, request: web.Request) -> web.Response:
        """Change a site."""
        parameters = await read_parameters(request)
        change = convert(parameters, SiteChange)
        if change == SiteChange():
            raise web.HTTPBadRequest(text=EMPTY_CHANGE)
        site = await self._provisioning.update_site(request.match_info["site_id"], change)
        return answer(show_site(site, details=wants_details(parameters)))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a site."""
        await self._provisioning.delete_site(request.match_info["site_id"])
        return answer({"deleted": True})

    async def get_limits(self, request: web.Request) -> web.Response:
        """Answer a site's limits."""
        return answer(await self._provisioning.get_limits(request.match_info["site_id"]))

    async def set_limits(self, request: web.Request) -> web.Response:
        """Change those limits that are given."""
        change = convert(await read_parameters(request), LimitsChange)
        return answer(await self._provisioning.set_limits(request.match_info["site_id"], change))

    async def list_properties(self, request: web.Request) -> web.Response:
        """Answer a site's custom properties."""
        site_id = require(await read_parameters(request), "site_id", "list custom properties")
        names = await self._provisioning.list_properties(site_id)
        return answer({"custom_properties": [{"property": name} for name in names]})

    async def add_property(self, request: web.Request) -> web.Response:
        """Allow a custom property."""
        parameters = await read_parameters(request)
        site_id = require(parameters, "site_id", "create a custom property")
        name = require(parameters, "property", "create a custom property")
        await self._provisioning.add_property(site_id, name)
        return answer({"created": True})

    async def remove_property(self, request: web.Request) -> web.Response:
        """Take back a custom property; its name may hold slashes."""
        site_id = require(await read_parameters(request), "site_id", "delete a custom property")
        await self._provisioning.remove_property(site_id, request.match_info["property"])
        return answer({"deleted": True})


def wants_details(parameters: Parameters) -> bool:
    """Tell whether ``details=true`` was asked for."""
    return parameters.get("details") in ("true", True)

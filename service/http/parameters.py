"""The parameters of an admin request: query, body and path as one mapping, as Phoenix does it; the path wins.

A body may be JSON, a form or multipart (``curl -d``, ``curl -F``). In a form and in the query an empty value
means "none", and ``group[name]`` is a name inside a group. Whatever cannot be read is a 400.
"""

import re
from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from service.errors import SiteInvalid
from service.sites.records import DEFAULT_PAGE_ITEMS, PageRequest

T = TypeVar("T")

Parameters = dict[str, object]

_FORM_TYPES: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_GROUPED: Final = re.compile(r"(\w+)\[(\w+)\]")
_BAD_PLACE: Final = re.compile(r"`\$\.([^`]+)`")
_MISSING_FIELD: Final = re.compile(r"missing required field `([^`]+)`")


async def read_parameters(request: web.Request) -> Parameters:
    """Give all parameters. Raises HTTPBadRequest, or HTTPRequestEntityTooLarge."""
    parameters = _build_groups(request.query.items())
    if request.content_type in _FORM_TYPES:
        parameters |= await _read_form(request)
    else:
        parameters |= _decode_object(await request.read())
    return parameters | request.match_info


def convert(parameters: Parameters, type_: type[T]) -> T:
    """Make a value of the parameters; names that it does not know are ignored. Raises SiteInvalid."""
    try:
        return msgspec.convert(parameters, type_, strict=False)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from error


def require(parameters: Parameters, name: str, purpose: str) -> str:
    """Give a text that must be there. Raises HTTPBadRequest with the reference's sentence."""
    value = parameters.get(name)
    if not isinstance(value, str) or not value:
        raise web.HTTPBadRequest(text=f"Parameter `{name}` is required to {purpose}")
    return value


def page_request(parameters: Parameters) -> PageRequest:
    """Give the part of a list that ``after``, ``before`` and ``limit`` ask for. Raises SiteInvalid."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return convert({"limit": DEFAULT_PAGE_ITEMS} | given, PageRequest)


def _decode_object(body: bytes) -> Parameters:
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise web.HTTPBadRequest(text=f"The body is not a JSON object: {error}") from error


async def _read_form(request: web.Request) -> Parameters:
    try:
        form = await request.post()
    except (ValueError, LookupError) as error:
        raise web.HTTPBadRequest(text="The body is not a form.") from error
    fields = [(name, value) for name, value in form.items() if isinstance(value, str)]
    if len(fields) < len(form):
        raise web.HTTPBadRequest(text="A file is not expected here.")
    return _build_groups(fields)


def _build_groups(fields: Iterable[tuple[str, str]]) -> Parameters:
    parameters: Parameters = {}
    for name, value in fields:
        grouped = _GROUPED.fullmatch(name)
        if grouped is None:
            parameters[name] = value or None
            continue
        group = parameters.setdefault(grouped[1], {})
        if isinstance(group, dict):
            group[grouped[2]] = value or None
    return parameters


def _explain(message: str) -> SiteInvalid:
    """Say as Ecto does what msgspec found."""
    missing, place = _MISSING_FIELD.search(message), _BAD_PLACE.search(message)
    if missing is not None:
        return SiteInvalid(missing[1], "can't be blank")
    field = place[1] if place is not None else "body"
    return SiteInvalid(field, "can't be blank" if "got `null`" in message else "is invalid")

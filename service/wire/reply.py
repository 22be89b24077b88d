"""Verdicts and errors as the answer on the wire: status, headers and ready-made bytes.

Source: reference sections 1.3 and 1.4. Beyond it: ``x-gatehouse-dropped`` names the domains and reasons, and
a request of which nothing was judged gets 503 with ``retry-after`` instead of a 202 that would be untrue.
"""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from service.ingestion.request import FieldError
from service.ingestion.verdict import Buffered, Dropped, Retry, Verdict
from service.wire.accept import choose_format

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"

REPEATED_HEADER: Final = "x-gatehouse-repeated"
"""For how many domains the event was stored before, under the same key."""
DROPPED_HEADER: Final = "x-plausible-dropped"
REASONS_HEADER: Final = "x-gatehouse-dropped"

MAX_REASONS_BYTES: Final = 1024
"""How long ``x-gatehouse-dropped`` gets at most; ``...`` stands for the domains that found no room."""

_CUT_SHORT: Final = "..."
_SEPARATOR: Final = ", "
_DOMAIN_CHARS: Final = "/:"
_PHRASES: Final = {500: "Server error"}


Headers = tuple[tuple[str, str], ...]


class Reply(Struct, frozen=True):
    """One answer; ``headers`` are those that not every answer has."""

    status: int
    content_type: str | None
    body: bytes
    headers: Headers = ()


OK: Final = Reply(202, TEXT, b"ok")
EMPTY: Final = Reply(200, None, b"")
NO_CONTENT: Final = Reply(204, None, b"")
RETRY_AFTER: Final[Headers] = (("retry-after", "1"),)
"""In seconds."""
TRY_AGAIN: Final = Reply(503, TEXT, b"try again", RETRY_AFTER)


def event_reply(outcomes: Sequence[tuple[str, Verdict]], *, with_reasons: bool) -> Reply:
    """Answer an event by what became of it for each of its domains.

    Where some domains were judged and others not, those that were not count as dropped: sending the event
    again would store it twice for the others.
    """
    others = [(domain, verdict) for domain, verdict in outcomes if not isinstance(verdict, Buffered)]
    if not others:
        return OK
    dropped = [(domain, verdict) for domain, verdict in others if isinstance(verdict, Dropped | Retry)]
    repeated = len(others) - len(dropped)
    headers = [(REPEATED_HEADER, str(repeated))] if repeated else []
    if len(dropped) == len(outcomes) and all(isinstance(verdict, Retry) for _, verdict in dropped):
        return TRY_AGAIN
    if dropped:
        headers.append((DROPPED_HEADER, str(len(dropped))))
    if dropped and with_reasons:
        headers.append((REASONS_HEADER, _reasons((domain, verdict.reason) for domain, verdict in dropped)))
    return Reply(OK.status, OK.content_type, OK.body, tuple(headers))


def errors_reply(errors: Iterable[FieldError], *, status: int = 400, headers: Headers = ()) -> Reply:
    """Tell everything that is wrong, by field."""
    return Reply(status, JSON, msgspec.json.encode({"errors": errors_by_field(errors)}), headers)


def errors_by_field(errors: Iterable[FieldError]) -> dict[str, list[str]]:
    """Group messages by their field, in the order they were found."""
    found: dict[str, list[str]] = {}
    for error in errors:
        found.setdefault(error.field, []).append(error.message)
    return found


def error_view(status: int, *, accept: str | None, wanted: object = None) -> Reply:
    """Answer with a status alone, as JSON where the sender prefers it, else as a page.

    ``accept`` is the header, ``wanted`` a ``_format`` parameter, which has priority.
    """
    phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
    if choose_format(("html", "json"), accept=accept, wanted=wanted) == "json":
        return Reply(status, JSON, msgspec.json.encode({"status": status, "message": phrase}))
    page = f"<!DOCTYPE html>\n<html lang=en><title>{status} {phrase}</title><h1>{phrase}</h1></html>\n"
    return Reply(status, HTML, page.encode())


def _reasons(dropped: Iterable[tuple[str, str]]) -> str:
    """Write ``domain=reason, …``, every domain percent-encoded, as many as find room."""
    items: list[str] = []
    room = MAX_REASONS_BYTES - len(_CUT_SHORT)
    for domain, reason in dropped:
        item = f"{quote(domain[:MAX_REASONS_BYTES], safe=_DOMAIN_CHARS)}={reason}"
        room -= len(item) + len(_SEPARATOR)
        if room < 0:
            items.append(_CUT_SHORT)
            break
        items.append(item)
    return _SEPARATOR.join(items)

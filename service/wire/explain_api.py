"""The body of ``POST /api/v1/explain`` and its answer. Gatehouse's own.

The body is the JSON of ``POST /api/event`` (reference 3.2) and three fields that stand for what else comes
with a request:

- ``headers``: an object of texts; what they say of the address counts as far as ``ip`` is trusted;
- ``ip``: the address that connects, an IPv4 or IPv6 one; without it a proxy on this machine does;
- ``user_agent``: the same as a header of that name, and goes before it.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from service.ingestion.explanation import StepReport
from service.ingestion.raw_event import RawEvent
from service.ingestion.request import FieldError, Request, build_request
from service.ingestion.step_words import show
from service.ingestion.text import has_at_most_bytes
from service.wire import strict_json
from service.wire.forwarded import (
    IP_TYPE_HEADER,
    LOCAL_ADDRESS,
    PEER,
    TrustedProxies,
    parse_address,
    resolve_ip_class,
    resolve_remote_ip,
)

MAX_HEADERS: Final = 100
MAX_HEADER_BYTES: Final = 8192
"""As long as the public listener takes."""

_USER_AGENT: Final = "user-agent"


class Question(RawEvent):
    """An event as it stands on the wire, and what comes with it."""

    headers: Any = None
    ip: Any = None
    user_agent: Any = None


class Asked(Struct, frozen=True):
    """A question that was read: the request to be explained, and how it was read."""

    request: Request
    steps: list[StepReport]


_QUESTION: Final = msgspec.json.Decoder(Question)


def decode_question(body: bytes, *, now: float, trusted: TrustedProxies) -> Asked | list[FieldError]:
    """Read a body into a request, or say all that is wrong with it. Never raises.

    ``now`` is UTC epoch seconds.
    """
    try:
        question = strict_json.decode(body, _QUESTION)
    except strict_json.JsonError:
        return [FieldError("request", "must be a JSON object")]
    errors: list[FieldError] = []
    headers = _find_headers(question.headers, errors)
    peer = _find_peer(question.ip, errors)
    user_agent = _find_user_agent(question.user_agent, headers, errors)
    remote_ip, told_by = resolve_remote_ip(headers.get, peer, trusted)
    built = build_request(
        question,
        timestamp=int(now),
        remote_ip=remote_ip,
        user_agent=user_agent,
        ip_class=resolve_ip_class(headers.get, peer, trusted),
    )
    if isinstance(built, list) or errors:
        return [*errors, *(built if isinstance(built, list) else ())]
    return Asked(built, [_report_address(built, told_by, headers, peer, trusted), _report_request(built)])


def describe_errors(errors: list[FieldError]) -> str:
    """Give all errors as one sentence."""
    return f"{'; '.join(f'{error.field}: {error.message}' for error in errors)}."


def _find_headers(value: Any, errors: list[FieldError]) -> dict[str, str]:
    """Give headers by lower-case name; of one that is given twice the first counts, as on the wire."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        errors.append(FieldError("headers", "must be an object of texts"))
    elif len(value) > MAX_HEADERS:
        errors.append(FieldError("headers", f"should have at most {MAX_HEADERS} item(s)"))
    elif not all(has_at_most_bytes(text, MAX_HEADER_BYTES) for text in value.values()):
        errors.append(FieldError("headers", f"should each be at most {MAX_HEADER_BYTES} byte(s)"))
    else:
        headers: dict[str, str] = {}
        for name, text in value.items():
            headers.setdefault(name.strip().lower(), text.strip(" \t"))
        return headers
    return {}


def _find_peer(value: Any, errors: list[FieldError]) -> str:
    if value is None:
        return LOCAL_ADDRESS
    address = parse_address(value.strip()) if isinstance(value, str) else None
    if address is None:
        errors.append(FieldError("ip", "must be an IPv4 or IPv6 address"))
    return address or LOCAL_ADDRESS


def _find_user_agent(value: Any, headers: dict[str, str], errors: list[FieldError]) -> str | None:
    if value is None:
        return headers.get(_USER_AGENT)
    if not isinstance(value, str) or not has_at_most_bytes(value, MAX_HEADER_BYTES):
        errors.append(FieldError("user_agent", f"must be a text of at most {MAX_HEADER_BYTES} byte(s)"))
        return None
    return value


def _report_address(
    request: Request, told_by: str, headers: dict[str, str], peer: str, trusted: TrustedProxies
) -> StepReport:
    is_trusted = trusted.find_peer(peer).is_trusted
    used: dict[str, Any] = {"told_by": told_by, "peer": peer, "peer_is_trusted": is_trusted}
    if told_by != PEER:
        used["value"] = show(headers[told_by])
        sentence = f"The header {told_by} of the trusted proxy {peer} tells the address {request.remote_ip}."
    elif is_trusted:
        sentence = f"No header tells another address than that of the peer, {peer}, a trusted proxy."
    else:
        sentence = f"The peer {peer} is no trusted proxy: the address is its own, whatever headers say."
    if request.ip_class is not None:
        used[IP_TYPE_HEADER] = request.ip_class
    return StepReport("remote_ip", sentence, used, {"remote_ip": request.remote_ip})


def _report_request(request: Request) -> StepReport:
    given: dict[str, Any] = {
        "event_name": show(request.event_name),
        "domains": [show(domain) for domain in request.domains],
        "hostname": show(request.hostname),
        "pathname": show(request.pathname),
        "interactive": request.interactive,
        "props": {show(key): show(value) for key, value in request.props},
    }
    domains = ", ".join(given["domains"])
    sentence = f"{given['event_name']} of {given['pathname']} on {given['hostname']}, for {domains}."
    return StepReport("read_request", sentence, {}, given)

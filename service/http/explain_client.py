"""Asks a running service, through its admin socket, to explain an event."""

from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from msgspec import Struct

from service.errors import GatehouseError, QuestionInvalid
from service.ingestion.explanation import DryRun

ANSWER_TIMEOUT_S: Final = 30.0

_URL: Final = "http://gatehouse/api/v1/explain"


class _Refusal(Struct):
    error: str


async def ask_to_explain(socket_path: Path, question: bytes) -> DryRun:
    """Give the service's answer. Raises QuestionInvalid, or GatehouseError when there is none."""
    connector = aiohttp.UnixConnector(str(socket_path))
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
    headers = {"Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.post(_URL, data=question, headers=headers) as response,
        ):
            body = await response.read()
            if response.status == HTTPStatus.OK:
                return msgspec.json.decode(body, type=DryRun)
            error = msgspec.json.decode(body, type=_Refusal).error
            raise (
                QuestionInvalid(error) if response.status == HTTPStatus.BAD_REQUEST else GatehouseError(error)
            )
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
        reason = str(error) or type(error).__name__
        raise GatehouseError(f"The service does not answer on {socket_path}: {reason}") from error

"""Asks a running service, through its admin socket, to retry or drop rows of its quarantine."""

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from service.errors import GatehouseError
from service.insertion import Retried

ANSWER_TIMEOUT_S: Final = 60.0

_URL: Final = "http://gatehouse/api/v1/quarantine/"

T = TypeVar("T")


class _Dropped(Struct):
    dropped: int


class _Refusal(Struct):
    error: str


class ClientQuarantine:
    """What the service does with its quarantine. Raises GatehouseError when it refuses or nobody answers."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path

    async def retry_rows(self, ids: Sequence[str]) -> Retried:
        """Insert rows again; 100 at most."""
        return await self._ask("retry", ids, Retried)

    async def drop_rows(self, ids: Sequence[str]) -> int:
        """Let go of rows for good; give how many there were."""
        return (await self._ask("drop", ids, _Dropped)).dropped

    async def _ask(self, what: str, ids: Sequence[str], type_: type[T]) -> T:
        connector = aiohttp.UnixConnector(str(self._socket_path))
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        headers = {"Content-Type": "application/json"}
        question = msgspec.json.encode({"ids": ids})
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.post(_URL + what, data=question, headers=headers) as response,
            ):
                body = await response.read()
                if response.status == HTTPStatus.OK:
                    return msgspec.json.decode(body, type=type_)
                raise GatehouseError(msgspec.json.decode(body, type=_Refusal).error)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            reason = str(error) or type(error).__name__
            raise GatehouseError(f"The service does not answer on {self._socket_path}: {reason}") from error

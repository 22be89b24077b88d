"""Senders of numbered events, trackers and servers with batches; they note in the ledger what they hear."""

import asyncio
import random
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

import aiohttp
import msgspec

from tests.faults.ledger import USER_AGENT, Fate, Ledger, address_of, event_of, headers_of
from tests.support.server import GatehouseProcess

SENDERS: Final = 8
BATCH_SHARE: Final = 0.15
LARGEST_BATCH: Final = 30
PATIENCE_S: Final = 40.0
WAIT_WHILE_AWAY_S: Final = 0.1
_VERDICTS: Final[Mapping[str, Fate]] = {
    "buffered": Fate.ACKNOWLEDGED,
    "dropped": Fate.DROPPED,
    "retry": Fate.REFUSED,
}


class Load:
    """Sends about so many requests a second from a thread of its own, from ``start`` to ``stop``.

    What is refused is sent again with the same number, as a good client does; what was not answered is not,
    because nobody could tell then whether a second copy is the service's fault.
    """

    def __init__(
        self, gatehouse: GatehouseProcess, ledger: Ledger, *, seed: int, requests_per_s: float
    ) -> None:
        self._url = gatehouse.url
        self._batch_headers = {
            "content-type": "application/json",
            "authorization": f"Bearer {gatehouse.sender_token}",
        }
        self._ledger = ledger
        self._random = random.Random(seed)
        self._wait_s = SENDERS / requests_per_s
        self._again: deque[int] = deque()  # refused, and not sent again yet: what the senders had in hand
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Let what is under way be answered, and end. Raises what a sender failed of."""
        self._stopping.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    @property
    def failed(self) -> bool:
        """Whether a sender got an answer that there must not be."""
        return self._failure is not None

    def _run(self) -> None:
        try:
            asyncio.run(self._send_all())
        except BaseException as error:  # noqa: BLE001 - the other thread raises it
            self._failure = error

    async def _send_all(self) -> None:
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self._send(session))

    async def _send(self, session: aiohttp.ClientSession) -> None:
        while not self._stopping.is_set():
            if self._random.random() < BATCH_SHARE:
                count = self._random.randint(1, LARGEST_BATCH)
                fates = await self._send_batch(session, [self._next_number() for _ in range(count)])
            else:
                fates = await self._send_event(session, self._next_number())
            for number, fate in fates:
                self._ledger.note(number, fate)
                if fate in {Fate.REFUSED, Fate.UNSENT}:
                    self._again.append(number)
            away = any(fate is Fate.UNSENT for _, fate in fates)
            await asyncio.sleep(WAIT_WHILE_AWAY_S if away else self._random.expovariate(1 / self._wait_s))

    def _next_number(self) -> int:
        return self._again.popleft() if self._again else self._ledger.take_number()

    async def _send_event(self, session: aiohttp.ClientSession, number: int) -> list[tuple[int, Fate]]:
        body = msgspec.json.encode(event_of(number))
        answer = await self._post(session, "/api/event", body, headers_of(number))
        if isinstance(answer, Fate):
            return [(number, answer)]
        status, headers, text = answer
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            return [(number, Fate.REFUSED)]
        assert status == HTTPStatus.ACCEPTED, f"event {number}: {status} {text!r}"
        dropped = "x-gatehouse-dropped" in headers
        return [(number, Fate.DROPPED if dropped else Fate.ACKNOWLEDGED)]

    async def _send_batch(
        self, session: aiohttp.ClientSession, numbers: Sequence[int]
    ) -> list[tuple[int, Fate]]:
        items = [
            event_of(number) | {"ip": address_of(number), "user_agent": USER_AGENT} for number in numbers
        ]
        answer = await self._post(session, "/api/events", msgspec.json.encode(items), self._batch_headers)
        if isinstance(answer, Fate):
            return [(number, answer) for number in numbers]
        status, _, text = answer
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            return [(number, Fate.REFUSED) for number in numbers]
        assert status == HTTPStatus.ACCEPTED, f"batch from {numbers[0]} on: {status} {text!r}"
        results = msgspec.json.decode(text)["results"]
        return [
            (number, _VERDICTS[result["verdict"]]) for number, result in zip(numbers, results, strict=True)
        ]

    async def _post(
        self, session: aiohttp.ClientSession, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes] | Fate:
        """Give the answer, or how far the request came without one."""
        try:
            async with session.post(self._url + path, data=body, headers=headers) as response:
                return response.status, response.headers, await response.read()
        except aiohttp.ClientConnectorError:
            return Fate.UNSENT
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            return Fate.UNANSWERED

"""What opening the engine does to the process that it lives in."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from service.clickhouse.embedded import EmbeddedStore
from tests.support.rows import FULL_EVENT, make_block

_LIMIT_S = 60

_WITHOUT_CHDB = """
import asyncio, pathlib, sys
sys.modules["chdb"] = None
from service.clickhouse.embedded import EmbeddedStore
asyncio.run(EmbeddedStore(pathlib.Path(sys.argv[1])).start())
"""


async def test_signals_stay_ours(tmp_path: Path) -> None:
    """A signal handler that was there before the engine was opened still gets its signal."""
    store = EmbeddedStore(tmp_path / "clickhouse")
    received = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, received.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, received.set)

    await store.start()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(_LIMIT_S):
        await received.wait()
    await store.close()

    for number in (signal.SIGUSR2, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_loop_goes_on(tmp_path: Path) -> None:
    """While the engine thinks about a question, the loop and the inserts go on."""
    from service.clickhouse.migrations import migrate

    store = EmbeddedStore(tmp_path / "clickhouse")
    await migrate(store, cluster=None)
    slow = asyncio.ensure_future(_ask(store, "SELECT sleepEachRow(0.5) FROM numbers(4)"))

    await store.insert_block(make_block(FULL_EVENT))
    rows = await store.query("SELECT count() AS rows FROM events_v2")

    assert not slow.done()
    assert rows == [{"rows": 1}]
    assert await slow == "0\n0\n0\n0\n"
    await store.close()


async def _ask(store: EmbeddedStore, sql: str) -> str:
    return b"".join([part async for part in store.query_text(sql, output_format="TSV")]).decode()


async def test_folder_is_private(tmp_path: Path) -> None:
    """Nobody else may look into the folder, and no insert file stays behind."""
    folder = tmp_path / "clickhouse"
    store = EmbeddedStore(folder)
    await store.start()
    await store.close()

    assert folder.stat().st_mode & 0o777 == 0o700
    assert not list(folder.glob("*.native"))


def test_chdb_is_missing(tmp_path: Path) -> None:
    """Without chDB the sentence says what to install."""
    command = [sys.executable, "-c", _WITHOUT_CHDB, str(tmp_path)]

    result = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)

    assert "pip install 'gatehouse[embedded]'" in result.stderr

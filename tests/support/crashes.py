"""An insert that dies at a chosen step: before or after any word to ClickHouse and any write to the disk."""

from pathlib import Path

from service.clickhouse.store import Block, ClickhouseStore
from service.insertion import insert
from service.progress import Fate, Part, Progress
from service.quarantine import Quarantine
from service.wire.refused_row import RefusedRow

CREATED_MS = 1_795_000_000_000


class Died(BaseException):
    """What kill -9 is to a process: nothing of ours handles it."""


class Steps:
    """Counts the steps of an insert and dies at one of them; -1 = lives."""

    def __init__(self, last: int) -> None:
        self.taken = 0
        self._last = last

    def step(self) -> None:
        """Take a step, or die of it."""
        if self.taken == self._last:
            raise Died
        self.taken += 1


class _DyingStore:
    """Passes blocks on; dies before, or after with the answer lost."""

    def __init__(self, store: ClickhouseStore, steps: Steps) -> None:
        self._store = store
        self._steps = steps

    async def insert_block(self, block: Block) -> None:
        self._steps.step()
        await self._store.insert_block(block)
        self._steps.step()


class _DyingProgress(Progress):
    steps: Steps

    def note(self, part: Part, fate: Fate, reason: str = "") -> None:
        self.steps.step()
        super().note(part, fate, reason)
        self.steps.step()


class _DyingQuarantine(Quarantine):
    steps: Steps

    def add(self, row: RefusedRow, *, created_ms: int) -> bool:
        self.steps.step()
        added = super().add(row, created_ms=created_ms)
        self.steps.step()
        return added


async def insert_until(
    last_step: int,
    store: ClickhouseStore,
    block: Block,
    folder: Path,
    *,
    quarantine_max_bytes: int = 2**30,
) -> tuple[str, int]:
    """Insert a block as a process that was just started does, from what is in the folder.

    Gives what ``insert`` gives and the steps it took. Raises Died at step ``last_step``; -1 lets it live.
    """
    steps = Steps(last_step)
    path = folder / "block.progress"
    progress = _DyingProgress.load(path, sync=False) if path.exists() else _DyingProgress(path, sync=False)
    quarantine = _DyingQuarantine.open(folder / "quarantine", max_bytes=quarantine_max_bytes, sync=False)
    progress.steps = quarantine.steps = steps
    problem = await insert(
        _DyingStore(store, steps),  # type: ignore[arg-type]  # nothing else of a store is used
        block,
        progress,
        quarantine,
        created_ms=CREATED_MS,
        now=lambda: CREATED_MS / 1000,
    )
    return problem, steps.taken

"""Chooses the store that the configuration names."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from service.clickhouse.embedded import EmbeddedStore
from service.clickhouse.migrations import MigratableStore
from service.clickhouse.native import NativeStore
from service.errors import ConfigError


def open_store(
    *,
    kind: Literal["embedded", "native"],
    url: str | None,
    folder: Path,
    current_traceparent: Callable[[], str | None] = lambda: None,
) -> MigratableStore:
    """Give the store; it connects, or opens the folder, at first use.

    ``url`` is for "native" (see ``address``), ``folder`` for "embedded". Raises ConfigError for a URL that
    cannot be read.
    """
    if kind == "embedded":
        return EmbeddedStore(folder)
    if url is None:
        raise ConfigError('store is "native", which needs clickhouse_url (clickhouse://host:9000/database).')
    return NativeStore(url, current_traceparent=current_traceparent)

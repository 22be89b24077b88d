"""Folders that pytest's own would be too deep for."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_folder() -> Iterator[Path]:
    """Give a folder whose name is short enough for a Unix socket in it, and delete it in the end."""
    with tempfile.TemporaryDirectory(prefix="gh-") as name:
        yield Path(name)

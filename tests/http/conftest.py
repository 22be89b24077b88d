"""Fixtures of the tests of HTTP."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose name is short enough for a Unix socket in it, however deep tmp_path lies."""
    folder = Path(tempfile.mkdtemp(prefix="gh-"))
    yield folder
    shutil.rmtree(folder)

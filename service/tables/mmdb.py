"""Opens databases of MaxMind's format, plain or compressed with gzip.

They are read into memory: a mapped file that somebody overwrites would take the process down with it.
"""

import gzip
import zlib
from io import BytesIO
from pathlib import Path
from typing import Final

import maxminddb_rust

from service.errors import ConfigError
from service.tables.files import unreadable

MAX_DATABASE_BYTES: Final = 2**31
"""Security limit, of what a compressed file unfolds to."""


def open_mmdb(what: str, path: Path) -> maxminddb_rust.Reader:
    """Open a database. Raises ConfigError when it cannot be read or is none."""
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        if not is_gzip:
            return maxminddb_rust.open_database(str(path), maxminddb_rust.MODE_MEMORY)
        with gzip.open(path) as compressed:
            content = compressed.read(MAX_DATABASE_BYTES + 1)
        if len(content) > MAX_DATABASE_BYTES:
            raise ConfigError(f"the {what} {path} unfolds to more than {MAX_DATABASE_BYTES:,} bytes")
        return maxminddb_rust.open_database(BytesIO(content), maxminddb_rust.MODE_FD)
    except maxminddb_rust.InvalidDatabaseError as error:
        raise ConfigError(f"the {what} {path} is not in MaxMind's format: {error}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"the {what} {path} is damaged: {error}") from None
    except OSError as error:
        raise unreadable(what, path, error) from None

"""Opens databases of MaxMind's format, plain or compressed, and unfolds them from what their makers send.

They are read into memory: a mapped file that somebody overwrites would take the process down with it.
"""

import gzip
import shutil
import tarfile
import zlib
from io import BytesIO
from pathlib import Path
from types import FunctionType
from typing import IO, Final, Protocol, cast

import maxminddb_rust

from service.errors import ConfigError
from service.tables.files import unreadable

MAX_DATABASE_BYTES: Final = 2**31
"""Security limit, of what a compressed file unfolds to."""
PIECE_BYTES: Final = 1024 * 1024
GZIP_MAGIC: Final = b"\x1f\x8b"
TAR_MAGIC: Final = slice(257, 262), b"ustar"

DAMAGED: Final = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError)


class _TooLong(Exception):
    pass


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Bounded:
    """A stream that fails once more than so many bytes were read of it."""

    def __init__(self, stream: _Readable, max_bytes: int) -> None:
        self._stream = stream
        self._left = max_bytes

    def read(self, size: int = -1, /) -> bytes:
        piece = self._stream.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(piece)
        if self._left < 0:
            raise _TooLong
        return piece


def open_mmdb(what: str, path: Path, *, shown: Path | str | None = None) -> maxminddb_rust.Reader:
    """Open a database.

    Raises ConfigError, which names ``shown`` or the path, when it cannot be read or is none.
    """
    check_reader(maxminddb_rust.Reader)
    name = shown or path
    try:
        if not _is_gzip(path):
            return maxminddb_rust.open_database(str(path), maxminddb_rust.MODE_MEMORY)
        with gzip.open(path) as compressed:
            content = _Bounded(compressed, MAX_DATABASE_BYTES).read()
        return maxminddb_rust.open_database(BytesIO(content), maxminddb_rust.MODE_FD)
    except maxminddb_rust.InvalidDatabaseError as error:
        raise ConfigError(f"the {what} {name} is not in MaxMind's format: {error}") from None
    except _TooLong:
        raise _too_long(what, name, MAX_DATABASE_BYTES) from None
    except DAMAGED as error:
        raise _damaged(what, name, error) from None
    except OSError as error:
        raise unreadable(what, name, error) from None


def check_reader(reader: type) -> None:
    """Refuse a reader that is no compiled code. Raises ConfigError."""
    if isinstance(getattr(reader, "get_path", None), FunctionType):
        raise ConfigError(
            f"{reader.__module__} runs without its compiled code, 15 times slower; install it anew."
        )


def unfold_mmdb(
    what: str,
    source: Path,
    target: Path,
    *,
    shown: Path | str | None = None,
    max_bytes: int = MAX_DATABASE_BYTES,
) -> None:
    """Write the database that ``source`` is or holds (``.mmdb``, ``.mmdb.gz``, ``.tar.gz``) to ``target``.

    Raises ConfigError, which names ``shown`` or the source, when that cannot be read, holds none or unfolds
    to more than ``max_bytes``, and OSError when the target cannot be written.
    """
    name = shown or source
    try:
        is_gzip = _is_gzip(source)
    except OSError as error:
        raise unreadable(what, name, error) from None
    try:
        with _open_unfolded(source, is_gzip=is_gzip) as stream:
            where, magic = TAR_MAGIC
            is_tar = stream.read(tarfile.BLOCKSIZE)[where] == magic
        with _open_unfolded(source, is_gzip=is_gzip) as stream, target.open("wb") as file:
            bounded = _Bounded(stream, max_bytes)
            found = _find_in_archive(what, name, bounded) if is_tar else bounded
            shutil.copyfileobj(found, file, PIECE_BYTES)
    except _TooLong:
        raise _too_long(what, name, max_bytes) from None
    except DAMAGED as error:
        raise _damaged(what, name, error) from None


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(GZIP_MAGIC)) == GZIP_MAGIC


def _open_unfolded(source: Path, *, is_gzip: bool) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(source)) if is_gzip else source.open("rb")


def _find_in_archive(what: str, name: Path | str, stream: _Bounded) -> _Readable:
    """Give the content of the first database in a tar archive."""
    archive = tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|")  # noqa: SIM115 - the stream is the owner's
    for member in archive:
        content = archive.extractfile(member) if member.name.endswith(".mmdb") else None
        if content is not None:
            return content
    raise ConfigError(f"the {what} {name} is an archive without a file .mmdb")


def _too_long(what: str, name: Path | str, max_bytes: int) -> ConfigError:
    return ConfigError(f"the {what} {name} unfolds to more than {max_bytes:,} bytes")


def _damaged(what: str, name: Path | str, error: Exception) -> ConfigError:
    return ConfigError(f"the {what} {name} is damaged: {error}")

"""chDB, opened on a folder: blocking calls, to be made from threads.

One connection writes; the other is read-only in the engine itself. A person's question gets a connection of
its own, because a statement like USE would change what the next one means.
"""

import fcntl
import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec

from service.clickhouse.outcome import insert_error, query_error
from service.clickhouse.question import is_select
from service.clickhouse.quoting import quoted
from service.errors import ConfigError, QueryFailed, StoreUnavailable

LOCK_FILE = "gatehouse.lock"
_INSERT_FILE = "gatehouse-insert.native"
_FOLDER_MODE = 0o700
_LOCK_MODE = 0o600
_ERROR = re.compile(r"Code: (\d+)\. (.*)", re.DOTALL)
_FORMATS_OF_LINES = frozenset(
    {"CSV", "JSONCompactEachRow", "JSONEachRow", "JSONLines", "NDJSON"}
    | {"TSV", "TSVRaw", "TabSeparated", "TabSeparatedRaw"}
)
_QUESTION_BYTES = 512 * 2**20
"""Memory for a question, and for its answer where that cannot come in chunks: it is the service's own."""
_OWN_FORMAT = re.compile(r"\bFORMAT\s+\w+", re.IGNORECASE)
_READ_ONLY = (
    "SET output_format_json_quote_64bit_integers = 0, output_format_json_quote_decimals = 1",
    "SET readonly = 2",
)


class _JsonCompact(msgspec.Struct):
    """The part of a JSONCompact answer that is read."""

    meta: list[dict[str, str]]
    data: list[list[Any]]


def load_engine() -> Any:
    """Import chDB and give its connection class; its signal handlers are taken back at once.

    To be called from the main thread: the import changes the working folder for a moment. Raises ConfigError
    when chDB is not installed.
    """
    try:
        import chdb
        from chdb.state.sqlitelike import Connection
    except ImportError as error:
        raise ConfigError(
            "The embedded store needs chDB, which is not installed: pip install 'gatehouse[embedded]', "
            'or set store to "native" and clickhouse_url to a ClickHouse server.'
        ) from error
    binding: Any = chdb._chdb  # the switch has no public name
    binding.set_signal_handlers_enabled(False)
    return Connection


class Engine:
    """One open folder. ``write`` and ``execute`` are for one thread at a time, the rest is for any."""

    def __init__(self, connect: Any, folder: Path, database: str) -> None:
        self._connect = connect
        self._folder = folder
        self._database = database
        self._lock_fd = _lock(folder)
        try:
            self._writer = self._open()
            self._writer.query(f"CREATE DATABASE IF NOT EXISTS {database}")
            self._writer.query(f"USE {database}")
            self._reader = self._open_reader()
        except RuntimeError as error:
            os.close(self._lock_fd)
            raise StoreUnavailable(f"The folder {folder} cannot be opened by chDB: {error}") from error

    def insert(self, target: str, settings: str, data: bytes) -> None:
        """Insert data of Native format as one insert; when it returns, it is stored.

        The data goes through a file, because chDB's other two ways lose data: its streaming insert answers
        "written" when the table has refused the rows (a constraint, a full disk), and data inside of the
        statement is cut off at the first two bytes that happen to be line feeds.
        """
        path = self._folder / _INSERT_FILE
        try:
            path.write_bytes(data)
            statement = (
                f"INSERT INTO {target} FROM INFILE {quoted(str(path))} SETTINGS {settings} FORMAT Native"
            )
            self._writer.query(statement, "Null")
        except OSError as error:
            raise StoreUnavailable(f"The embedded store cannot write to its folder: {error}") from error
        except RuntimeError as error:
            raise insert_error(*_code_and_text(error)) from error
        finally:
            path.unlink(missing_ok=True)

    def execute(self, statement: str) -> None:
        """Run one statement that answers nothing."""
        self._run(self._writer, statement, "Null")

    def query(self, sql: str) -> list[dict[str, object]]:
        """Give the rows of a SELECT as JSON values."""
        text = self._run(self._reader, sql, "JSONCompact").decode(errors="replace")
        try:
            answer = msgspec.json.decode(text, type=_JsonCompact)
        except msgspec.DecodeError as error:
            raise QueryFailed("The statement answers no rows, or names a FORMAT of its own.") from error
        names = [column["name"] for column in answer.meta]
        return [dict(zip(names, row, strict=True)) for row in answer.data]

    def stream(self, sql: str, output_format: str) -> Generator[bytes, None, None]:
        """Give the answer to a person's question in any of ClickHouse's formats, chunk by chunk if it may."""
        connection = self._open_reader()
        try:
            connection.query(f"SET max_memory_usage = {_QUESTION_BYTES}")
            if not _may_stream(sql, output_format):
                yield connection.query(sql, output_format).bytes()
                return
            with connection.send_query(sql, output_format) as answer:
                for chunk in answer:
                    yield chunk.bytes()
        except RuntimeError as error:
            raise query_error(*_code_and_text(error)) from error
        finally:
            connection.close()

    def close(self) -> None:
        """Write what is pending and let go of the folder."""
        self._reader.close()
        self._writer.close()
        os.close(self._lock_fd)

    def _run(self, connection: Any, statement: str, output_format: str) -> bytes:
        try:
            answer: bytes = connection.query(statement, output_format).bytes()
        except RuntimeError as error:
            raise query_error(*_code_and_text(error)) from error
        return answer

    def _open(self) -> Any:
        return self._connect(str(self._folder))

    def _open_reader(self) -> Any:
        connection = self._open()
        for statement in (f"USE {self._database}", *_READ_ONLY):
            connection.query(statement)
        return connection


def _may_stream(sql: str, output_format: str) -> bool:
    """Tell whether the answer may come in chunks.

    chDB streams nothing but SELECT, and makes a document of its own of each chunk: only where the pieces of a
    format are a whole when put together, without a head or a foot, is the answer the same.
    """
    return is_select(sql) and output_format in _FORMATS_OF_LINES and _OWN_FORMAT.search(sql) is None


def _lock(folder: Path) -> int:
    """Take the folder for this process; raises StoreUnavailable when another one has it."""
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _LOCK_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreUnavailable(
            f"{folder} is in use by another Gatehouse, and one process at a time can open it. "
            "Stop that one, or ask it (`gatehouse sql` does so by itself while the service runs)."
        ) from None
    return descriptor


def _code_and_text(error: RuntimeError) -> tuple[int | None, str]:
    found = _ERROR.search(str(error))
    return (int(found[1]), found[2]) if found else (None, str(error))

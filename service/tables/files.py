"""Reading and replacing the operator's files: every error is a sentence that names the file."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from service.errors import ConfigError


def read_text(what: str, path: Path) -> str:
    """Give a file's text. Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise unreadable(what, path, error) from None
    except UnicodeDecodeError:
        raise ConfigError(f"the {what} {path} is not a text in UTF-8") from None


def read_packaged(name: str) -> str:
    """Give the text of a data file that comes with the package."""
    return resources.files("service.ingestion").joinpath("data", name).read_text(encoding="utf-8")


def unreadable(what: str, path: Path | str, error: OSError) -> ConfigError:
    """Give the error for a file that cannot be read."""
    return ConfigError(f"the {what} {path} cannot be read: {error.strerror or error}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new file beside ``path`` to be written; it takes that name when the block ends well.

    So whoever reads ``path`` finds the old file or the new one, and after an error or a loss of power the old
    one is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    os.close(number)
    new = Path(name)
    try:
        yield new
        with new.open("rb") as written:
            os.fsync(written.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)

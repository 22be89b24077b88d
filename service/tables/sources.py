"""The table of sources: the one that comes with the package, with the operator's entries over it."""

import tomllib
from pathlib import Path

from service.errors import ConfigError
from service.ingestion.source_table import SourceTable, SourceTableError, read_entries
from service.tables.files import read_packaged, read_text


def load_sources(path: Path | None) -> SourceTable:
    """Load both. Raises ConfigError that names the operator's file and the entry that is wrong."""
    table = SourceTable.from_dict(tomllib.loads(read_packaged("sources.toml")))
    if path is not None:
        text = read_text("table of sources", path)
        try:
            table.add(read_entries(tomllib.loads(text)), table=str(path))
        except (SourceTableError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"the table of sources {path} cannot be used: {error}") from None
    return table

"""What commands about sites print: tables for people, JSON for scripts."""

import sys
from collections.abc import Iterable, Sequence
from typing import Final

import typer

PIPE_WIDTH_CHARS: Final = 10_000
"""Where no terminal sets a width; wider than any row."""


def print_json(value: object) -> None:
    """Print one JSON value, indented."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their column names; long cells are folded on a terminal and whole in a pipe."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Escaped, because a path or a name may hold what rich would read as markup.
        table.add_row(*(escape(cell) for cell in row))
    width = None if sys.stdout.isatty() else PIPE_WIDTH_CHARS
    Console(highlight=False, width=width).print(table)

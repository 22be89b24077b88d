"""What commands about sites print: tables for people, JSON for scripts."""

from collections.abc import Iterable, Sequence

import typer


def print_json(value: object) -> None:
    """Print one JSON value, indented."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their column names; wider than the terminal only when that is not one."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        # As plain text: a domain or path may hold what rich would read as markup.
        table.add_row(*(_plain(cell) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, console.measure(table).maximum)
    console.print(table)


def _plain(cell: str) -> str:
    from rich.markup import escape

    return escape(cell)

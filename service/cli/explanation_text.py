"""An explanation in words, for people at a terminal."""

from typing import Any, Final

import typer

from service.cli.output import print_table
from service.ingestion.explanation import DryRun, Explanation, StepReport

VERDICTS: Final = {
    "buffered": ("would be stored", typer.colors.GREEN),
    "dropped": ("would be dropped", typer.colors.RED),
    "retry": ("would be refused for now (503)", typer.colors.YELLOW),
}


def print_explanation(found: DryRun, *, by: str) -> None:
    """Print how the request was read, and for each domain every step, the verdict and the rows."""
    typer.echo(f"Explained by {by}; nothing was stored or changed.\n")
    _print_steps(found.request)
    for explanation in found.domains:
        _print_domain(explanation)


def _print_domain(explanation: Explanation) -> None:
    words, colour = VERDICTS[explanation.verdict]
    reason = f": {explanation.reason}" if explanation.reason else ""
    site = "" if explanation.site_id is None else f" (site {explanation.site_id})"
    typer.echo(f"\n{_printable(explanation.domain)}{site} {typer.style(words + reason, fg=colour)}\n")
    _print_steps(explanation.steps)
    for row in explanation.rows.events_v2:
        typer.echo()
        _print_rows("events_v2", [("value", row)])
    if explanation.rows.sessions_v2:
        typer.echo()
        _print_rows("sessions_v2", [(f"sign {row['sign']:+}", row) for row in explanation.rows.sessions_v2])


def _print_steps(steps: list[StepReport]) -> None:
    width = max(len(report.step) for report in steps)
    for report in steps:
        mark = typer.style("ok  ", fg=typer.colors.GREEN)
        if report.reason is not None:
            mark = typer.style("stop", fg=typer.colors.RED)
        typer.echo(f"{mark} {report.step:<{width}}  {_printable(report.sentence)}")


def _print_rows(table: str, rows: list[tuple[str, dict[str, Any]]]) -> None:
    """Print rows side by side, a column of the table a line; what is empty in all of them is left out."""
    columns = [name for name in rows[0][1] if name != "sign" and any(_text(name, row) for _, row in rows)]
    print_table(
        (table, *(title for title, _ in rows)),
        [(name, *(_text(name, row) for _, row in rows)) for name in columns],
    )


def _text(column: str, row: dict[str, Any]) -> str:
    value = row[column]
    if value is None:
        return "(drawn when it is opened)" if column == "session_id" else ""
    if isinstance(value, list):
        return _printable(", ".join(value))
    return "" if value in ("", 0) and column != "is_bounce" else _printable(str(value))


def _printable(text: str) -> str:
    """Give a text without what a terminal would obey."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )

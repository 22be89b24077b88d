"""``gatehouse journal``: what waits for ClickHouse, whether it can be read, and ways to get it out.

``inspect``, ``verify`` and ``export`` only read, also while a service runs. ``replay`` inserts, and needs the
journal for itself.
"""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from service.cli.folder import is_running
from service.cli.invocation import invocation
from service.cli.output import print_json, print_table
from service.errors import JournalLocked
from service.progress import RowTable

if TYPE_CHECKING:
    from service.cli.replay import Replayed
    from service.config import Config
    from service.journal_reader import SegmentReport

TORN: Final = "torn"

app = typer.Typer(
    help="Look into the journal, check it, get its rows out, or insert them without the service.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="JSON, for scripts.")]


@app.command()
def inspect(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """List the segments: blocks that are not in ClickHouse yet.

    gatehouse journal inspect
    """
    from service.clock import wall

    config = invocation(ctx).config
    reports, damaged = _reports(config)
    if as_json:
        print_json({"segments": [_shown(report) for report in reports], "damaged": list(map(str, damaged))})
        return
    if not reports:
        typer.echo("The journal is empty: all that was acknowledged is in ClickHouse.")
    else:
        now_ms = wall() * 1000
        print_table(
            ("block", "created", "age", "events", "bytes", "state"),
            [
                (
                    report.id or report.file,
                    _time(report.created_ms),
                    f"{max(0.0, now_ms - report.created_ms) / 1000:.0f} s",
                    f"{report.records:,}",
                    f"{report.bytes:,}",
                    _state(report),
                )
                for report in reports
            ],
        )
        events, size = sum(report.records for report in reports), sum(report.bytes for report in reports)
        typer.echo(f"{len(reports):,} blocks, {events:,} events, {size:,} bytes.")
    if damaged:
        typer.echo(f"{len(damaged):,} files that could not be read were set aside: {damaged[0].parent}")


@app.command()
def verify(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Check every checksum and read every record; exit code 1 when something is wrong.

    gatehouse journal verify
    """
    reports, damaged = _reports(invocation(ctx).config)
    bad = [report for report in reports if report.problem]
    if as_json:
        print_json(
            {"ok": not bad and not damaged, "segments": len(reports), "bad": [_shown(one) for one in bad]}
        )
    else:
        for report in bad:
            typer.echo(
                f"{report.file}: {report.problem}; its last {report.unread_bytes:,} bytes cannot be read, "
                f"{report.records:,} events before them can. The next start sets these bytes aside."
            )
        for path in damaged:
            typer.echo(f"{path}: was set aside by an earlier start.")
        good = len(reports) - len(bad)
        typer.echo(f"{good:,} of {len(reports):,} segments are whole; {len(damaged):,} files are set aside.")
    if bad or damaged:
        raise typer.Exit(1)


@app.command()
def export(
    ctx: typer.Context,
    *,
    table: Annotated[
        RowTable | None, typer.Option("--table", help="Only these rows (default: both).")
    ] = None,
    block: Annotated[str, typer.Option("--block", help="Only the block whose id begins so.")] = "",
) -> None:
    """Print the rows as JSON, one a line, under the names of ClickHouse's columns.

    gatehouse journal export --table events > events.jsonl
    """
    import msgspec

    from service.clickhouse.shown_rows import show_event, show_session
    from service.clickhouse.store import BlockTrigger
    from service.insertion import build_block
    from service.journal_reader import read_segments

    for report, entries in read_segments(_folder(invocation(ctx).config)):
        if not report.id.startswith(block):
            continue
        rows = build_block(report.id, BlockTrigger.REPLAY, entries)
        lines: list[tuple[RowTable, int, dict[str, Any]]] = []
        if table in (None, RowTable.EVENTS):
            lines += [(RowTable.EVENTS, place, show_event(row)) for place, row in enumerate(rows.events)]
        if table in (None, RowTable.SESSIONS):
            lines += [
                (RowTable.SESSIONS, place, show_session(sign, state))
                for place, (sign, state) in enumerate(rows.sessions)
            ]
        for kind, place, values in lines:
            line = {"block": report.id, "table": kind, "row": place, "values": values}
            sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.flush()


@app.command()
def replay(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Insert what waits, without the service, which must be stopped; each row once, as the service would.

    gatehouse journal replay
    """
    from service.cli.replay import replay_journal

    config = invocation(ctx).config
    try:
        done = asyncio.run(replay_journal(config))
    except JournalLocked as error:
        raise JournalLocked(
            f"{error} A running service inserts the journal by itself; stop it to do it here."
        ) from error
    _print_replayed(done, as_json=as_json)
    if done.waiting:
        raise typer.Exit(1)


def _print_replayed(done: "Replayed", *, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    typer.echo(f"{done.blocks:,} blocks with {done.events:,} events are in ClickHouse.")
    if done.quarantined:
        typer.echo(f"{done.quarantined:,} rows were refused: see `gatehouse quarantine list`.")
    if done.waiting:
        typer.echo(f"{done.waiting:,} blocks wait in the journal: {done.problem}")


def _reports(config: "Config") -> "tuple[list[SegmentReport], list[Path]]":
    """Give what is there; the end of the segment that a running service writes to is none of our business."""
    from msgspec.structs import replace

    from service.journal_reader import damaged_files, report_segments

    folder = _folder(config)
    reports = list(report_segments(folder))
    if reports and reports[-1].problem == TORN and is_running(config.data_dir):
        reports[-1] = replace(reports[-1], problem="")
    return reports, damaged_files(folder)


def _folder(config: "Config") -> Path:
    from service.cli.stores import JOURNAL_FOLDER

    return config.data_dir / JOURNAL_FOLDER


def _shown(report: "SegmentReport") -> dict[str, Any]:
    import msgspec

    return msgspec.structs.asdict(report) | {"created": _time(report.created_ms)}


def _state(report: "SegmentReport") -> str:
    if report.problem:
        return f"{report.problem}, {report.unread_bytes:,} bytes cannot be read"
    return "rows are refused" if report.refused else "whole"


def _time(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%d %H:%M:%S}"

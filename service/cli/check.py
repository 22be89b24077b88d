"""``gatehouse check``: is everything in place for a start, and if not, what is to be done."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.cli.invocation import Invocation, invocation
from service.errors import ConfigError

if TYPE_CHECKING:
    from service.cli.checks import Finding

COLOURS: Final = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "problem": typer.colors.RED}
EXIT_PROBLEM: Final = 1


def check(
    ctx: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array of findings, for scripts.")] = False,
) -> None:
    """Look at configuration, data folder, ports, clock, files and database; say what is wrong and what to do.

    It changes nothing, and may be run while the service runs. The exit code is 1 when there is a problem.

    gatehouse check && gatehouse serve
    """
    findings = asyncio.run(_collect(invocation(ctx), show=not as_json))
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(findings))
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(EXIT_PROBLEM)


async def _collect(call: Invocation, *, show: bool) -> "list[Finding]":
    from service.cli.checks import Finding, run_checks
    from service.clock import wall

    findings: list[Finding] = []

    def add(finding: Finding) -> None:
        findings.append(finding)
        if show:
            _show(finding)

    try:
        config = call.config
    except ConfigError as error:
        add(Finding("configuration", "problem", str(error)))
        return findings
    add(Finding("configuration", "ok", "Every setting is known and valid."))
    async for finding in run_checks(config, clock=wall):
        add(finding)
    return findings


def _show(finding: "Finding") -> None:
    level = typer.style(f"{finding.level:<8}", fg=COLOURS[finding.level])
    typer.echo(f"{level} {finding.about:<14} {finding.sentence}")

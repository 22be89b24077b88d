"""``gatehouse version``: which Gatehouse this is, and what it runs on."""

import importlib.metadata
import platform
from collections.abc import Iterator
from typing import Annotated, Final

import typer

from service import __version__

PARTS: Final = ("aiohttp", "asynch", "chdb-core", "msgspec", "uvloop")
"""Distributions whose version matters in a bug report; those not installed are left out."""


def version(
    *, as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False
) -> None:
    """Say which version this is, and of what it is made.

    gatehouse version --json | jq -r .gatehouse
    """
    versions = dict(find_versions())
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(versions))
        return
    for name, number in versions.items():
        typer.echo(f"{name} {number}")


def find_versions() -> Iterator[tuple[str, str]]:
    """Give name and version of Gatehouse, Python and the libraries that matter."""
    yield "gatehouse", __version__
    yield "python", platform.python_version()
    for part in PARTS:
        try:
            yield part, importlib.metadata.version(part)
        except importlib.metadata.PackageNotFoundError:
            continue

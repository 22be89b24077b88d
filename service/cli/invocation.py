"""One call of the command: what its global options said, and the configuration that follows from them."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from service.config import Config


class Invocation:
    """The root command makes it and every command finds it as ``ctx.obj``.

    The configuration is read on first use, so that help and version work with a broken one.
    """

    def __init__(self, *, file: Path | None, flags: Mapping[str, object], environ: Mapping[str, str]) -> None:
        self.file = file
        """The configuration file that ``--config`` named."""
        self.flags = dict(flags)
        """Settings given on the command line, by name."""
        self._environ = environ

    @cached_property
    def config(self) -> "Config":
        """All settings. Raises ConfigError."""
        from service.config import load_config

        return load_config(file=self.file, environ=self._environ, flags=self.flags)

    def with_flags(self, flags: Mapping[str, object | None]) -> "Invocation":
        """Give the same call with a command's own flags on top; those that are None were not given."""
        given = {name: value for name, value in flags.items() if value is not None}
        return Invocation(file=self.file, flags=self.flags | given, environ=self._environ)


def invocation(ctx: typer.Context) -> Invocation:
    """Give the Invocation that the root command put into the context."""
    found = ctx.find_object(Invocation)
    assert found is not None, "a command runs under the root command, which makes the Invocation"
    return found

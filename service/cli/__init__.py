"""The ``gatehouse`` command: it parses, builds the parts, hands them down and prints what came of it."""

from service.cli.main import main

__all__ = ["main"]

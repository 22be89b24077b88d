"""Writes the parts of the documentation that the code knows: ``make docs`` runs it, a test says when."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from service.config import settings_table
from service.telemetry.catalogue import CATALOGUE

ROOT: Final = Path(__file__).parent.parent


def metrics_table() -> str:
    """Give all metrics as a Markdown table."""
    lines = [
        "| Metric | In Prometheus | Type | Unit | Attributes | Meaning | When it moves |",
        "|---|---|---|---|---|---|---|",
    ]
    for metric in CATALOGUE:
        attributes = ", ".join(f"`{name}`" for name in metric.attributes)
        lines.append(
            f"| `{metric.name}` | `{metric.prometheus_name}` | {metric.kind} | `{metric.unit}` "
            f"| {attributes} | {metric.meaning} | {metric.advice} |"
        )
    return "\n".join(lines) + "\n"


GENERATED: Final[Mapping[Path, tuple[str, Callable[[], str]]]] = {
    ROOT / "README.md": ("settings", settings_table),
    ROOT / "docs/telemetry.md": ("metrics", metrics_table),
}
"""Each file, the marker of its generated part, and what stands there."""


def fill_in(path: Path) -> str:
    """Give the text of a file with what the code says between its markers.

    Raises ValueError when the markers are missing.
    """
    marker, make = GENERATED[path]
    part = re.compile(rf"(<!-- {marker}: .*? -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    filled, found = part.subn(
        lambda markers: markers[1] + "\n" + make() + "\n" + markers[2], path.read_text(encoding="utf-8")
    )
    if found != 1:
        raise ValueError(f"{path.name} must have the markers of its {marker} once, not {found} times")
    return filled


if __name__ == "__main__":
    for generated in GENERATED:
        generated.write_text(fill_in(generated), encoding="utf-8")

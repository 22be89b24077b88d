"""The dashboards and alert rules of ``deploy/``: what they ask, and which series of Prometheus exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from ruamel.yaml import YAML

from service.telemetry.catalogue import CATALOGUE
from service.telemetry.metric import Metric, prometheus_label
from tests.support.installing import ROOT

DASHBOARDS: Final = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
RULES: Final = ROOT / "deploy" / "prometheus"
OTHERS: Final = {"up": frozenset({"job", "instance"})}
"""Metrics of Prometheus itself, with their labels."""
TARGET: Final = frozenset({"job", "instance"})
"""What Prometheus adds to every series."""
NOT_NAMES: Final = {"by", "without", "and", "or", "unless", "on", "ignoring", "offset", "bool"}
RATE_INTERVAL: Final = "5m"
CLICKHOUSE_MACROS: Final = (
    (r"\$__timeFilter\((\w+)\)", r"\1 >= now() - INTERVAL 1 HOUR AND \1 <= now()"),
    (r"\$__timeInterval\((\w+)\)", r"toStartOfInterval(\1, INTERVAL 60 SECOND)"),
    (r"\$\{domain:sqlstring\}", "'example.com'"),
)


class Query(Struct, frozen=True):
    """A query and where it stands."""

    where: str
    text: str


def load(path: Path) -> Any:
    """Read a dashboard."""
    return json.loads(path.read_text())


def targets(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All targets of the dashboards for one kind of data source, and where each stands."""
    for path in DASHBOARDS:
        for panel in load(path)["panels"]:
            for target in panel.get("targets", []):
                if target["datasource"]["type"] == kind:
                    yield f"{path.stem}: {panel['title']} {target['refId']}", target


def prometheus_queries() -> list[Query]:
    """What the dashboards ask Prometheus, as it gets it."""
    return [
        Query(where, target["expr"].replace("$__rate_interval", RATE_INTERVAL))
        for where, target in targets("prometheus")
    ]


def rules() -> list[dict[str, Any]]:
    """The alert rules."""
    return [
        rule for group in YAML(typ="safe").load(RULES / "alerts.yml")["groups"] for rule in group["rules"]
    ]


def alert_queries() -> list[Query]:
    """What the alerts ask Prometheus."""
    return [Query(rule["alert"], rule["expr"]) for rule in rules()]


def clickhouse_queries() -> list[Query]:
    """What the dashboards ask ClickHouse, as it gets it; those that fill their variables included."""
    variables = [
        Query(f"{path.stem}: {variable['name']}", variable["query"])
        for path in DASHBOARDS
        for variable in load(path)["templating"]["list"]
        if variable["type"] == "query"
    ]
    panels = [
        Query(where, _expanded(target["rawSql"]))
        for where, target in targets("grafana-clickhouse-datasource")
    ]
    return variables + panels


def series() -> dict[str, frozenset[str]]:
    """Every series that there can be, by its name in Prometheus, with its labels."""
    found = dict(OTHERS)
    for metric in CATALOGUE:
        labels = TARGET | {prometheus_label(attribute) for attribute in metric.attributes}
        for name in series_of(metric):
            found[name] = labels | {"le"} if name.endswith("_bucket") else labels
    return found


def series_of(metric: Metric) -> list[str]:
    """The series of a metric."""
    suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
    return [f"{metric.prometheus_name}{suffix}" for suffix in suffixes]


def labels_of(query: str) -> set[str]:
    """The labels that a PromQL query selects or groups by."""
    bare = _without_texts(query)
    selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", "".join(re.findall(r"\{([^}]*)\}", bare)))
    grouped = ",".join(re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", bare))
    return set(selected) | {label.strip() for label in grouped.split(",") if label.strip()}


def metrics_of(query: str) -> set[str]:
    """The metrics that a PromQL query names."""
    rest = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", _without_texts(query))
    rest = re.sub(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)", "", rest)
    words = re.findall(r"(?<![\w.])([a-zA-Z_]\w*)\b(?!\s*\()", re.sub(r"\boffset\s+\w+", "", rest))
    return set(words) - NOT_NAMES


def _without_texts(query: str) -> str:
    return re.sub(r'"[^"]*"', '""', query)


def _expanded(sql: str) -> str:
    for macro, meaning in CLICKHOUSE_MACROS:
        sql = re.sub(macro, meaning, sql)
    return sql

"""Dashboards and alerts: every query is understood, and asks for what exists."""

import asyncio
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from service.clickhouse.connect import open_store
from service.clickhouse.migrations import migrate
from service.telemetry.catalogue import CATALOGUE
from tests.support.dashboards import (
    DASHBOARDS,
    RULES,
    Query,
    alert_queries,
    clickhouse_queries,
    labels_of,
    load,
    metrics_of,
    prometheus_queries,
    rules,
    series,
    series_of,
)
from tests.support.installing import ROOT, give_up
from tests.support.promtool import find_promtool

CHECK_LIMIT_S: Final = 60


class TestPrometheus:
    @pytest.mark.parametrize(
        "query", [*prometheus_queries(), *alert_queries()], ids=lambda query: query.where
    )
    def test_asks_for_what_exists(self, query: Query) -> None:
        """Every metric of a query is in the catalogue, and has the labels that are asked of it."""
        known = series()
        names = metrics_of(query.text)

        assert names, "it asks for something"
        assert names <= known.keys()
        assert labels_of(query.text) <= frozenset().union(*(known[name] for name in names))

    def test_is_understood(self, tmp_path: Path) -> None:
        """Prometheus itself reads every query of the dashboards."""
        recorded = [
            {"record": f"query:{number}", "expr": query.text}
            for number, query in enumerate(prometheus_queries())
        ]
        with (tmp_path / "queries.yml").open("w") as file:
            YAML(typ="safe").dump({"groups": [{"name": "dashboards", "rules": recorded}]}, file)

        assert promtool("check", "rules", str(tmp_path / "queries.yml")).returncode == 0

    def test_every_metric_is_on_a_dashboard(self) -> None:
        """What is measured can be seen."""
        seen = set().union(*(metrics_of(query.text) for query in prometheus_queries()))

        assert {metric.name for metric in CATALOGUE if not seen & set(series_of(metric))} == set()


class TestAlerts:
    @pytest.mark.parametrize(
        "command",
        [
            ("check", "config", "prometheus.yml"),
            ("check", "rules", "alerts.yml"),
            ("test", "rules", "alerts.test.yml"),
        ],
        ids=" ".join,
    )
    def test_promtool(self, command: tuple[str, ...]) -> None:
        """Prometheus's own checker takes the files, and the rules pass their unit tests."""
        done = promtool(*command)

        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize("alert", [rule["alert"] for rule in rules()])
    def test_tested_both_ways(self, alert: str) -> None:
        """Each alert has a unit test in which it fires, and one in which it does not."""
        tests = YAML(typ="safe").load(RULES / "alerts.test.yml")["tests"]
        outcomes = {
            bool(check.get("exp_alerts"))
            for test in tests
            for check in test["alert_rule_test"]
            if check["alertname"] == alert
        }

        assert outcomes == {True, False}

    @pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
    def test_runbook(self, rule: dict[str, Any]) -> None:
        """Each alert leads to its own paragraph of the runbook."""
        name = rule["alert"]
        headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)

        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
        assert name in headings
        assert rule["labels"]["severity"] in {"critical", "warning"}


class TestClickhouse:
    async def test_answers(self, clickhouse_url: str, tmp_path: Path) -> None:
        """The real ClickHouse runs every query of the dashboards on the tables as they are made."""
        store = open_store(kind="native", url=clickhouse_url, folder=tmp_path)
        try:
            await migrate(store, cluster=None)
            for query in clickhouse_queries():
                await asyncio.wait_for(store.query(query.text), CHECK_LIMIT_S)
        finally:
            await store.close()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_ready_for_provisioning(path: Path) -> None:
    """A dashboard has an id and a title of its own, and no data source of somebody's installation."""
    dashboard = load(path)
    others = [load(other) for other in DASHBOARDS if other != path]
    panels = dashboard["panels"]

    assert dashboard["uid"] not in {other["uid"] for other in others}
    assert dashboard["title"] not in {other["title"] for other in others}
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert not overlapping(panels)
    variables = {f"${{{variable['name']}}}" for variable in dashboard["templating"]["list"]}
    sources = [panel["datasource"] for panel in panels if panel["type"] != "row"]
    assert {source["uid"] for source in sources} <= variables


def overlapping(panels: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The panels that lie on each other."""

    def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
        at = panel["gridPos"]
        return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}

    return [
        (one["title"], other["title"])
        for number, one in enumerate(panels)
        for other in panels[number + 1 :]
        if cells(one) & cells(other)
    ]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool beside the rules; skip (or fail) when there is none."""
    binary = find_promtool()
    if binary is None:
        give_up("This test needs Prometheus's promtool: on PATH, or `make tools`.", optional=True)
    return subprocess.run(
        [binary, *arguments], cwd=RULES, capture_output=True, text=True, timeout=CHECK_LIMIT_S, check=False
    )

"""The real OpenTelemetry Collector on the project's own ``otel-collector.yaml``, for tests.

An overlay moves it to free ports of the loopback interface and has it write what it sends on to a file; all
else is as operators run it.
"""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from tests.support.collector_build import NAME, find_collector
from tests.support.installing import ROOT, give_up
from tests.support.ports import free_ports

CONFIGURATION: Final = ROOT / "otel-collector.yaml"
START_LIMIT_S: Final = 30.0
STOP_LIMIT_S: Final = 30.0
POLL_S: Final = 0.05
SAMPLE: Final = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Labels = frozenset[tuple[str, str]]


class CollectorProcess:
    """The collector on a folder and on ports that stay the same from one start to the next."""

    def __init__(self, binary: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self._binary = binary
        self._folder = folder
        self._environment = {"COLLECTOR_EXPORTERS": "[file]", **environment}
        grpc, http, self._scrape, self._own, self._health = free_ports(5)
        self.otlp_grpc = f"http://127.0.0.1:{grpc}"
        self.otlp_http = f"http://127.0.0.1:{http}"
        self._overlay = folder / "overlay.yaml"
        self._process: subprocess.Popen[bytes] | None = None
        with self._overlay.open("w") as file:
            YAML(typ="safe").dump(self._changes(grpc, http), file)

    def _changes(self, grpc: int, http: int) -> dict[str, Any]:
        own = {"pull": {"exporter": {"prometheus": {"host": "127.0.0.1", "port": self._own}}}}
        return {
            "receivers": {
                "otlp": {
                    "protocols": {
                        "grpc": {"endpoint": f"127.0.0.1:{grpc}"},
                        "http": {"endpoint": f"127.0.0.1:{http}"},
                    }
                }
            },
            # So that a test need not wait long for what is kept.
            "processors": {"tail_sampling": {"decision_wait": "1s"}},
            "exporters": {
                "prometheus": {"endpoint": f"127.0.0.1:{self._scrape}"},
                "file": {"path": str(self._folder / "sent.jsonl"), "append": True, "flush_interval": "100ms"},
            },
            "extensions": {"health_check": {"endpoint": f"127.0.0.1:{self._health}"}},
            "service": {"telemetry": {"metrics": {"readers": [own]}}},
        }

    # Its life

    def start(self) -> None:
        """Start it and return when it says that it is well."""
        assert self._process is None, "it is running already"
        with (self._folder / "collector.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, f"--config={CONFIGURATION}", f"--config={self._overlay}"],
                cwd=self._folder,
                env=_environment(self._environment),
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while not self.is_well():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the collector did not start:\n{self.log()[-3000:]}")
            time.sleep(POLL_S)

    def stop(self) -> int:
        """Ask it to stop (SIGTERM), which sends what it holds, and wait; gives its exit code."""
        assert self._process is not None, "it is not running"
        process, self._process = self._process, None
        process.terminate()
        try:
            return process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the collector did not stop:\n{self.log()[-3000:]}") from None

    def kill(self) -> None:
        """End it with SIGKILL; no error when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it in its tracks: it still takes connections, and answers nothing."""
        assert self._process is not None, "it is not running"
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None, "it is not running"
        self._process.send_signal(signal.SIGCONT)

    # What one can ask of it

    def is_well(self) -> bool:
        """Whether its health check answers and says so."""
        try:
            return "Server available" in _read(self._health, "/")
        except OSError:
            return False

    def log(self) -> str:
        """All that it has written, over all its starts."""
        return (self._folder / "collector.log").read_text(errors="replace")

    def scrape(self) -> dict[str, dict[Labels, float]]:
        """Give what Prometheus would read of the services: values by name and labels."""
        return parse_samples(_read(self._scrape, "/metrics"))

    def scrape_text(self) -> str:
        """Give what Prometheus would read of the services, as it is."""
        return _read(self._scrape, "/metrics")

    def scrape_own(self) -> dict[str, dict[Labels, float]]:
        """Give what Prometheus would read of the collector itself."""
        return parse_samples(_read(self._own, "/metrics"))

    def sent(self, signal: str) -> list[dict[str, Any]]:
        """Give what it sent on (to the file): the requests of one signal, such as ``resourceSpans``."""
        path = self._folder / "sent.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [resource for line in lines for resource in json.loads(line).get(signal, [])]

    def spans(self) -> list[dict[str, Any]]:
        """Give all spans that it sent on."""
        return [
            span
            for resource in self.sent("resourceSpans")
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


@contextmanager
def running_collector(
    folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[CollectorProcess]:
    """Start the collector on a new folder and kill it in the end; skip (or fail) when none can be had."""
    folder.mkdir(parents=True, exist_ok=True)
    collector = CollectorProcess(collector_binary(), folder, environment or {})
    try:
        collector.start()
        yield collector
    finally:
        collector.kill()


def collector_binary() -> Path:
    """Give the path of the collector; skip (or fail) the test when there is none."""
    binary = find_collector()
    if binary is None:
        give_up(
            f"This test needs the real OpenTelemetry Collector: {NAME} on PATH, or `make tools`.",
            optional=True,
        )
    return binary


def validate(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Let the collector check ``otel-collector.yaml`` with these variables."""
    return subprocess.run(
        [collector_binary(), "validate", f"--config={CONFIGURATION}"],
        env=_environment(environment),
        capture_output=True,
        text=True,
        timeout=START_LIMIT_S,
        check=False,
    )


def parse_samples(text: str) -> dict[str, dict[Labels, float]]:
    """Read Prometheus's text form: values by name and labels."""
    samples: dict[str, dict[Labels, float]] = {}
    for line in text.splitlines():
        found = SAMPLE.match(line)
        if found is not None:
            labels = frozenset(LABEL.findall(found["labels"] or ""))
            samples.setdefault(found["name"], {})[labels] = float(found["value"])
    return samples


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COLLECTOR_")}
    return inherited | dict(given)


def _read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=START_LIMIT_S) as answer:
        text: str = answer.read().decode()
    return text

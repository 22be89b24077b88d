"""The real OpenTelemetry Collector: found on PATH, or built once from its Go modules.

``deploy/collector/builder.yaml`` says which parts at which versions. The build takes some three minutes on
two cores and lands in ``.cache/otelcol``, under a name that changes with that file.
"""

import fcntl
import hashlib
import os
import shutil
from pathlib import Path
from typing import Final

from ruamel.yaml import YAML

from tests.support.installing import CACHE, ROOT, MissingError, run_installer

NAME: Final = "otelcol-contrib"
MANIFEST: Final = ROOT / "deploy" / "collector" / "builder.yaml"
BUILDER: Final = "go.opentelemetry.io/collector/cmd/builder"
COMPILERS: Final = 2
"""At a time: the linker needs memory, and others work on the machine too."""
BUILD_LIMIT_S: Final = 1800
"""Three minutes on two cores of their own, eight on two busy ones with nothing downloaded yet."""


def find_collector() -> Path | None:
    """Give the collector on PATH, else the one that was built, if there is one."""
    on_path = shutil.which(NAME)
    if on_path:
        return Path(on_path)
    return _built() if _built().exists() else None


def install_collector() -> str:
    """Build the collector unless there is one; gives its path. Raises MissingError."""
    found = find_collector()
    if found is not None:
        return str(found)
    go = shutil.which("go")
    if go is None:
        raise MissingError(
            f"There is neither {NAME} nor Go on PATH, so the tests with the real OpenTelemetry Collector "
            "cannot run: install its contrib distribution, or Go 1.26 or newer."
        )
    folder = _built().parent
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when closed; another worker may have built it meanwhile
        if not _built().exists():
            _build(go, folder / "source")
    return str(_built())


def _build(go: str, source: Path) -> None:
    source.mkdir(exist_ok=True)
    manifest = YAML(typ="safe").load(MANIFEST)
    manifest["dist"]["output_path"] = str(source)
    ours = source / "builder.yaml"
    with ours.open("w") as file:
        YAML(typ="safe").dump(manifest, file)
    run_installer(
        "the OpenTelemetry Collector (some minutes)",
        [go, "run", f"{BUILDER}@v{manifest['dist']['version']}", f"--config={ours}"],
        # Not stamped with the state of this repository, in whose folder it happens to be built.
        environment={"GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -p={COMPILERS} -buildvcs=false".strip()},
        limit_s=BUILD_LIMIT_S,
    )
    (source / NAME).rename(_built())  # appears whole or not at all
    shutil.rmtree(source)


def _built() -> Path:
    digest = hashlib.sha256(MANIFEST.read_bytes()).hexdigest()[:12]
    return CACHE / "otelcol" / digest / NAME

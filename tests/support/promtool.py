"""Prometheus's own checker of rules: found on PATH, or unpacked from Debian's package.

The package is not installed, because that would start a Prometheus on the machine.
"""

import fcntl
import shutil
from pathlib import Path
from typing import Final

from tests.support.installing import CACHE, MissingError, run_installer

NAME: Final = "promtool"
_FOLDER: Final = CACHE / "prometheus"
_UNPACKED: Final = _FOLDER / "package" / "usr" / "bin" / NAME


def find_promtool() -> Path | None:
    """Give promtool on PATH, else the unpacked one, if there is one."""
    on_path = shutil.which(NAME)
    if on_path:
        return Path(on_path)
    return _UNPACKED if _UNPACKED.exists() else None


def install_promtool() -> str:
    """Unpack promtool unless there is one; gives its path. Raises MissingError."""
    found = find_promtool()
    if found is not None:
        return str(found)
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise MissingError(
            "There is no promtool on PATH, so Prometheus's rules cannot be checked: install Prometheus 2.42 "
            "or newer."
        )
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when closed; another worker may have fetched it meanwhile
        if not _UNPACKED.exists():
            _fetch()
    return str(_UNPACKED)


def _fetch() -> None:
    download = ["apt-get", "download", "--quiet", "--quiet", "prometheus"]
    try:
        run_installer(NAME, download, folder=_FOLDER)
    except MissingError:  # where nobody has asked for the list of packages yet
        run_installer(NAME, ["apt-get", "update", "--quiet", "--quiet"])
        run_installer(NAME, download, folder=_FOLDER)
    package = next(_FOLDER.glob("prometheus_*.deb"))
    part = _FOLDER / "part"
    run_installer(NAME, ["dpkg-deb", "--extract", str(package), str(part)])
    part.rename(_FOLDER / "package")  # appears whole or not at all
    package.unlink()

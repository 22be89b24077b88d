"""The built databases of Hyperscan as a file, which only its owner may read.

A file is named after what it was built from: the rules, the library's version and the processor. It starts
with a magic and a digest of its name and all that follows. One that is cut off, changed, renamed, or refused
by Hyperscan is as good as none: it is not used, and built again.
"""

import hashlib
import os
import platform
from pathlib import Path
from typing import Final

from service.user_agents.detector import Plan
from service.user_agents.scanners import HyperscanScanner, HyperscanUnavailable

MAGIC: Final = b"gatehouse-ua-1\n"
DIGEST_BYTES: Final = 32
LENGTH_BYTES: Final = 8
PREFIX, SUFFIX = "user-agents-", ".hs"
PROCESSOR_FEATURES: Final = frozenset({"ssse3", "avx2", "avx512bw", "avx512vbmi", "sve", "sve2"})
"""What Hyperscan builds for."""


def database_path(folder: Path, plan: Plan, version: str) -> Path:
    """Give where the databases for these rules, this version of Hyperscan and this machine lie."""
    built_from = (plan.rules.hash, plan.expressions, plan.models, version, platform.machine(), _features())
    return folder / f"{PREFIX}{hashlib.sha256(repr(built_from).encode()).hexdigest()[:32]}{SUFFIX}"


def load_scanners(path: Path) -> tuple[HyperscanScanner, HyperscanScanner] | None:
    """Give what scans the lists and the models with a file's databases; None when they cannot be used."""
    databases = read_databases(path)
    if databases is None:
        return None
    try:
        return HyperscanScanner(databases[0]), HyperscanScanner(databases[1])
    except HyperscanUnavailable:
        return None


def read_databases(path: Path) -> tuple[bytes, bytes] | None:
    """Give the databases of the lists and of the models; None when there is no whole file."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    start = len(MAGIC) + DIGEST_BYTES
    digest, rest = content[len(MAGIC) : start], content[start:]
    if not content.startswith(MAGIC) or _digest(path, rest) != digest:
        return None
    length = int.from_bytes(rest[:LENGTH_BYTES], "big")
    return rest[LENGTH_BYTES : LENGTH_BYTES + length], rest[LENGTH_BYTES + length :]


def write_databases(path: Path, lists: bytes, models: bytes) -> None:
    """Write them, all or nothing, and remove those that were built from something else. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    rest = len(lists).to_bytes(LENGTH_BYTES, "big") + lists + models
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(MAGIC + _digest(path, rest) + rest)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    for other in path.parent.glob(f"{PREFIX}*"):
        if other != path:
            other.unlink(missing_ok=True)


def _digest(path: Path, rest: bytes) -> bytes:
    return hashlib.blake2b(rest, digest_size=DIGEST_BYTES, key=path.name.encode()).digest()


def _features() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    known = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return sorted(PROCESSOR_FEATURES.intersection(known.split()))

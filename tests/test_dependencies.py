"""What the container is made of is pinned by hash, complete, and what pyproject.toml asks for."""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.audit import judge

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"([A-Za-z0-9._-]+)==(\S+?)(?: ; [^\\]+?)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")
STALE = "requirements/ is not what pyproject.toml asks for any more: `make lock` writes it anew"


def lock(name: str) -> dict[str, Version]:
    """Give the versions of a lock file by the names of the packages; every line of it is understood."""
    found: dict[str, Version] = {}
    for line in (ROOT / "requirements" / f"{name}.lock").read_text().splitlines():
        if pinned := PINNED.fullmatch(line):
            found[canonicalize_name(pinned[1])] = Version(pinned[2])
        else:
            assert HASH.fullmatch(line), f"{name}.lock has a line that pins nothing: {line}"
    return found


def asked_for() -> Mapping[str, Any]:
    """Give the project's table of pyproject.toml."""
    project: Mapping[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def needed(name: str, extras: set[str], seen: set[str]) -> Iterator[tuple[str, Requirement]]:
    """Give what an installed package needs on this machine, and what that needs; each with who needs it."""
    if name in seen:
        return
    seen.add(name)
    try:
        texts = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return  # for another system or Python than this one
    for text in texts:
        requirement = Requirement(text)
        environments = [{"extra": extra} for extra in (*extras, "")]
        if requirement.marker is None or any(requirement.marker.evaluate(each) for each in environments):
            yield name, requirement
            yield from needed(canonicalize_name(requirement.name), requirement.extras, seen)


def is_as_pinned(name: str, pinned: Mapping[str, Version]) -> bool:
    """Whether the version that is installed here is the pinned one, so that it needs what that needs."""
    return Version(importlib.metadata.version(name)) == pinned.get(name)


@pytest.mark.parametrize("name", ["run", "embedded", "build"])
def test_every_package_has_hashes(name: str) -> None:
    """Each is followed by at least one; no line names a place where it comes from."""
    lines = (ROOT / "requirements" / f"{name}.lock").read_text().splitlines()
    assert lock(name)
    assert all(HASH.fullmatch(after) for line, after in pairwise(lines) if "==" in line)
    assert not any("://" in line or "index" in line for line in lines)


@pytest.mark.parametrize(("name", "extra"), [("run", None), ("embedded", "embedded")])
def test_lock_is_fresh(name: str, extra: str | None) -> None:
    """Whatever pyproject.toml asks for is in it, in a version that it allows, with all that needs in turn."""
    pinned = lock(name)
    project = asked_for()
    texts = [*project["dependencies"], *(project["optional-dependencies"][extra] if extra else ())]
    seen: set[str] = set()
    for text in texts:
        requirement = Requirement(text)
        own = canonicalize_name(requirement.name)
        for needs, each in ((None, requirement), *needed(own, requirement.extras, seen)):
            version = pinned.get(canonicalize_name(each.name))
            if needs is not None and not is_as_pinned(needs, pinned):
                continue  # what a newer release needs says nothing of the one that is pinned
            assert version is not None, f"{each.name} is missing. {STALE}"
            assert each.specifier.contains(version, prereleases=True), f"{each} is not {version}. {STALE}"


def test_build_lock_is_fresh() -> None:
    """What builds the package is pinned too."""
    (text,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    requirement = Requirement(text)
    assert requirement.specifier.contains(lock("build")[requirement.name]), STALE
    assert f'"{text}"' in (ROOT / "Makefile").read_text(), "make lock builds with another"


@pytest.mark.parametrize(
    ("dependencies", "sentence", "is_bad"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], "1 packages, no known hole", False),
        (
            [{"name": "a", "skip_reason": "not found"}, {"name": "b", "version": "1", "vulns": []}],
            "1 of 2 packages were not audited",
            False,
        ),
        (
            [
                {"name": "a", "skip_reason": "not found"},
                {"name": "b", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]},
            ],
            "known holes: b 1 (PYSEC-1; repaired in ['2'])",
            True,
        ),
    ],
)
def test_what_the_audit_says(dependencies: list[dict[str, Any]], sentence: str, is_bad: bool) -> None:
    """A hole ends CI even where other packages could not be looked up."""
    said, bad = judge(dependencies)
    assert sentence in said
    assert bad is is_bad

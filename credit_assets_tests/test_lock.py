"""The lock files hold the requirements of pyproject.toml in permitted versions, each package once."""

from __future__ import annotations

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from credit_assets_tests.conftest import PROJECT

REQUIRED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
LOCKS = {"requirements.lock": ["dependencies", "dev"], "docs/requirements.lock": ["docs"]}


def locked(lock: str) -> list[tuple[str, str]]:
    """Name and version of each package."""
    pairs = (line.split("==") for line in (PROJECT / lock).read_text().splitlines())
    return [(canonicalize_name(name), version) for name, version in pairs]


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_lists_each_package_once(lock):
    names = [name for name, _ in locked(lock)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_every_required_package(lock):
    asked = [
        Requirement(text)
        for part in LOCKS[lock]
        for text in (REQUIRED["dependencies"] if part == "dependencies" else REQUIRED["optional-dependencies"][part])
    ]
    versions = dict(locked(lock))
    assert [str(one) for one in asked if versions.get(canonicalize_name(one.name)) is None] == []
    assert [str(one) for one in asked if not one.specifier.contains(versions[canonicalize_name(one.name)])] == []


def test_documentation_lock_adds_packages_and_replaces_none():
    both = set(dict(locked("requirements.lock"))) & set(dict(locked("docs/requirements.lock")))
    assert both == set()

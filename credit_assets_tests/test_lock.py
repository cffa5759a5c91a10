"""The locks hold what pyproject.toml asks for, in versions that it allows, each package once."""

from __future__ import annotations

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from credit_assets_tests.conftest import PROJECT

ASKED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
LOCKS = {"requirements.lock": ["dependencies", "dev"], "docs/requirements.lock": ["docs"]}


def locked(lock: str) -> list[tuple[str, str]]:
    """Name and version of each package."""
    pairs = (line.split("==") for line in (PROJECT / lock).read_text().splitlines())
    return [(canonicalize_name(name), version) for name, version in pairs]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_each_package_once(lock):
    names = [name for name, _ in locked(lock)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_what_is_asked_for(lock):
    asked = [
        Requirement(text)
        for part in LOCKS[lock]
        for text in (ASKED["dependencies"] if part == "dependencies" else ASKED["optional-dependencies"][part])
    ]
    versions = dict(locked(lock))
    assert [str(one) for one in asked if versions.get(canonicalize_name(one.name)) is None] == []
    assert [str(one) for one in asked if not one.specifier.contains(versions[canonicalize_name(one.name)])] == []


def test_the_documentation_adds_packages_and_replaces_none():
    both = set(dict(locked("requirements.lock"))) & set(dict(locked("docs/requirements.lock")))
    assert both == set()

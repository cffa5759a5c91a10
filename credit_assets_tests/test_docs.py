"""Files that the documentation names are there. `make docs` checks the links between its pages."""

from __future__ import annotations

import re

import pytest

from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.test_architecture import PACKAGE, ROOMS

ARCHITECTURE = (PROJECT / "docs" / "architecture.md").read_text()
MOST_FILES = 3
"""To be touched for one of the usual changes."""


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the table under a heading, without its header."""
    section = ARCHITECTURE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def paths(text: str) -> list[str]:
    """The files that a text names: in code, with a folder or an ending of ours."""
    return re.findall(r"`([\w<>/.-]+\.(?:py|sql|yaml|json|md))`", text)


def test_the_map_has_every_room_in_its_order():
    named = [name for cells in rows("The rooms") for name in re.findall(r"`(\w+)`", cells[0])]
    assert [name for name in named if name in ROOMS] == list(ROOMS)


@pytest.mark.parametrize("path", sorted(set(paths(ARCHITECTURE))))
def test_files_that_the_map_names_are_there(path):
    # Names in capitals or brackets stand for a reader's own.
    if "NAME" in path or "<" in path:
        return
    places = [PACKAGE / path, PROJECT / path, *(PACKAGE / room / path for room in ROOMS)]
    assert any(place.is_file() for place in places)


@pytest.mark.parametrize("change, files", [cells[:2] for cells in rows("Where to change what")])
def test_a_usual_change_touches_at_most_three_files(change, files):
    assert 1 <= len(paths(files)) <= MOST_FILES


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_of_pages_outside_the_site_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[\w-]+)?\)", (PROJECT / page).read_text())
    assert [link for link in links if not (PROJECT / link).exists()] == []

"""Files, links and headings named in the documentation exist. `make docs` checks them too, with MkDocs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.test_architecture import PACKAGE

[LAYERS] = (
    contract["layers"]
    for contract in tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    if contract["type"] == "layers"
)
ROOMS = [layer for layer in reversed(LAYERS) if ":" not in layer]
"""The rooms from the ground up, as import-linter holds them."""

ARCHITECTURE = (PROJECT / "docs" / "architecture.md").read_text()
MOST_FILES = 3
"""To be touched for one of the usual changes."""


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the table under a heading, without its header."""
    section = ARCHITECTURE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def paths(text: str) -> list[str]:
    """The files named in a text: in code, with a folder or a known extension."""
    return re.findall(r"`([\w<>/.-]+\.(?:py|sql|yaml|json|md))`", text)


def test_map_lists_every_room_in_order():
    named = [name for cells in rows("The rooms") for name in re.findall(r"`(\w+)`", cells[0])]
    assert [name for name in named if name in ROOMS] == ROOMS


@pytest.mark.parametrize("path", sorted(set(paths(ARCHITECTURE))))
def test_files_named_in_the_map_exist(path):
    # Names in capitals or brackets are placeholders.
    if "NAME" in path or "<" in path:
        return
    places = [PACKAGE / path, PROJECT / path, *(PACKAGE / room / path for room in ROOMS)]
    assert any(place.is_file() for place in places)


@pytest.mark.parametrize("change, files", [cells[:2] for cells in rows("Where to change what")])
def test_common_change_touches_at_most_three_files(change, files):
    assert 1 <= len(paths(files)) <= MOST_FILES


PAGES = sorted(str(page.relative_to(PROJECT)) for page in (PROJECT / "docs").rglob("*.md"))
OUTSIDE = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as MkDocs and GitHub generate them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


@pytest.mark.parametrize("page", [*OUTSIDE, *PAGES])
def test_links_lead_to_existing_files_and_headings(page):
    file = PROJECT / page
    wrong = []
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)", file.read_text()):
        target = file.parent / path if path else file
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(f"{path}#{anchor}" if anchor else path)
    assert wrong == []


def test_navigation_of_the_site_lists_every_page():
    # The reference of a room is written `::: credit_assets.ROOM`.
    listed = re.findall(r"([\w/.-]+\.md)$", (PROJECT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(f"docs/{page}" for page in listed) == PAGES
    named = [
        name for page in PAGES for name in re.findall(r"^::: credit_assets\.(\w+)$", (PROJECT / page).read_text(), re.M)
    ]
    assert set(named) <= set(ROOMS)

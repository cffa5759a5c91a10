"""An empty project for a new book, and readers of files that a test writes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from credit_assets.onboarding.files import Column, Files
from credit_assets.onboarding.guesses import GuessedBook, guess
from credit_assets.onboarding.new import Drafted, new
from credit_assets.onboarding.read_files import read_files
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.onboarding.lender import ROWS, loans, write


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    (root / "configs").mkdir(parents=True)
    shutil.copy(PROJECT / "dagster.yaml", root)
    shutil.copy(PROJECT / "workspace.yaml", root)
    return Project(root)


ReadTables = Callable[..., list[Files]]
Draft = Callable[..., Drafted]
Guess = Callable[..., GuessedBook]


@pytest.fixture
def read_tables(tmp_path: Path) -> ReadTables:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    con = duckdb.connect()
    return lambda *paths: read_files(con, paths, workspace)


@pytest.fixture
def column(read_tables: ReadTables, tmp_path: Path) -> Callable[[Sequence[Any]], Column]:
    """A column with these values, as read from a CSV file."""

    def seen(values: Sequence[Any]) -> Column:
        [files] = read_tables(write(tmp_path / "one.csv", {"n": range(len(values)), "c": values}))
        return files.columns["c"]

    return seen


@pytest.fixture
def guessed(tmp_path: Path) -> Guess:
    """The book of loans.csv, with columns replaced, added or (None) left out, and of other files beside it."""

    def of(
        others: dict[str, dict[str, Any]] | None = None, settings: dict[str, str] | None = None, **columns: Any
    ) -> GuessedBook:
        (tmp_path / "workspace").mkdir()
        (tmp_path / "files").mkdir()
        changed = {name: values for name, values in (loans(ROWS) | columns).items() if values is not None}
        write(tmp_path / "files" / "loans.csv", changed)
        for name, content in (others or {}).items():
            write(tmp_path / "files" / f"{name}.csv", content)
        con = duckdb.connect()
        return guess(con, read_files(con, [tmp_path / "files"], tmp_path / "workspace"), **settings or {})

    return of


@pytest.fixture
def drafted(project: Project, tmp_path: Path) -> Draft:
    """The portfolio `book` of loans.csv, with columns replaced, added or (None) left out, and of other files."""

    def of(others: dict[str, dict[str, Any]] | None = None, **columns: Any) -> Drafted:
        changed = {name: values for name, values in (loans() | columns).items() if values is not None}
        files = [write(tmp_path / "loans.csv", changed)]
        files += [write(tmp_path / f"{name}.csv", content) for name, content in (others or {}).items()]
        return new(project, "book", files)

    return of

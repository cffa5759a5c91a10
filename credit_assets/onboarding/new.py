"""`credit-assets new`: drafts a portfolio from a lender's files. It writes all files or none, and overwrites nothing.

The book is guessed in `guesses.py`; the texts are drafted in `configuration_draft.py`, `contract_drafts.py` and
`feature_drafts.py`.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from credit_assets.lake.connections import connect
from credit_assets.lake.sql import sql_text
from credit_assets.onboarding.check import check
from credit_assets.onboarding.configuration_draft import draft_configuration
from credit_assets.onboarding.contract_drafts import draft_contracts
from credit_assets.onboarding.feature_drafts import draft_features
from credit_assets.onboarding.files import BookError
from credit_assets.onboarding.findings import Checked, Finding
from credit_assets.onboarding.guesses import GuessedBook, guess
from credit_assets.onboarding.read_files import read_files
from credit_assets.settings.project import Project

MEMORY_LIMIT = "1GB"


@dataclass(frozen=True)
class Drafted:
    """The files written, the lines to confirm, the texts for declined applicants that are still to be written, the
    guesses, and the number of features."""

    files: tuple[Path, ...]
    to_confirm: tuple[Finding, ...]
    to_write: tuple[Finding, ...]
    book: GuessedBook
    features: int


def new(
    project: Project, name: str, files: Sequence[Path], key: str | None = None, target: str | None = None
) -> Drafted:
    """Profile the files and write configs/NAME.yaml, configs/NAME.py, sql/NAME/*.sql and the entry in workspace.yaml.

    Raises FileExistsError if files of the portfolio exist, and BookError if no portfolio can be drafted from the
    lender's files; nothing is written then.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise BookError(
            f"{name!r} cannot be a portfolio's name: use lower-case letters, digits and _, beginning with a letter."
        )
    config, sql = project.config(name), project.sql(name)
    _refuse_existing([config, config.with_suffix(".py"), sql])
    with tempfile.TemporaryDirectory(prefix="credit-assets-new-") as folder:
        workspace = Path(folder)
        with connect() as con:
            con.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
            con.execute(f"SET temp_directory = {sql_text(str(workspace / 'spill'))}")
            con.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
            book = guess(con, read_files(con, files, workspace), key, target)
        texts = {
            config: draft_configuration(book, name),
            config.with_suffix(".py"): draft_contracts(book, name),
        } | {sql / f"{table}.sql": text for table, text in draft_features(book).items()}
        entry = project.root / "workspace.yaml"
        with_entry = workspace_with(entry.read_text(encoding="utf-8"), name)
        checked = _check_draft(Project(workspace / "trial"), project, name, {**texts, entry: with_entry})
    _write(texts, entry, with_entry)
    return Drafted(tuple(texts), tuple(checked.guesses), tuple(checked.drafts), book, checked.features)


def workspace_with(workspace: str, name: str) -> str:
    """The text of workspace.yaml with the code location of the portfolio added at the end, and all else unchanged.

    Raises BookError if the file does not have the expected form, so that the entry must be added by hand.
    """
    by_hand = "Add the portfolio to workspace.yaml by hand: a python_module with its name as attribute."
    try:
        before = yaml.safe_load(workspace)
        places = [place for item in before["load_from"] for place in item.values()]
        known = [place.get("location_name", place.get("attribute")) for place in places]
        root: Any = yaml.compose(workspace)
        items = next(value for key, value in root.value if key.value == "load_from")
    except (yaml.YAMLError, TypeError, KeyError, AttributeError, StopIteration) as error:
        raise BookError(f"workspace.yaml cannot be read as a list of code locations. {by_hand}") from error
    if name in known:
        return workspace
    entry = [
        "- python_module:",
        "    module_name: credit_assets.locations",
        f"    attribute: {name}",
        f"    location_name: {name}",
        "    working_directory: .",
    ]
    lines = workspace.splitlines()
    at = _last_line(items) + 1
    lines[at:at] = [" " * items.start_mark.column + line for line in entry]
    text = "\n".join([*lines, ""])
    added = {**before, "load_from": [*before["load_from"], *yaml.safe_load("\n".join(entry))]}
    try:
        kept = yaml.safe_load(text) == added
    except yaml.YAMLError:
        kept = False
    if not kept:
        raise BookError(f"workspace.yaml is not written as a plain list. {by_hand}")
    return text


def _last_line(node: yaml.Node) -> int:
    while isinstance(node.value, list) and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.line)


def _refuse_existing(files: Sequence[Path]) -> None:
    if existing := [file for file in files if file.exists()]:
        exist, them = ("exists", "it") if len(existing) == 1 else ("exist", "them")
        raise FileExistsError(
            f"{', '.join(map(str, existing))} already {exist}, and no file is overwritten. "
            f"Choose another name, or move {them} away first."
        )


def _check_draft(trial: Project, project: Project, name: str, texts: Mapping[Path, str]) -> Checked:
    """The findings in the draft, which is checked in a temporary project before anything is written.

    Raises RuntimeError if it has errors.
    """
    for path, text in texts.items():
        file = trial.root / path.relative_to(project.root)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    checked = check(trial, name)
    if checked.errors:
        errors = "\n".join(map(str, checked.errors))
        raise RuntimeError(f"The draft of {name} has errors, which is a defect of `new`:\n{errors}")
    return checked


def _write(texts: Mapping[Path, str], entry: Path, with_entry: str) -> None:
    """Write all files, none of which may exist, then the entry in workspace.yaml. On an error remove them."""
    made: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                made.append(path)
                file.write(text)
        beside = entry.with_name(f".{entry.name}.new")
        beside.write_text(with_entry, encoding="utf-8")
        os.replace(beside, entry)
    except BaseException:
        for path in made:
            path.unlink()
        raise

"""Checks configs/NAME.yaml: its YAML, its settings, and whether its contracts can be loaded.

Invalid settings are removed, so that one check finds all errors, not only the first.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from credit_assets.book.book import Book
from credit_assets.book.contracts import NoContracts, load_contracts, mismatches
from credit_assets.onboarding.findings import Findings
from credit_assets.schemas.table import Table
from credit_assets.settings.portfolio import Portfolio, line_of, mistake

PLACEHOLDERS: dict[str, Any] = {"title": "-", "owners": ["team:-"], "policy": {"max_pd": 0.1}}
"""Values that replace an invalid required setting, so that the rest can be checked."""


def check_configuration(findings: Findings) -> Book | None:
    """The book without the invalid settings; None if the rest cannot be checked without them."""
    text = findings.config.read_text(encoding="utf-8")
    try:
        findings.root = yaml.compose(text)
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        findings.add_error(findings.config, mark.line + 1 if mark else 1, f"not valid YAML: {what}")
        return None
    for line, key in _repeated_keys(findings.root):
        findings.add_error(findings.config, line, f"{key} is repeated here, and the first one is ignored. Keep one")
    while True:
        try:
            portfolio = Portfolio.model_validate(given)
        except ValidationError as error:
            wrong = _report_mistakes(findings, error)
        else:
            if (contracts := _load_contracts(findings, portfolio)) is None:
                return None
            mismatched = list(mismatches(portfolio, contracts))
            if not mismatched:
                break
            for mismatch in mismatched:
                findings.add_setting(mismatch.keys, str(mismatch))
            wrong = [list(mismatch.keys) for mismatch in mismatched]
        given = _without(given, wrong)
        if given is None:
            return None
    if portfolio.name != findings.name:
        findings.add_setting(
            ["name"],
            f"name: is {portfolio.name!r}, but the file is called {findings.name}.yaml",
        )
    return Book(findings.project, portfolio, contracts)


def _load_contracts(findings: Findings, portfolio: Portfolio) -> dict[str, type[Table]] | None:
    """The contracts that the configuration names; None, with a finding, if they cannot be loaded."""
    try:
        return load_contracts(portfolio, findings.config.parent)
    except NoContracts as error:
        findings.add_setting(["contracts"], str(error))
        return None
    except Exception as error:  # a file of contracts may raise any error
        _report_code_error(findings, error)
        return None


def _report_mistakes(findings: Findings, error: ValidationError) -> list[list[str | int]]:
    """Report the invalid settings; return the keys of each."""
    wrong = []
    for each in error.errors():
        keys, message = mistake(each)
        where = f"{'.'.join(map(str, keys))}: " if keys else ""
        findings.add_setting(keys, f"{where}{message}")
        wrong.append(keys)
    return wrong


def _without(given: Any, wrong: Sequence[list[str | int]]) -> Any:
    """The settings without the invalid ones. None if the rest cannot be checked: an invalid one is required, or none of
    them is in the file, because a default is invalid."""
    rest = copy.deepcopy(given)
    removed = [_remove(rest, keys) for keys in wrong]
    return rest if all(removed) and rest != given else None


def _report_code_error(findings: Findings, error: Exception) -> None:
    """Report an error in the file of contracts at the line that raised it."""
    steps = traceback.extract_tb(error.__traceback__)
    lines = [(Path(step.filename), step.lineno or 1) for step in steps]
    if isinstance(error, SyntaxError) and error.filename:
        lines.append((Path(error.filename), error.lineno or 1))
    own = [(file, line) for file, line in lines if file == findings.config.with_suffix(".py")]
    findings.add_error(
        *(own or [(findings.config, line_of(findings.root, ["contracts"]))])[-1], f"{type(error).__name__}: {error}"
    )


def _repeated_keys(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """The line and name of each key that a mapping repeats; YAML reads only the last one."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.start_mark.line + 1, str(key.value)
            seen.add(key.value)
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item)


def _remove(given: Any, path: list[str | int]) -> bool:
    """Remove or replace an invalid setting; False if nothing can be checked without it."""
    if not isinstance(given, dict) or not path:
        return False
    section = str(path[0])
    if section in PLACEHOLDERS:
        given[section] = PLACEHOLDERS[section]
        return True
    field = Portfolio.model_fields.get(section)
    if field is not None and field.is_required():
        return False
    if section == "protected":
        # `fairness` names protected attributes, which would be missing.
        given.pop("fairness", None)
    inside = given.get(section)
    if section in ("protected", "post_decision", "left_out") and isinstance(inside, dict) and len(path) > 1:
        inside.pop(path[1], None)
    else:
        given.pop(section, None)
    return True

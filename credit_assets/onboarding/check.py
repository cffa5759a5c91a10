"""`credit-assets check`: finds every error in a portfolio, by file and line, before it runs.

The rules belong to the rooms that read the files; this module collects every error, not only the first.
"""

from __future__ import annotations

import re

import yaml

from credit_assets.book.queries import MARK
from credit_assets.onboarding.check_configuration import check_configuration
from credit_assets.onboarding.check_contracts import check_columns, check_contracts, check_target
from credit_assets.onboarding.check_features import check_features
from credit_assets.onboarding.findings import Checked, Findings
from credit_assets.settings.project import Project


def check(project: Project, name: str) -> Checked:
    """Find every error in the portfolio that can be found without data, and every guess not yet confirmed."""
    findings = Findings(project, name)
    features = _check_all(findings)
    found = sorted(set(findings.found), key=lambda f: (not f.error, not f.draft, f.file, f.line, f.message))
    return Checked(tuple(found), features, findings.withheld)


def _check_all(findings: Findings) -> int:
    """Check every file of the portfolio; return the number of features."""
    if not findings.config.is_file():
        others = ", ".join(sorted(path.stem for path in findings.config.parent.glob("*.yaml"))) or "none"
        findings.add_error(findings.config, 1, f"the file does not exist. Known portfolios: {others}")
        return 0
    _find_guesses(findings)
    _check_workspace(findings)
    book = check_configuration(findings)
    if book is None:
        return 0
    portfolio = book.portfolio
    schemas = check_contracts(findings, book)
    check_target(findings, book, schemas)
    check_columns(findings, portfolio, schemas.get(portfolio.application_table, {}))
    if vintage := portfolio.evaluation.vintage:
        for setting, column in vintage:
            if column not in schemas.get(portfolio.application_table, {column}):
                message = f"evaluation.vintage: table {portfolio.application_table} has no column {column}"
                findings.add_setting(["evaluation", "vintage", setting], message)
    return check_features(findings, book, schemas) if schemas else 0


def _find_guesses(findings: Findings) -> None:
    """Find the marks of guesses in the portfolio's files."""
    files = [findings.config, findings.config.with_suffix(".py"), *sorted(findings.sql.glob("*.sql"))]
    for file in (file for file in files if file.is_file()):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if found := re.match(rf"(.*?)(?:#|--) *{MARK}: *(.*)", line):
                guess = found[1].strip()
                message = f"{guess} is a guess ({found[2]})" if guess else f"a guess: {found[2]}"
                findings.add(file, number, message, error=False)


def _check_workspace(findings: Findings) -> None:
    """Check that workspace.yaml lists the portfolio."""
    file = findings.project.root / "workspace.yaml"
    try:
        workspace = yaml.safe_load(file.read_text(encoding="utf-8"))
        locations = [place for item in workspace["load_from"] for place in item.values()]
        listed = any(place.get("attribute") == findings.name for place in locations)
    except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        listed = False
    if not listed:
        findings.add_error(
            file, 1, f"no entry has `attribute: {findings.name}`. Add one like the others, so that the UI shows it"
        )

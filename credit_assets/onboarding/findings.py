"""Findings about a portfolio by file and line: errors, and guesses that are yet to be confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from credit_assets.onboarding.wording import one_line
from credit_assets.settings.portfolio import line_of
from credit_assets.settings.project import Project


@dataclass(frozen=True)
class Finding:
    """An error on a line; or, if `error` is False, something that a person has yet to confirm: a guess or, if `draft`,
    a text that a declined applicant would receive as a reason. As text: `file:line: message`."""

    file: str
    line: int
    message: str
    error: bool = True
    draft: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Checked:
    """All findings: errors, then draft texts, then guesses; and the number of features in the portfolio (0 if it is
    not known). If `withheld`, no scores are given while texts are drafts."""

    findings: tuple[Finding, ...]
    features: int
    withheld: bool = False

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.error]

    @property
    def drafts(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.draft]

    @property
    def guesses(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.error and not finding.draft]

    @property
    def ready(self) -> bool:
        """Whether nothing is wrong and no draft text can reach an applicant."""
        return not self.errors and not self.drafts


class Findings:
    """Collects the findings about one portfolio; `root` is its parsed configuration, with the lines of settings."""

    def __init__(self, project: Project, name: str) -> None:
        self.project, self.name = project, name
        self.config, self.sql = project.config(name), project.sql(name)
        self.found: list[Finding] = []
        self.root: yaml.Node | None = None
        self.withheld = False

    def add(self, file: Path, line: int, message: str, error: bool = True, draft: bool = False) -> None:
        """Add a finding on a line of a file."""
        self.found.append(Finding(self.place(file), line, message, error, draft))

    def add_setting(self, keys: Sequence[str | int], message: str) -> None:
        """Add an error at the line of a setting in the configuration."""
        self.add_error(self.config, line_of(self.root, keys), message)

    def add_error(self, file: Path, line: int, message: str) -> None:
        """Add an error; its message becomes a sentence."""
        self.add(file, line, sentence(message))

    def place(self, file: Path) -> str:
        """The file's path in the project."""
        return str(file.relative_to(self.project.root))


def sentence(text: str) -> str:
    """The text on one line, with a full stop unless it ends with another mark."""
    line = one_line(text)
    return line if line.endswith((".", "?", "!")) else f"{line}."

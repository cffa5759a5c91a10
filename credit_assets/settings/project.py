"""Where things lie: the project folder a command runs in, and its data folder.

No portfolio and no table is known here.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


class AlreadyRunning(RuntimeError):
    """Another command is making this portfolio's assets."""


@dataclass(frozen=True)
class Project:
    """A folder with dagster.yaml, configs/, sql/ and data/."""

    root: Path

    @staticmethod
    def find(start: Path | None = None) -> Project:
        """The project around `start` (by default the working folder, or CREDIT_ASSETS_HOME if set).

        Raises FileNotFoundError where no folder upwards holds both dagster.yaml and configs/.
        """
        begin = start or Path(os.environ.get("CREDIT_ASSETS_HOME") or Path.cwd())
        for folder in (begin.resolve(), *begin.resolve().parents):
            if (folder / "dagster.yaml").is_file() and (folder / "configs").is_dir():
                return Project(folder)
        raise FileNotFoundError(
            f"No Credit Assets project at {begin} or above it (dagster.yaml and configs/ mark one). "
            "Run the command in the project's folder, or set CREDIT_ASSETS_HOME to it."
        )

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def inbox(self) -> Path:
        return self.data / "inbox"

    @property
    def lake(self) -> Path:
        return self.data / "lake"

    @property
    def reports(self) -> Path:
        return self.data / "reports"

    @property
    def studies(self) -> Path:
        """Optuna's studies, from which an interrupted search goes on."""
        return self.data / "mlflow" / "studies"

    @property
    def spill(self) -> Path:
        """Where DuckDB puts what does not fit into its memory limit."""
        return self.data / "spill"

    @property
    def tracking_uri(self) -> str:
        """MLFLOW_TRACKING_URI if set, else a SQLite file under data/mlflow."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.data / 'mlflow' / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        """Where MLflow keeps models and plots when the tracking store is the local file."""
        return self.data / "mlflow" / "artifacts"

    def config(self, portfolio: str) -> Path:
        return self.root / "configs" / f"{portfolio}.yaml"

    def sql(self, portfolio: str) -> Path:
        return self.root / "sql" / portfolio


@cache
def git_commit() -> str:
    """The commit of the running code, `+changes` where files differ from it; `unknown` outside a checkout."""

    def git(*words: str) -> str:
        folder = Path(__file__).parents[2]
        said = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
        return said.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def code_version() -> str:
    """The installed release and its commit."""
    return f"{release()} ({git_commit()})"


def release() -> str:
    """The installed release."""
    try:
        return version("credit-assets")
    except PackageNotFoundError:
        return "not installed"

"""The folders of a project. Portfolios and tables are defined elsewhere."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


class AlreadyRunning(RuntimeError):
    """Another command is materializing this portfolio's assets."""


@dataclass(frozen=True)
class Project:
    """A folder with dagster.yaml, configs/, sql/ and data/."""

    root: Path

    @staticmethod
    def find(start: Path | None = None) -> Project:
        """The project around `start` (by default the working folder, or CREDIT_ASSETS_HOME if set).

        Raises FileNotFoundError if no folder from there upwards has both dagster.yaml and configs/.
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
        """Optuna's studies, from which an interrupted search resumes."""
        return self.data / "mlflow" / "studies"

    @property
    def spill(self) -> Path:
        """DuckDB's temporary files when its memory limit is exceeded."""
        return self.data / "spill"

    @property
    def tracking_uri(self) -> str:
        """MLFLOW_TRACKING_URI if set, else a SQLite file under data/mlflow."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.data / 'mlflow' / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        """MLflow's models and plots if the tracking store is the local file."""
        return self.data / "mlflow" / "artifacts"

    def config(self, portfolio: str) -> Path:
        return self.root / "configs" / f"{portfolio}.yaml"

    def sql(self, portfolio: str) -> Path:
        return self.root / "sql" / portfolio


@cache
def git_commit() -> str:
    """The commit of the running code, `+changes` if files differ from it; `unknown` outside a checkout."""

    def git(*arguments: str) -> str:
        folder = Path(__file__).parents[2]
        result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
        return result.stdout.strip()

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

"""Rules of the package that import-linter cannot express (its contracts are in pyproject.toml): imports of private
modules and within functions, where connections are opened, and that no telemetry is sent."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import credit_assets
from credit_assets_tests.conftest import PROJECT

PACKAGE = Path(credit_assets.__file__).parent
# Imports that take seconds each, to be made where they are used.
HEAVY = {"mlflow", "shap", "evidently", "matplotlib", "xgboost", "sklearn", "scipy", "optuna", "dagster_mlflow"}
# What `--help` must not import: everything else that a command may need.
NOT_FOR_HELP = HEAVY | {
    "dagster",
    "numpy",
    "pandas",
    "pandera",
    "pyarrow",
    "duckdb",
    "deltalake",
    "sqlglot",
    "sqlalchemy",
}

FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def imports(file: Path, top_only: bool = False) -> Iterator[str]:
    """Modules that the file imports anywhere, or (`top_only`) when it is imported itself."""
    tree = ast.parse((PACKAGE / file).read_text())
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from package import room` imports a room, like `from package.room import name`.
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_functions_fit_on_a_screen_and_files_stay_short():
    """Functions that build the assets, jobs and sensors of a room are tables of contents, and may be longer."""
    lengths = {
        f"{file} {node.name}": node.end_lineno - node.lineno + 1
        for file in FILES
        for node in ast.walk(ast.parse((PACKAGE / file).read_text()))
        if isinstance(node, ast.FunctionDef) and node.name not in ("assets", "jobs", "sensors", "schedules")
    }
    assert {name: lines for name, lines in lengths.items() if lines >= 60} == {}
    assert [str(file) for file in FILES if len((PACKAGE / file).read_text().splitlines()) > 450] == []


def test_only_one_module_imports_private_dagster_names():
    importing = {str(file) for file in FILES if any(module.startswith("dagster._") for module in imports(file))}
    assert importing == {"dagster_private.py"}


def test_import_contracts_name_every_imported_dagster_package():
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    protected = {module for contract in contracts for module in contract.get("protected_modules", [])}
    packages = {module.split(".")[0] for file in FILES for module in imports(file)}
    assert {package for package in packages if package.startswith("dagster")} <= protected


@pytest.mark.parametrize("file", [file for file in FILES if file.name != "mlflow_model.py"], ids=str)
def test_slow_imports_are_made_where_they_are_used(file):
    assert {module.split(".")[0] for module in imports(file, top_only=True)} & HEAVY == set()


def test_every_connection_is_opened_by_the_function_that_sets_its_time_zone():
    connecting = {
        str(file)
        for file in FILES
        for node in ast.walk(ast.parse((PACKAGE / file).read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "duckdb.connect"
    }
    assert connecting == {"lake/connections.py"}


def test_only_one_module_knows_the_folder_of_a_table_s_log():
    assert [str(file) for file in FILES if "_delta_log" in (PACKAGE / file).read_text()] == ["lake/storage.py"]


def test_importing_the_package_turns_telemetry_off():
    switches = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "DAGSTER_DISABLE_TELEMETRY")
    asked = f"import os, credit_assets; print([os.environ.get(name) for name in {switches}])"
    environment = {name: value for name, value in os.environ.items() if name not in switches}
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "['true', 'true', 'yes']"


def test_help_imports_nothing_that_commands_compute_with():
    """`benchmarks/startup.py` measures the seconds that this saves."""
    asked = (
        "import atexit, sys; from credit_assets.cli import main; "
        "atexit.register(lambda: print('imported', {name.split('.')[0] for name in sys.modules}, file=sys.stderr)); "
        "sys.argv = ['credit-assets', '--help']; main()"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert "status" in done.stdout
    imported = ast.literal_eval(done.stderr.partition("imported ")[2])
    assert "typer" in imported and imported & NOT_FOR_HELP == set()

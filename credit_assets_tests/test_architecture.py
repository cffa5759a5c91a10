"""The house's rules, read from its imports: who may know Dagster, who may know whom, and that nothing is sent."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import credit_assets

PACKAGE = Path(credit_assets.__file__).parent
ROOMS = (
    "settings",
    "schemas",
    "registry",
    "book",
    "lake",
    "statistics",
    "verdicts",
    "ingest",
    "synthetic",
    "features",
    "models",
    "explanations",
    "decisions",
    "evaluation",
    "fairness",
    "monitoring",
    "scoring",
    "history",
    "automation",
    "alerts",
    "upkeep",
    "onboarding",
    "application",
    "cli",
)
"""From the ground up: a room imports rooms before it, never after it."""

GROUND = {"plurals", "rounding", "dagster_private"}
"""Modules beside the rooms that any room may import."""

BESIDE = GROUND | {"definitions", "locations"}
SEES_DEFINITIONS = {"application"}
KNOW_DAGSTER = {"assets.py", "checks.py", "io_managers.py", "resources.py", "definitions.py", "dagster_private.py"}
DAGSTER_ROOMS = {"automation", "alerts", "upkeep", "application"}
# Imports of seconds each, made where they are used.
HEAVY = {"mlflow", "shap", "evidently", "matplotlib", "xgboost", "sklearn", "scipy", "optuna", "dagster_mlflow"}
# What `--help` does without: the rest of what a command may need.
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
    """Modules that the file imports anywhere, or (`top_only`) as it is imported itself."""
    tree = ast.parse((PACKAGE / file).read_text())
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from package import room` names a room as well as `from package.room import it`.
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_dagster_is_known_only_to_the_thin_face_of_a_room(file):
    known = any(module.removeprefix("credit_assets.").startswith("dagster") for module in imports(file))
    assert not known or file.name in KNOW_DAGSTER or file.parts[0] in DAGSTER_ROOMS


def test_one_module_imports_what_dagster_does_not_export():
    importing = {str(file) for file in FILES if any(module.startswith("dagster._") for module in imports(file))}
    assert importing == {"dagster_private.py"}


@pytest.mark.parametrize("file", [file for file in FILES if file.parts[0] in ROOMS], ids=str)
def test_a_room_imports_rooms_above_it_and_never_below(file):
    here = ROOMS.index(file.parts[0])
    named = {module.split(".")[1] for module in imports(file) if module.startswith("credit_assets.")}
    after = {room for room in named & set(ROOMS) if ROOMS.index(room) > here}
    assert after == set()
    assert named - set(ROOMS) <= GROUND | ({"definitions"} if file.parts[0] in SEES_DEFINITIONS else set())


def test_only_the_registry_imports_mlflow():
    """`dagster_mlflow` included, whose resource is made there too."""
    importing = {
        file.parts[0]
        for file in FILES
        if {module.split(".")[0] for module in imports(file)} & {"mlflow", "dagster_mlflow"}
    }
    assert importing == {"registry"}


@pytest.mark.parametrize("file", [file for file in FILES if file.name != "mlflow_model.py"], ids=str)
def test_what_takes_seconds_to_import_is_imported_where_it_is_used(file):
    assert {module.split(".")[0] for module in imports(file, top_only=True)} & HEAVY == set()


def test_every_connection_is_opened_by_the_one_function_that_sets_its_time_zone():
    connecting = {
        str(file)
        for file in FILES
        for node in ast.walk(ast.parse((PACKAGE / file).read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "duckdb.connect"
    }
    assert connecting == {"lake/connections.py"}


def test_one_module_touches_the_file_system_for_tables():
    """Another storage can stand in its place. `disk.py` is the folder of the project, `resources.py` that of spills."""
    of_tables = {file for file in FILES if file.parts[0] == "lake"} - {
        Path("lake", name) for name in ("storage.py", "disk.py", "resources.py")
    }
    touching = {"os", "shutil", "tempfile", "io", "filelock"}
    assert {str(file) for file in of_tables if touching & {module.split(".")[0] for module in imports(file)}} == set()
    knowing = {file for file in FILES if any(module.startswith("deltalake") for module in imports(file))}
    assert knowing == {Path("lake", name) for name in ("tables.py", "log.py", "maintenance.py")}
    assert [str(file) for file in FILES if "_delta_log" in (PACKAGE / file).read_text()] == ["lake/storage.py"]


def test_every_room_is_in_the_order():
    found = {file.parts[0] for file in FILES if len(file.parts) > 1}
    assert found == set(ROOMS)
    assert {file.stem for file in FILES if len(file.parts) == 1} == BESIDE | {"__init__"}


def test_importing_the_package_turns_telemetry_off():
    switches = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "DAGSTER_DISABLE_TELEMETRY")
    asked = f"import os, credit_assets; print([os.environ.get(name) for name in {switches}])"
    environment = {name: value for name, value in os.environ.items() if name not in switches}
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "['true', 'true', 'yes']"


def test_help_is_shown_without_importing_what_commands_compute_with():
    """The seconds that this saves are printed by `benchmarks/startup.py`."""
    asked = (
        "import atexit, sys; from credit_assets.cli import main; "
        "atexit.register(lambda: print('imported', {name.split('.')[0] for name in sys.modules}, file=sys.stderr)); "
        "sys.argv = ['credit-assets', '--help']; main()"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert "status" in done.stdout
    imported = ast.literal_eval(done.stderr.partition("imported ")[2])
    assert "typer" in imported and imported & NOT_FOR_HELP == set()

"""Reading MLflow's SQLite file without MLflow gives the same results as MLflow."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from credit_assets.registry import tracking
from credit_assets.registry.errors import RegistryError
from credit_assets.registry.mlflow_store import MlflowStore
from credit_assets.registry.registry import Registry
from credit_assets.registry.sqlite_store import SqliteStore
from credit_assets.registry.version import DRIFT_REFERENCE, IMPORTANCE
from credit_assets_tests.bare_versions import register_bare


@pytest.fixture
def both(in_mlflow: Registry) -> tuple[MlflowStore, SqliteStore]:
    store = in_mlflow.store
    assert isinstance(store, MlflowStore)
    return store, SqliteStore(store.tracking_uri, store.name, store.artifacts)


def test_missing_content_is_empty_and_no_database_is_created(tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path / 'mlflow.db'}", "book", tmp_path)
    assert (store.model(), store.versions(), store.version(1), store.aliased("champion")) == (None, [], None, None)
    assert list(tmp_path.iterdir()) == []


def test_versions_tags_and_aliases_equal_those_of_mlflow(in_mlflow, both) -> None:
    theirs, ours = both
    assert ours.model() is None and ours.versions() == []
    for number in range(3):
        register_bare(in_mlflow, cut_off=0.1 * number, tables={"book/features": number})
    in_mlflow.promote(1, by="gate", why="it is better")
    in_mlflow.promote(3, by="gate", why="it is é")
    tracking.client(theirs.tracking_uri).delete_model_version(theirs.name, "2")
    assert ours.model() == theirs.model()
    assert ours.versions() == theirs.versions() and [version.number for version in ours.versions()] == [1, 3]
    for number in (1, 2, 3, 4):
        assert ours.version(number) == theirs.version(number)
    for alias in ("champion", "challenger", "previous", "nobody"):
        assert ours.aliased(alias) == theirs.aliased(alias)
    assert Registry(ours).champion() == in_mlflow.champion() == in_mlflow.get(3)


@pytest.mark.slow
def test_metrics_and_files_equal_those_of_mlflow(in_mlflow, both) -> None:
    theirs, ours = both
    figures = {"auc": 0.1 + 0.2, "ks": math.nan, "applicants": 1e6}
    number = register_bare(in_mlflow, metrics=figures, importance={"income": 0.5})
    run = in_mlflow.get(number).run_id
    theirs.log(run, {"auc": 0.75}, {})
    assert ours.metrics(run) == pytest.approx(theirs.metrics(run), nan_ok=True)
    assert ours.metrics(run) == pytest.approx(figures | {"auc": 0.75}, nan_ok=True)
    for path in (IMPORTANCE, DRIFT_REFERENCE, "nothing.json"):
        assert ours.has_file(run, path) == theirs.has_file(run, path)
    assert Registry(ours).importance(in_mlflow.get(number)) == {"income": 0.5}
    with pytest.raises(RegistryError, match=r"has no file nothing\.json"), ours.file(run, "nothing.json"):
        pass


def test_store_is_read_without_importing_mlflow(in_mlflow, both) -> None:
    _, ours = both
    number = register_bare(in_mlflow, importance={"income": 0.5})
    in_mlflow.promote(number, by="gate", why="it is better")
    asked = (
        "import sys; from pathlib import Path; from credit_assets.registry.registry import Registry; "
        "from credit_assets.registry.sqlite_store import SqliteStore; "
        f"registry = Registry(SqliteStore({ours.tracking_uri!r}, {ours.name!r}, Path({str(ours.artifacts)!r}))); "
        "version = registry.champion(); "
        "print(version.number, registry.importance(version), registry.metrics(version), 'mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{number} {{'income': 0.5}} {{}} False"


def test_only_the_new_database_is_not_synchronised_while_it_is_created(tmp_path: Path) -> None:
    def synchronous(name: str) -> int:
        # The class itself: for tests, `sqlite3.connect` switches synchronisation off.
        engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.Connection(tmp_path / name))
        with engine.connect() as connection:
            value = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
        engine.dispose()
        return value

    with tracking.unsynchronised(tmp_path / "new.db"):
        assert (synchronous("new.db"), synchronous("other.db")) == (0, 2)
    assert synchronous("new.db") == 2

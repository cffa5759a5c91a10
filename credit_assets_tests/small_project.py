"""A project folder for tests: this repository's SQL and Dagster settings, with a training budget of seconds.

Nothing is asserted here.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import yaml

from credit_assets.application.run import run_due
from credit_assets.automation.runs import RunOutcome, execute, instance_for_commands
from credit_assets.definitions import build
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.tables import Lake
from credit_assets.models.registered import load_model
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import DRIFT_REFERENCE, IMPORTANCE
from credit_assets.settings.project import Project
from credit_assets.synthetic.lender import generate

HOME = Path(__file__).parents[1]
BOOK = "home_credit"
BATCHES = ("2026-01", "2026-02", "2026-03")
APPLICANTS = 4200

# A search of two trials, and wide gates because the test is small.
QUICK: dict[str, Any] = {
    "training": {"trials": 2, "learning_rate": 0.15, "early_stopping_rounds": 15, "cv_folds": 3},
    "evaluation": {
        "n_bootstrap": 200,
        "gate": {"min_auc": 0.6, "champion_margin": 0.05, "max_ece": 0.1, "max_calibration_gap": 0.05},
    },
    # Evidently takes seconds to import, and long for each column.
    "drift": {"report_columns": 0},
}

# Features of the application table only, for tests that do not depend on the others.
FEW_FEATURES = """-- Two features of an applicant, for tests.
select
    SK_ID_CURR,
    AMT_INCOME_TOTAL as income, -- the income stated in the application
    EXT_SOURCE_2 as external_score_2, -- the external credit score 2
from applications
"""

# Nine features of two tables: enough to train, score and monitor, at a third of the time of all features.
SHORT_FEATURES = """-- Features of the applications and of the loans at other lenders, for tests.
with loans as (
    select
        SK_ID_CURR,
        count(*) as debts,
        sum(AMT_CREDIT_SUM_DEBT::decimal(18, 2))::double as debt
    from bureau
    group by SK_ID_CURR
)

select
    SK_ID_CURR,
    EXT_SOURCE_1 as external_score_1, -- the external credit score 1
    EXT_SOURCE_2 as external_score_2, -- the external credit score 2
    EXT_SOURCE_3 as external_score_3, -- the external credit score 3
    AMT_INCOME_TOTAL as income, -- the income stated in the application
    AMT_CREDIT as credit, -- the amount applied for
    AMT_ANNUITY as annuity, -- the amount to be paid back per year
    NAME_EDUCATION_TYPE as education, -- the level of education
    debts, -- the number of loans at other lenders
    debt -- the debt at other lenders
from applications
left join loans using (SK_ID_CURR)
"""
SHORT_TABLES = ("applications", "bureau", "outcomes")


def make_project(root: Path, changes: Mapping[str, Mapping[str, Any]] = QUICK, sql: str | None = None) -> Project:
    """A project in the folder with its configuration changed by section; `sql` replaces all feature files."""
    (root / "configs").mkdir(parents=True)
    configure(Project(root), changes, yaml.safe_load((HOME / "configs" / f"{BOOK}.yaml").read_text()))
    shutil.copy(HOME / "dagster.yaml", root)
    if sql is None:
        shutil.copytree(HOME / "sql", root / "sql")
    else:
        (root / "sql" / BOOK).mkdir(parents=True)
        (root / "sql" / BOOK / "features.sql").write_text(sql)
    return Project(root)


def make_short_project(
    root: Path, changes: Mapping[str, Mapping[str, Any]] = QUICK, sql: str = SHORT_FEATURES
) -> Project:
    """A project whose book has only SHORT_TABLES, and the features of `sql`."""
    project = make_project(root, changes, sql)
    path = project.config(BOOK)
    config = yaml.safe_load(path.read_text())
    config["contracts"] = "credit_assets_tests.end_to_end.short_book"
    config["tables"] = {name: config["tables"][name] for name in SHORT_TABLES}
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return project


def configure(project: Project, changes: Mapping[str, Mapping[str, Any]], config: dict[str, Any] | None = None) -> None:
    """Merge the changed sections into the project's configuration (or into `config`)."""
    path = project.config(BOOK)
    config = config or yaml.safe_load(path.read_text())
    for section, values in changes.items():
        config[section] = config.get(section, {}) | values
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def write_workspace(project: Project, *names: str) -> None:
    """The project's workspace.yaml: this repository's entry of the small project's book, once per name."""
    entries = yaml.safe_load((HOME / "workspace.yaml").read_text())["load_from"]
    [module] = [entry["python_module"] for entry in entries if entry["python_module"]["attribute"] == BOOK]
    named = [{"python_module": module | {"attribute": name, "location_name": name}} for name in names]
    (project.root / "workspace.yaml").write_text(yaml.safe_dump({"load_from": named}))


def copy_of(project: Project, root: Path) -> Project:
    """A copy of the project with all its data, to be changed. Model files stay in place; they are only read."""
    shutil.copytree(project.root, root)
    return Project(root)


def deliver_sample(project: Project, applicants: int = APPLICANTS, batches: int = len(BATCHES)) -> None:
    """Deliver the first of the synthetic lender's BATCHES. The last one has no outcomes; they are kept under
    `sample/outcomes/<batch>`.
    """
    for folder in generate(project.root / "sample", applicants, len(BATCHES))[:batches]:
        Inbox(project.inbox).deliver(folder, BOOK, folder.name)


@contextmanager
def inside(project: Project) -> Iterator[None]:
    """Use the working folder and environment that the command sets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.root)
        patch.setenv("DAGSTER_HOME", str(project.root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("CREDIT_ASSETS_HOME", raising=False)
        yield


@contextmanager
def instance_of(project: Project) -> Iterator[dg.DagsterInstance]:
    with inside(project), dg.DagsterInstance.get() as instance:
        yield instance


def run(project: Project, said: list[str] | None = None) -> list[RunOutcome]:
    """Do what `credit-assets run` does, in this process; its lines are appended to `said`."""
    with inside(project):
        return run_due(project, BOOK, (said if said is not None else []).append)


def run_job(project: Project, job: str, batch: str | None = None, **tags: str) -> RunOutcome:
    """Run one job like the command."""
    with inside(project), instance_for_commands(project, BOOK) as instance:
        if batch:
            instance.add_dynamic_partitions(f"{BOOK}_batches", [batch])
        return execute(instance, build(BOOK, project), BOOK, job, batch, lambda line: None, tags=tags)


def start(project: Project, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    """The real command in a separate process, in the project's folder; `settings` are added to its environment."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI", "CREDIT_ASSETS_HOME")
    }
    return subprocess.Popen(
        [sys.executable, "-c", "from credit_assets.cli import main; main()", *arguments],
        cwd=project.root,
        env=environment | {"COLUMNS": "200"} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(words: str, process: subprocess.Popen[str]) -> str:
    """The output of the process up to and including the line with this text."""
    said = ""
    assert process.stdout is not None
    for text in process.stdout:
        said += text
        if words in text:
            return said
    raise AssertionError(f"never said {words!r}, but: {said}")


def kill_at(words: str, process: subprocess.Popen[str]) -> str:
    """Kill the process (SIGKILL) as soon as it prints this text; its output until then."""
    with process:
        said = read_until(words, process)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    return said


def register_again(project: Project, trees: int) -> int:
    """Register version 1 again, cut to its first `trees`, with all that a champion needs; the new version."""
    with inside(project):
        registry = Registry.of(project, BOOK)
        first = registry.get(1)
        model = load_model(registry, first)
        with registry.file(first, DRIFT_REFERENCE) as reference, registry.file(first, IMPORTANCE) as importance:
            again = registry.register(
                dataclasses.replace(model, booster=model.booster[:trees]),
                first,
                run_name=f"{trees} trees",
                params={},
                metrics={},
                artifacts={"": importance},
            )
            registry.log(again, {}, {"": reference})
    return again.number


def latest_metadata(project: Project, asset: str, book: str = BOOK) -> dict[str, Any]:
    """The metadata of the asset's latest materialization."""
    with instance_of(project) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey([book, asset]))
    assert event is not None and event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def table(project: Project, name: str, batch: str | None = None) -> pd.DataFrame:
    """The rows of a table (of one batch), in a fixed order."""
    import duckdb

    with duckdb.connect() as con:
        query = Lake(project.lake).query(f"{BOOK}/{name}", [batch] if batch else None)
        frame = con.sql(query).df()
    return frame.sort_values(list(frame.columns[:1]), kind="stable", ignore_index=True)


def version(project: Project, name: str, batch: str) -> int:
    """The table version that wrote the batch's current rows."""
    return Lake(project.lake).batches(f"{BOOK}/{name}")[batch].version

"""One Definitions a portfolio, as an attribute of its name: what workspace.yaml loads. Nothing else."""

import dagster as dg

from credit_assets.alerts.sensor import alert_sensor
from credit_assets.automation.jobs import jobs
from credit_assets.automation.schedules import schedules
from credit_assets.automation.sensors import sensors
from credit_assets.book.queries import lineage, load, raw_lineage
from credit_assets.evaluation import assets as evaluation
from credit_assets.explanations.texts import reason_texts
from credit_assets.fairness import assets as fairness
from credit_assets.features import assets as features
from credit_assets.history import assets as operations
from credit_assets.ingest import assets as raw
from credit_assets.lake.io_managers import lake_io_manager
from credit_assets.lake.resources import lake_resource
from credit_assets.models import assets as models
from credit_assets.models.resources import mlflow_resource
from credit_assets.monitoring import assets as monitoring
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.scoring import assets as scoring
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets.upkeep.jobs import maintenance


def build(name: str, project: Project | None = None) -> dg.Definitions:
    """The portfolio's assets, checks, jobs, schedules and sensors, over the project's lake and MLflow."""
    project = project or Project.find()
    portfolio = Portfolio.load(project, name)
    queries = load(project.sql(name), portfolio.models)
    schemas = {table: column_types(model) for table, model in portfolio.models.items()}
    origins = lineage(queries, schemas)
    values, roots = raw_lineage(lineage(queries, schemas, of_rows=False)), raw_lineage(origins)
    texts = reason_texts(queries, values["features"], roots["features"])
    made = jobs(portfolio)
    assets = [
        *raw.assets(portfolio, project),
        *features.assets(portfolio, queries, origins, roots),
        *models.assets(portfolio, project, queries["features"]),
        *evaluation.assets(portfolio, project),
        *fairness.assets(portfolio, project),
        *scoring.assets(portfolio, project, texts),
        *monitoring.assets(portfolio, project, queries),
        *operations.assets(portfolio, project),
    ]
    parts = {name: job.selection.resolve(assets) for name, job in made.items()}
    return dg.Definitions(
        assets=assets,
        jobs=[*made.values(), maintenance(portfolio, project)],
        schedules=schedules(portfolio, project, parts),
        sensors=[*sensors(portfolio, project, made), alert_sensor(portfolio, project)],
        resources={
            "lake": lake_resource(project),
            "lake_io": lake_io_manager,
            "mlflow": mlflow_resource(project, name),
        },
        # In one process a step costs 80 ms; in processes of its own, seconds of imports.
        executor=dg.in_process_executor,
    )


def __getattr__(name: str) -> dg.Definitions:
    """The portfolio of this name, built when workspace.yaml asks for it, so that one never breaks another."""
    if name.startswith("_"):
        raise AttributeError(name)
    return build(name)

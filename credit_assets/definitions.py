"""Combines a portfolio's assets, checks, jobs, schedules, sensors and resources into its Definitions."""

import dagster as dg

from credit_assets.alerts.sensor import alert_sensor
from credit_assets.automation.jobs import jobs
from credit_assets.automation.schedules import schedules
from credit_assets.automation.sensors import sensors
from credit_assets.book.book import Book
from credit_assets.evaluation import assets as evaluation
from credit_assets.fairness import assets as fairness
from credit_assets.features import assets as features
from credit_assets.history import assets as history
from credit_assets.ingest import assets as ingest
from credit_assets.lake.io_managers import lake_io_manager
from credit_assets.lake.resources import lake_resource
from credit_assets.locations import __getattr__ as __getattr__  # workspace.yaml of release 0.1.0 names this module
from credit_assets.models import assets as models
from credit_assets.monitoring import assets as monitoring
from credit_assets.registry.resources import mlflow_resource
from credit_assets.scoring import assets as scoring
from credit_assets.settings.project import Project
from credit_assets.upkeep.jobs import maintenance


def build(name: str, project: Project | None = None) -> dg.Definitions:
    """The Definitions of the portfolio with this name."""
    return definitions_of(Book.load(project or Project.find(), name))


def definitions_of(book: Book) -> dg.Definitions:
    """The book's assets, checks, jobs, schedules and sensors, over the project's lake and MLflow."""
    portfolio_jobs = jobs(book.portfolio)
    assets = [
        *ingest.assets(book),
        *features.assets(book),
        *models.assets(book),
        *evaluation.assets(book),
        *fairness.assets(book),
        *scoring.assets(book),
        *monitoring.assets(book),
        *history.assets(book),
    ]
    parts = {name: job.selection.resolve(assets) for name, job in portfolio_jobs.items()}
    return dg.Definitions(
        assets=assets,
        jobs=[*portfolio_jobs.values(), maintenance(book)],
        schedules=schedules(book, parts),
        sensors=[*sensors(book, portfolio_jobs), alert_sensor(book)],
        resources={
            "lake": lake_resource(book.project),
            "lake_io": lake_io_manager,
            "mlflow": mlflow_resource(book.project, book.name),
        },
        # A step in the run's process costs 80 ms; a process per step would import for seconds.
        executor=dg.in_process_executor,
    )

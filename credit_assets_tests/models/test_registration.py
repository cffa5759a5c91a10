"""The candidate as a version, without Dagster: the same model of the same rows is one version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from credit_assets.book.book import Book
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators.logistic_regression import fit_logistic
from credit_assets.models.model import Fitted
from credit_assets.models.registration import Trained, TrainingRun, register_candidate
from credit_assets.registry.memory import Memory
from credit_assets.registry.version import ModelVersion, Origin
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets.settings.training import TrainingConfig
from credit_assets_tests.conftest import PROJECT

PORTFOLIO = Portfolio.load(Project(PROJECT), "home_credit")
FEATURES, TRAINING_SET = PORTFOLIO.table("features"), PORTFOLIO.table("training_set")


@dataclass(frozen=True)
class Trainings:
    """A book, the lake from which its candidates learn, and one fitted candidate."""

    book: Book
    lake: Lake
    con: duckdb.DuckDBPyConnection
    trained: Trained
    training_set: int

    def register(self, run: str, trained: Trained | None = None) -> tuple[ModelVersion, bool]:
        origin = Origin(synthetic=True, tables={TRAINING_SET: self.training_set}, dagster_run=run)
        training = TrainingRun(origin, run, run, "by hand")
        return register_candidate(self.con, self.lake, self.book, trained or self.trained, training)


@pytest.fixture
def trainings(tmp_path: Path, design: DesignMatrix) -> Iterator[Trainings]:
    lake = Lake(tmp_path)
    config = TrainingConfig(threads=1)
    model = fit_logistic(design, design.validation(config))
    fitted = Fitted(model, pd.DataFrame(), {"penalty": 1.0}, {"auc": 0.7})
    trained = Trained(fitted, "rows", 0.1, pd.Series({"income": 0.6, "credit": 0.4}), "batches")
    with duckdb.connect() as con:
        made = lake.replace(con, "FROM range(3)", FEATURES, "2026-01", Provenance(asset_code_version="sql"))
        rows = "SELECT '2026-01' AS batch, 'train' AS fold"
        training_set = lake.replace(con, rows, TRAINING_SET, None, Provenance(inputs={FEATURES: made}))
        book = Book(Project(PROJECT), PORTFOLIO, registry=Memory().registry(PORTFOLIO.name))
        yield Trainings(book, lake, con, trained, training_set)


def test_new_candidate_is_registered_with_its_inputs(trainings: Trainings) -> None:
    version, again = trainings.register("first")
    assert (version.number, again) == (1, False)
    assert version.decline_above == 0.1
    assert version.made_from(TRAINING_SET) == trainings.training_set
    assert trainings.book.registry.importance(version) == {"income": 0.6, "credit": 0.4}


def test_same_model_of_the_same_rows_is_one_version(trainings: Trainings) -> None:
    trainings.register("first")
    version, again = trainings.register("second")
    assert (version.number, again) == (1, True)
    assert [repeat.root_run for repeat in trainings.book.registry.get(1).repeats] == ["second"]


def test_another_cut_off_or_other_rows_give_another_version(trainings: Trainings) -> None:
    trainings.register("first")
    assert trainings.register("second", replace(trainings.trained, cut_off=0.2))[0].number == 2
    assert trainings.register("third", replace(trainings.trained, content="other rows"))[0].number == 3

"""The inputs of a training set: the batches that models may learn from, their rows, and the columns hidden from the
models. The SQL is in `training_set.py`; `guard.py` finds leaks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import duckdb
import pandas as pd

from credit_assets.book.queries import FeatureQuery
from credit_assets.features.combined_leaks import Combination, reproduced_columns
from credit_assets.features.guard import check_inputs
from credit_assets.features.hidden_columns import hidden_columns
from credit_assets.features.training_set import TEST, split_summary, training_frame, training_rows_sql
from credit_assets.features.versions import FEATURES, made_by_other_sql
from credit_assets.lake.contracts import shorten
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake
from credit_assets.settings.portfolio import Portfolio


class TrainingRefused(ValueError):
    """Models cannot be trained on the batches; the message says what to do."""


class SyntheticMixture(TrainingRefused):
    """Some batches are synthetic and others are not: a model trained on both would prove nothing."""

    def __init__(self, portfolio: str, synthetic: Sequence[str]) -> None:
        super().__init__(
            f"Batches {', '.join(synthetic)} of {portfolio} are synthetic and the others are not; no model may "
            "learn from both. Keep real deliveries in a project whose data/ never contained the demo's."
        )
        self.portfolio, self.synthetic = portfolio, tuple(synthetic)


class FeaturesOfOtherSql(TrainingRefused):
    """The features of some batches were made by SQL other than the current, so their names mean something else."""

    def __init__(self, portfolio: str, batches: Sequence[str], files: Sequence[str]) -> None:
        super().__init__(
            f"The features of {shorten(', '.join(batches))} were made by other SQL than the current sql/{portfolio} "
            f"({', '.join(files)}). `credit-assets train --portfolio {portfolio}` recomputes them "
            "and trains; in the UI, run the job `ingest` for each of these batches, then `train`."
        )
        self.portfolio, self.batches, self.files = portfolio, tuple(batches), tuple(files)


@dataclass(frozen=True)
class TrainingRows:
    """The `rows` of a training set with their `split`; `learned` are those outside the test fold, in memory. `hidden`
    are the columns of these that are hidden from the models, and `reproduced` the combinations of inputs that reproduce
    one."""

    rows: duckdb.DuckDBPyRelation
    split: pd.DataFrame
    learned: pd.DataFrame
    hidden: pd.DataFrame
    reproduced: Sequence[Combination]

    def auc_of_each(
        self, portfolio: Portfolio, features: Sequence[str], raw_columns: Mapping[str, Collection[str]]
    ) -> pd.Series:
        """The AUC of each feature on its own, largest first; `raw_columns` has the origins of each. Raises LeakageError
        on any leak."""
        return check_inputs(
            self.learned,
            target="target",
            features=features,
            roots=raw_columns,
            target_columns=[portfolio.target.column],
            protected=portfolio.protected_columns,
            post_decision=portfolio.post_decision,
            max_single_auc=portfolio.training.max_single_feature_auc,
            together=self.reproduced,
        )


def training_tables(portfolio: Portfolio) -> tuple[str, ...]:
    """The tables that a training set is made from; `window_rows` and `load_training_rows` read them as views with a
    leading underscore."""
    return FEATURES, portfolio.application_table, portfolio.outcomes_table


def window_rows(con: duckdb.DuckDBPyConnection, portfolio: Portfolio, *columns: str) -> duckdb.DuckDBPyRelation:
    """The rows to learn from with these features, from the views of the `training_tables`."""
    wanted = ", ".join(map(identifier, (portfolio.entity_key, "batch", *columns)))
    con.view("_features").project(wanted).create_view("_wanted_features", replace=True)
    return con.sql(
        training_rows_sql(
            portfolio,
            features="_wanted_features",
            applications=f"_{portfolio.application_table}",
            outcomes=f"_{portfolio.outcomes_table}",
        )
    )


def load_training_rows(
    con: duckdb.DuckDBPyConnection, portfolio: Portfolio, features: Sequence[str], left_out: Mapping[str, str]
) -> TrainingRows:
    """The rows to learn from with these features, from the same views. Raises TrainingSetError if a fold lacks goods or
    bads."""
    rows = window_rows(con, portfolio, *features)
    split = split_summary(rows.project("batch, fold, target").df())
    learned = training_frame(rows.filter(f"fold <> '{TEST}'"))
    applications = con.view(f"_{portfolio.application_table}")
    hidden = hidden_columns(portfolio, learned, applications, con.view("_features"), left_out)
    reproduced = reproduced_columns(hidden, learned[list(features)], learned["target"].to_numpy(dtype=bool))
    return TrainingRows(rows, split, learned, hidden, reproduced)


def refuse_features_of_other_sql(
    lake: Lake,
    portfolio: Portfolio,
    queries: Mapping[str, FeatureQuery],
    version: int,
    window: Collection[str],
) -> None:
    """Raise FeaturesOfOtherSql if the features of a batch in the training window (in this version of their table) were
    not made by these queries."""
    other = made_by_other_sql(cache(lake.writes), portfolio.table(FEATURES), version, queries)
    if other.keys() & set(window):
        # Newer batches too, since the next champion may have to score them.
        stale = [batch for batch in other if batch >= min(window)]
        raise FeaturesOfOtherSql(portfolio.name, stale, sorted({file for batch in stale for file in other[batch]}))


def refuse_synthetic_mixture(lake: Lake, portfolio: Portfolio) -> None:
    """Raise SyntheticMixture if the features of some batches are synthetic and those of others are not."""
    written = lake.batches(portfolio.table(FEATURES))
    synthetic = sorted(batch for batch, commit in written.items() if commit.provenance.synthetic)
    if synthetic and len(synthetic) < len(written):
        raise SyntheticMixture(portfolio.name, synthetic)

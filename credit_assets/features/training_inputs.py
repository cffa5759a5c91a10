"""What a training set is made from: the batches that may be learned from, their rows, and the columns kept from the
models. The SQL is in `training_set.py`; `guard.py` looks for leaks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import duckdb
import pandas as pd

from credit_assets.book.queries import FeatureQuery
from credit_assets.features.combined_leaks import Combination, given_back
from credit_assets.features.guard import check_inputs
from credit_assets.features.kept_back import kept_back
from credit_assets.features.training_set import TEST, rows_to_learn_from, split_summary, training_frame
from credit_assets.features.versions import FEATURES, made_by_other_sql
from credit_assets.lake.contracts import shorten
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake
from credit_assets.settings.portfolio import Portfolio


class TrainingRefused(ValueError):
    """No model may learn from the batches as they are; the message says what to do about it."""


class SyntheticMixture(TrainingRefused):
    """Some batches are synthetic and others are not: a model of both proves nothing."""

    def __init__(self, portfolio: str, synthetic: Sequence[str]) -> None:
        super().__init__(
            f"Batches {', '.join(synthetic)} of {portfolio} are synthetic and the others are not; no model may "
            "learn from both. Keep real deliveries in a project whose data/ never held the demo's."
        )
        self.portfolio, self.synthetic = portfolio, tuple(synthetic)


class FeaturesOfOtherSql(TrainingRefused):
    """Features of some batches were not made by the current SQL: one name would have two meanings."""

    def __init__(self, portfolio: str, batches: Sequence[str], files: Sequence[str]) -> None:
        super().__init__(
            f"The features of {shorten(', '.join(batches))} were made by other SQL than stands in sql/{portfolio} "
            f"now ({', '.join(files)}). `credit-assets train --portfolio {portfolio}` makes them again "
            "and trains; in the UI, run the job `ingest` for each of these batches, then `train`."
        )
        self.portfolio, self.batches, self.files = portfolio, tuple(batches), tuple(files)


@dataclass(frozen=True)
class Learnable:
    """The `rows` of a training set with their `split`; `learned` are those outside the test, in memory. `kept` are the
    columns of these that are kept from the models, and `back` the combinations of inputs that give one back."""

    rows: duckdb.DuckDBPyRelation
    split: pd.DataFrame
    learned: pd.DataFrame
    kept: pd.DataFrame
    back: Sequence[Combination]

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
            together=self.back,
        )


def read_by_training(portfolio: Portfolio) -> tuple[str, ...]:
    """The tables that a training set is made from; `in_the_window` and `learnable` read them as views with a leading
    underscore."""
    return FEATURES, portfolio.application_table, portfolio.outcomes_table


def in_the_window(con: duckdb.DuckDBPyConnection, portfolio: Portfolio, *columns: str) -> duckdb.DuckDBPyRelation:
    """The rows to learn from with these features, from the views of the tables `read_by_training`."""
    wanted = ", ".join(map(identifier, (portfolio.entity_key, "batch", *columns)))
    con.view("_features").project(wanted).create_view("_wanted_features", replace=True)
    return con.sql(
        rows_to_learn_from(
            portfolio,
            features="_wanted_features",
            applications=f"_{portfolio.application_table}",
            outcomes=f"_{portfolio.outcomes_table}",
        )
    )


def learnable(
    con: duckdb.DuckDBPyConnection, portfolio: Portfolio, features: Sequence[str], left_out: Mapping[str, str]
) -> Learnable:
    """The rows to learn from with these features, from the same views. Raises TrainingSetError if a fold lacks one of
    the outcomes."""
    rows = in_the_window(con, portfolio, *features)
    split = split_summary(rows.project("batch, fold, target").df())
    learned = training_frame(rows.filter(f"fold <> '{TEST}'"))
    applications = con.view(f"_{portfolio.application_table}")
    kept = kept_back(portfolio, learned, applications, con.view("_features"), left_out)
    back = given_back(kept, learned[list(features)], learned["target"].to_numpy(dtype=bool))
    return Learnable(rows, split, learned, kept, back)


def refuse_features_of_other_sql(
    lake: Lake,
    portfolio: Portfolio,
    queries: Mapping[str, FeatureQuery],
    version: int,
    window: Collection[str],
) -> None:
    """Raise FeaturesOfOtherSql if a batch of the training window has features (in this version of their table) that
    were not made by these queries."""
    other = made_by_other_sql(cache(lake.writings), portfolio.table(FEATURES), version, queries)
    if other.keys() & set(window):
        # Newer ones too: they are what the next champion may have to score.
        stale = [batch for batch in other if batch >= min(window)]
        raise FeaturesOfOtherSql(portfolio.name, stale, sorted({file for batch in stale for file in other[batch]}))


def refuse_a_mixture(lake: Lake, portfolio: Portfolio) -> None:
    """Raise SyntheticMixture if the features of some batches are synthetic and those of others are not."""
    written = lake.batches(portfolio.table(FEATURES))
    synthetic = sorted(batch for batch, commit in written.items() if commit.provenance.synthetic)
    if synthetic and len(synthetic) < len(written):
        raise SyntheticMixture(portfolio.name, synthetic)

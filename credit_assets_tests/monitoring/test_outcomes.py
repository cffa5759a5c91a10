"""Outcomes that are judged together with a batch's: those of earlier matured batches scored by the same version."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd

from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.monitoring.outcomes import outcomes_before
from credit_assets.monitoring.performance import is_matured
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.registry.versions import version_made_from

PORTFOLIO = Portfolio.load(Project(PROJECT), "home_credit")


def test_earlier_outcomes_are_those_of_matured_batches_scored_since_the_promotion(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    with duckdb.connect() as con:

        def write(name: str, batch: str, rows: pd.DataFrame, **told: int) -> None:
            con.register("_rows", rows)
            lake.replace(con, "FROM _rows", PORTFOLIO.table(name), batch, Provenance(**told))

        def deliver(batch: str, first: int, known: list[int | None], later: dict[int, int], version: int = 7) -> None:
            keys = range(first, first + len(known))
            write(
                "scores",
                batch,
                pd.DataFrame({"applicant": keys, "pd": 0.1, "band": "B"}),
                model_version=version,
            )
            outcomes = pd.DataFrame({"SK_ID_CURR": list(later), "TARGET": list(later.values())}, dtype="int64")
            write("outcomes", batch, outcomes)
            write("applications", batch, pd.DataFrame({"SK_ID_CURR": keys, "TARGET": pd.array(known, dtype="Int64")}))

        deliver("2026-01", 10, [1, 1], {})  # older than the training data
        deliver("2026-02", 20, [1, 1], {})  # learned from
        deliver("2026-03", 30, [None, 0, None], {30: 1, 31: 1})  # the later outcome overrides
        deliver("2026-04", 40, [1, None, None], {})  # not matured
        deliver("2026-05", 50, [1, 1], {}, version=6)  # scored by another version
        deliver("2026-06", 60, [0, 0, 0], {})  # the first of them was learned from, in another batch
        deliver("2026-07", 70, [1, 1], {})  # the batch itself
        learned = "SELECT * FROM (VALUES (20, '2026-02'), (21, '2026-02'), (60, '2026-02')) t(SK_ID_CURR, batch)"
        table = PORTFOLIO.table("training_set")
        made = lake.replace(con, learned, table, None, Provenance())
        version = version_made_from({table: made}, number=7)
        found = outcomes_before(con, lake, PORTFOLIO, version, "2026-07")
        assert sorted(found["outcome"]) == [0, 0, 1, 1]
        assert list(found.columns) == ["pd", "band", "outcome"]
        assert outcomes_before(con, lake, PORTFOLIO, version, "2026-03").empty


def test_batch_counts_itself_once_enough_outcomes_are_known() -> None:
    unlabelled = pd.DataFrame({"outcome": [float("nan")] * 10})
    early_defaults = pd.DataFrame({"outcome": [1.0] * 4 + [float("nan")] * 6})
    half = pd.DataFrame({"outcome": [1.0] + [0.0] * 4 + [float("nan")] * 5})
    assert [is_matured(rows, 0.5) for rows in (unlabelled, early_defaults, half)] == [False, False, True]
    assert not is_matured(half.iloc[:0], 0.5)

"""Test rows on which the champion can be evaluated: those it did not learn from, whatever the split."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pandas as pd
import pytest

from credit_assets.evaluation import champion_on_test
from credit_assets.evaluation.champion_on_test import (
    champion_on,
    champion_pds,
    compared_champion,
    new_to_champion,
    reason_not_compared,
)
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.registry.memory import Memory
from credit_assets.settings.evaluation import EvaluationConfig
from credit_assets_tests.bare_versions import register_bare

LOG = logging.getLogger(__name__)
TABLE = "book/training_set"
PORTFOLIO = SimpleNamespace(
    name="book", entity_key="ID", table=lambda name: f"book/{name}", evaluation=EvaluationConfig()
)


@pytest.fixture
def place(tmp_path: Path) -> SimpleNamespace:
    """A lake and a registry in which the champion learned, by an older split, from the first 80 of 100 applicants of
    batch a.
    """
    found = SimpleNamespace(lake=Lake(tmp_path), connection=duckdb.connect(), portfolio=PORTFOLIO)
    for sql in (
        "SELECT i AS ID, 'a' AS batch, CASE WHEN i < 60 THEN 'train' WHEN i < 80 THEN 'valid' ELSE 'test' END AS fold "
        "FROM range(100) t(i)",
        "SELECT 1 AS ID, 'b' AS batch, 'train' AS fold",
    ):
        version = found.lake.replace(found.connection, sql, TABLE, None, Provenance())
    found.registry = Memory().registry("book")
    found.registry.promote(register_bare(found.registry, tables={TABLE: version - 1}), by="gate", why="a test")
    return found


def rows_of(applicants: range, batch: str = "a") -> pd.DataFrame:
    return pd.DataFrame({"applicant": list(applicants), "batch": batch, "target": [i % 2 for i in applicants]})


def new_rows(rows: pd.DataFrame, place: SimpleNamespace) -> list[bool]:
    return new_to_champion(place.connection, place.lake, place, place.registry.champion(), rows).tolist()


def test_rows_of_its_training_and_validation_are_not_new_to_the_champion(place: SimpleNamespace) -> None:
    rows = pd.concat([rows_of(range(70, 100)), rows_of(range(70, 100), "b")], ignore_index=True)
    assert new_rows(rows, place) == [False] * 10 + [True] * 50


def test_champion_is_not_evaluated_on_too_few_new_rows(place: SimpleNamespace) -> None:
    # 20 new rows, 10 of them defaults; gate.min_defaults is 20.
    assert not any(new_rows(rows_of(range(70, 100)), place))
    assert not any(new_rows(rows_of(range(80)), place))
    assert all(new_rows(rows_of(range(80, 100)), place)), "nothing is left out of a small test of new rows"


def test_every_row_is_new_without_a_champion(place: SimpleNamespace) -> None:
    place.registry = Memory().registry("book")
    assert all(new_rows(rows_of(range(100)), place))


def test_champion_has_pds_of_new_rows_only(place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.concat([rows_of(range(70, 100)), rows_of(range(70, 100), "b")], ignore_index=True)
    judged = rows.rename(columns={"applicant": "ID"})[["ID", "batch"]].assign(fold="test", pd=0.25)
    trained = pd.DataFrame({"ID": [500], "batch": "b", "fold": "train", "pd": 0.125})
    everything = pd.concat([judged, trained], ignore_index=True)
    monkeypatch.setattr(champion_on_test, "_scored_by_champion", lambda *arguments: everything)
    training_set = duckdb.sql("SELECT 'test' AS fold")
    rows["champion"] = champion_pds(
        place.connection, place.lake, place, place.registry.champion(), rows, training_set, LOG
    )
    np.testing.assert_array_equal(rows["champion"], [np.nan] * 10 + [0.25] * 50)
    on = champion_on(place.connection, place.lake, place, place.registry.champion(), rows, training_set, LOG)
    assert on is not None
    assert on["fold"].value_counts().to_dict() == {"test": 50, "train": 1}


def test_champion_that_cannot_be_loaded_is_logged_and_has_no_pds(
    place: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    rows, training_set = rows_of(range(80, 100)), duckdb.sql("SELECT 'test' AS fold")
    pds = champion_pds(place.connection, place.lake, place, place.registry.champion(), rows, training_set, LOG)
    assert pds.isna().all()
    assert len(pds) == len(rows)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.startswith("The model of version 1 of book is missing or damaged.")
    assert record.message.endswith("The candidate is not compared with it.")


AS_IF_NONE = "The other requirements apply as if there were no champion"


def test_reason_for_no_comparison_names_a_champion_whose_files_are_gone(place: SimpleNamespace) -> None:
    assert reason_not_compared(place, place.registry.champion(), ["income"]) == (
        "The champion, version 1, cannot be compared, because its model files are missing or damaged. "
        f"{AS_IF_NONE}, and a candidate that meets them replaces it."
    )


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        (["income", "age"], "learned from all or too many of these test rows, so it cannot be compared on them"),
        (["income"], "cannot be compared, because its features age no longer exist or are excluded"),
    ],
)
def test_reason_for_no_comparison_says_what_the_champion_lacks(
    place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, columns: list[str], why: str
) -> None:
    whole = SimpleNamespace(features=("income", "age"))
    monkeypatch.setattr(champion_on_test, "load_model", lambda registry, version: whole)
    assert (
        reason_not_compared(place, place.registry.champion(), columns)
        == f"The champion, version 1, {why}. {AS_IF_NONE}."
    )


def test_reason_for_no_comparison_is_that_there_is_no_champion(place: SimpleNamespace) -> None:
    place.registry = Memory().registry("book")
    assert reason_not_compared(place, place.registry.champion(), []) == "There is no champion to compare with."


@pytest.mark.parametrize(("recorded", "expected"), [(1, 1), (0, None), (None, 2)])
def test_candidate_is_compared_with_the_champion_of_its_predictions(
    place: SimpleNamespace, recorded: int | None, expected: int | None
) -> None:
    place.registry.promote(register_bare(place.registry), by="hand", why="while the candidate is evaluated")
    made = Provenance(champion_version=recorded)
    place.lake.replace(place.connection, "SELECT 1 AS applicant", "book/predictions", None, made)
    found = compared_champion(place.lake, place)
    assert (found.number if found else None) == expected

"""What the comparison of two releases finds in tables and in whole projects."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from benchmarks import compare_projects
from benchmarks.compare_projects import compare_files, compare_tables

SCORES = {
    "applicant": [1, 2, 3, 4],
    "batch": ["2026-01", "2026-01", "2026-02", "2026-02"],
    "pd": [0.1, 0.25, math.nan, 0.5],
    "reason_1": ["many loans", None, "late", None],
    "model_run_id": ["a", "a", "a", "a"],
}


def changed(**columns: list) -> pa.Table:
    return pa.table({**SCORES, **columns})


def compared(new: pa.Table) -> compare_projects.Compared:
    return compare_tables("scores", pa.table(SCORES), new)


def test_rows_are_compared_in_any_order_and_nan_equals_nan():
    found = compared(pa.table(SCORES).take([2, 0, 3, 1]))
    assert found.equal and found.rows == 4 and found.key == ("applicant",)
    assert str(found) == "scores: equal, 4 rows"


def test_nan_equals_nan_with_other_bits():
    payload = np.array([0x7FF8000000000001], np.uint64).view(np.float64)[0]
    assert compared(changed(pd=[0.1, 0.25, payload, 0.5])).equal


def test_one_bit_of_one_float_is_found():
    found = compared(changed(pd=[0.1, math.nextafter(0.25, 1), math.nan, 0.5]))
    assert not found.equal
    [difference] = found.differences
    assert (difference.column, difference.rows, difference.at_most) == ("pd", 1, 2**-54)


@pytest.mark.parametrize("pds", [[0.1, None, math.nan, 0.5], [0.1, 0.25, None, 0.5], [0.1, 0.25, 0.3, 0.5]])
def test_null_differs_from_numbers_and_nan(pds):
    found = compared(changed(pd=pds))
    assert [difference.column for difference in found.differences] == ["pd"] and not found.equal


def test_sign_of_zero_is_a_difference():
    old, new = (pa.table({"feature": ["a"], "psi": [zero]}) for zero in (0.0, -0.0))
    assert not compare_tables("drift", old, new).equal


def test_changed_text_is_counted_and_shown():
    found = compared(changed(reason_1=["many loans", None, "late payments", "late"]))
    [difference] = found.differences
    assert (difference.rows, difference.at_most) == (2, None)
    assert difference.example == "'late' and 'late payments'"


def test_expected_column_difference_is_listed_and_table_stays_equal():
    found = compared(changed(model_run_id=["b", "b", "b", "b"]))
    assert found.equal
    assert str(found) == "scores: equal, 4 rows (differs as expected: model_run_id: run id, drawn at random)"


def test_rows_on_one_side_only_are_counted():
    found = compared(pa.table(SCORES).slice(1))
    assert found.faults == ("1 rows only in OLD (by applicant)",) and not found.differences


def test_columns_and_types_on_one_side_only_are_named():
    new = pa.table(SCORES).drop_columns("pd").append_column("points", pa.array([1, 2, 3, 4]))
    new = new.set_column(0, "applicant", pa.array([1, 2, 3, 4], pa.int32()))
    assert compared(new).faults == (
        "columns only in OLD: pd",
        "columns only in NEW: points",
        "applicant has type int64 in OLD, int32 in NEW",
    )


def test_composite_key_is_found():
    old = pa.table({"batch": ["1", "1", "2"], "feature": ["a", "b", "a"], "kind": ["x"] * 3, "psi": [0.1, 0.2, 0.3]})
    found = compare_tables("drift", old, old.take([2, 1, 0]))
    assert found.key == ("batch", "feature") and found.equal


def test_rows_without_a_unique_key_are_compared_as_a_multiset():
    old = pa.table({"month": [1, 1, 2], "amount": [5.0, 7.0, 7.0]})
    assert compare_tables("payments", old, old.take([1, 2, 0])).equal
    found = compare_tables("payments", old, pa.table({"month": [1, 1, 2], "amount": [5.0, 5.0, 7.0]}))
    assert [(difference.column, difference.rows) for difference in found.differences] == [("amount", 1)]


def test_empty_tables_are_equal():
    assert compared(pa.table(SCORES).slice(0, 0)).faults == ("4 rows only in OLD (by applicant)",)
    empty = pa.table(SCORES).slice(0, 0)
    assert compare_tables("scores", empty, empty).equal


def test_renamed_table_is_compared_under_its_new_name(tmp_path, monkeypatch):
    for side, name in (("old", "xgboost"), ("new", "candidate")):
        _project(tmp_path / side)
        write_deltalake(str(tmp_path / side / "data" / "lake" / "book" / name), pa.table(SCORES))
    sides = (tmp_path / "old", tmp_path / "new", "book")
    monkeypatch.setattr(compare_projects, "RENAMED", {})
    apart = compare_projects.compare_projects(*sides)
    assert [line for line in apart if "DIFFERS" in line] == [
        "candidate: DIFFERS; only NEW has this table",
        "xgboost: DIFFERS; only OLD has this table",
    ]
    monkeypatch.undo()
    lines = compare_projects.compare_projects(*sides)
    assert lines[:2] == ["xgboost of OLD is compared with candidate of NEW", "candidate: equal, 4 rows"]
    assert not any("DIFFERS" in line for line in lines)


def test_table_of_an_earlier_layout_is_converted_to_the_current_one(tmp_path):
    for side in ("old", "new"):
        _project(tmp_path / side)
    wide = pa.table({"applicant": [1], "candidate": [0.1], "baseline": [0.2], "champion": pa.array([None], "double")})
    write_deltalake(str(tmp_path / "old" / "data" / "lake" / "book" / "predictions"), wide)
    long = pa.table({"applicant": [1, 1], "model": ["candidate", "baseline"], "pd": [0.1, 0.2]})
    write_deltalake(str(tmp_path / "new" / "data" / "lake" / "book" / "predictions"), long)
    lines = compare_projects.compare_projects(tmp_path / "old", tmp_path / "new", "book")
    assert lines[1] == "predictions: equal, 2 rows"


def test_entries_missing_in_older_releases_are_ignored_but_changed_ones_are_not(tmp_path):
    facts = {"old": {"features": ["a"]}, "new": {"kind": "xgboost", "features": ["a"]}, "other": {"features": ["b"]}}
    files = {side: {"model 1: model.json": tmp_path / side} for side in facts}
    for side, content in facts.items():
        (tmp_path / side).write_text(json.dumps(content))
    assert compare_files(files["old"], files["new"]) == ["model 1: model.json: equal but for entries that are new"]
    for changed in (compare_files(files["old"], files["other"]), compare_files(files["new"], files["old"])):
        assert changed == ["model 1: model.json: DIFFERS; its bytes"]


def _project(folder: Path) -> None:
    """A project without models and checks."""
    index = folder / "data" / "dagster" / "storage" / "history" / "runs" / "index.db"
    tracking = folder / "data" / "mlflow" / "mlflow.db"
    for database, tables in (
        (index, ["asset_check_executions (id, asset_key, check_name, partition, evaluation_event)"]),
        (
            tracking,
            [
                "runs (run_uuid, name, start_time, artifact_uri)",
                "tags (run_uuid, key, value)",
                "registered_model_aliases (name, version, alias)",
                "model_versions (name, version, run_id)",
            ],
        ),
    ):
        database.parent.mkdir(parents=True)
        with closing(sqlite3.connect(database)) as con:
            for table in tables:
                con.execute(f"CREATE TABLE {table}")


def test_changed_bit_of_a_score_or_metric_is_found_in_otherwise_equal_projects(line, tmp_path):
    old, new = line.project.root, tmp_path / "copy"
    shutil.copytree(old, new)
    table = DeltaTable(str(new / "data" / "lake" / "home_credit" / "scores"))
    scores = table.to_pyarrow_table(filters=[("batch", "=", "2026-02")])
    pds = scores["pd"].to_numpy().copy()
    pds[7] = np.nextafter(pds[7], 1)
    scores = scores.set_column(scores.schema.get_field_index("pd"), "pd", pa.array(pds))
    write_deltalake(table, scores, mode="overwrite", predicate="batch = '2026-02'")
    with closing(sqlite3.connect(new / "data" / "mlflow" / "mlflow.db")) as con:
        con.execute("UPDATE latest_metrics SET value = value + 1e-9 WHERE key = 'auc'")
        con.commit()
    lines = compare_projects.compare_projects(old, new, "home_credit")
    assert {line.split(":")[0] for line in lines if "DIFFERS" in line} == {"scores", "figures"}
    assert {line.split(":")[0] for line in lines if ": equal" in line} >= {"evaluation", "checks", "versions"}
    assert any("booster.ubj: equal" in line for line in lines)


def test_models_are_paired_by_name_whatever_the_order_they_were_made_in(tmp_path):
    made = {"old": ["logistic_regression", "xgboost", "xgboost"], "new": ["xgboost", "logistic_regression", "xgboost"]}
    found = {}
    for side, names in made.items():
        _project(tmp_path / side)
        with closing(sqlite3.connect(tmp_path / side / "data" / "mlflow" / "mlflow.db")) as con, con:
            for number, name in enumerate(names):
                con.execute("INSERT INTO runs VALUES (?, ?, ?, '')", (str(number), name, number))
                con.execute("INSERT INTO tags VALUES (?, 'mlflow.parentRunId', 'train')", (str(number),))
        found[side] = compare_projects.model_runs(tmp_path / side)
    assert found["old"] == {"logistic_regression 1": "0", "xgboost 1": "1", "xgboost 2": "2"}
    assert found["new"] == {"xgboost 1": "0", "logistic_regression 1": "1", "xgboost 2": "2"}


@pytest.mark.parametrize(("passed", "differs"), [(True, False), (False, True)])
def test_severity_of_a_check_is_compared_only_where_it_fails(tmp_path, passed, differs):
    sides = []
    for severity in ("ERROR", "WARN"):
        _project(tmp_path / severity)
        result = {"success": passed, "severity": {"__enum__": f"AssetCheckSeverity.{severity}"}}
        event = json.dumps({"dagster_event": {"event_specific_data": result}})
        index = tmp_path / severity / "data" / "dagster" / "storage" / "history" / "runs" / "index.db"
        with closing(sqlite3.connect(index)) as con, con:
            con.execute(
                "INSERT INTO asset_check_executions VALUES (1, ?, 'keys_are_new', '2026-01', ?)",
                (json.dumps(["home_credit", "applications"]), event),
            )
        sides.append(compare_projects.checks(tmp_path / severity))
    assert (sides[0] != sides[1]) == differs


def test_changed_byte_of_a_model_and_missing_files_are_found(tmp_path):
    files = {name: tmp_path / name for name in ("booster.ubj", "changed.ubj", "trials.csv", "slower.csv")}
    files["booster.ubj"].write_bytes(b"trees")
    files["changed.ubj"].write_bytes(b"treeS")
    files["trials.csv"].write_text("trial,auc,seconds\n1,0.75,0.1\n")
    files["slower.csv"].write_text("trial,auc,seconds\n1,0.75,0.2\n")
    old = {"model 1: booster.ubj": files["booster.ubj"], "model 1: trials.csv": files["trials.csv"]}
    new = {"model 1: booster.ubj": files["changed.ubj"], "model 1: trials.csv": files["slower.csv"]}
    assert compare_projects.compare_files(old, new | {"model 2: booster.ubj": files["booster.ubj"]}) == [
        "model 1: booster.ubj: DIFFERS; its bytes",
        "model 1: trials.csv: equal, 1 rows (differs as expected: seconds: time of running)",
        "model 2: booster.ubj: DIFFERS; only NEW has this file",
    ]


def test_memory_addresses_in_a_skops_file_are_ignored_but_its_values_are_not(tmp_path):
    for name, address, weight in (("old", 140, b"weights"), ("again", 139, b"weights"), ("other", 139, b"Weights")):
        array = {"__class__": "ndarray", "file": f"{address}.npy", "__id__": address}
        with zipfile.ZipFile(tmp_path / f"{name}.skops", "w") as file:
            file.writestr(f"{address}.npy", weight)
            file.writestr("schema.json", json.dumps({"content": [array], "__id__": address + 1}))
    old, again, other = ({"regression.skops": tmp_path / f"{name}.skops"} for name in ("old", "again", "other"))
    assert "equal" in compare_projects.compare_files(old, again)[0]
    assert "DIFFERS" in compare_projects.compare_files(old, other)[0]

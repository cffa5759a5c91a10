"""Data of a project of an earlier release are still read: its models, its drift references, and the module paths in its
files. `python -m benchmarks.equality OLD NEW --upgrade` continues a whole project.

`earlier_release.json` was written by release 0.1.0: a small model and reference as they were stored (base64), rows, and
the PDs and contributions that the model gave for them (hexadecimal floats).
"""

from __future__ import annotations

import base64
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from credit_assets.monitoring.reference import Reference

STORED: dict[str, Any] = json.loads(Path(__file__).with_name("earlier_release.json").read_text())

NAMED = {
    "credit_assets.automation.instance_storage:SqliteStorage": "dagster.yaml",
    "credit_assets.automation.launcher:LocalRunLauncher": "dagster.yaml",
    "credit_assets.definitions:__getattr__": "workspace.yaml, with the portfolio as attribute",
    "credit_assets.schemas.table:Relation": "contracts of own portfolios",
    "credit_assets.schemas.table:Table": "contracts of own portfolios",
    "credit_assets.models.estimators:PDModel": "the code that MLflow stored with each model",
}
"""Code that files of a project name, and in which files."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The stored files in their original layout."""
    for name, content in STORED["files"].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(base64.b64decode(content))
    return tmp_path


def bits(texts: list[str]) -> list[float]:
    return [float.fromhex(text) for text in texts]


@pytest.mark.parametrize("name", NAMED)
def test_module_paths_named_in_project_files_still_exist(name):
    module, attribute = name.split(":")
    assert hasattr(importlib.import_module(module), attribute), NAMED[name]


def test_stored_model_gives_the_same_pds_and_contributions_to_the_last_bit(folder):
    model = importlib.import_module("credit_assets.models.estimators").PDModel.load(folder / "model")
    rows = pd.DataFrame(STORED["rows"]).astype({"credit_amount": float})
    assert list(model.pd(rows)) == bits(STORED["pd"])
    assert np.array_equal(model.contributions(rows), [bits(row) for row in STORED["contributions"]])


def test_stored_drift_reference_is_read(folder):
    reference = Reference.load(folder / "drift_reference.parquet")
    assert (reference.features, reference.score, reference.batch) == (["credit_amount", "housing"], "pd", "2026-01")
    reference.save(folder / "again.parquet")
    assert (folder / "again.parquet").read_bytes() == (folder / "drift_reference.parquet").read_bytes()

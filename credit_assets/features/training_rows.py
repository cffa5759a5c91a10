"""The rows that a registered version was trained and tested on."""

from __future__ import annotations

from credit_assets.features.training_set import TEST
from credit_assets.lake.tables import Lake
from credit_assets.registry.version import ModelVersion
from credit_assets.settings.portfolio import Portfolio

TRAINING_SET = "training_set"
LEARNED, TESTED = f"fold <> '{TEST}'", f"fold = '{TEST}'"
"""SQL conditions that select the learned and the test rows of `training_rows`."""


def training_rows(lake: Lake, portfolio: Portfolio, version: ModelVersion) -> str:
    """The SELECT of the training set in the version that the model was trained on.

    Raises RegistryError if the model names no training set, and TableMissing if the lake has none.
    """
    table = portfolio.table(TRAINING_SET)
    return lake.query(table, version=version.made_from(table))

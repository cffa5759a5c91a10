"""The rows that a registered version was made from: those that it learned from, and those that it was tested on."""

from __future__ import annotations

from credit_assets.features.training_set import TEST
from credit_assets.lake.tables import Lake
from credit_assets.registry.version import ModelVersion
from credit_assets.settings.portfolio import Portfolio

TRAINING_SET = "training_set"
LEARNED, TESTED = f"fold <> '{TEST}'", f"fold = '{TEST}'"
"""Conditions on `training_rows`."""


def training_rows(lake: Lake, portfolio: Portfolio, version: ModelVersion) -> str:
    """The SELECT of the training set as it was when the version was made from it.

    Raises RegistryError where the version was not made from one, and TableMissing where the lake has none.
    """
    table = portfolio.table(TRAINING_SET)
    return lake.query(table, version=version.made_from(table))

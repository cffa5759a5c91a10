"""Examples in docstrings run and print the documented output."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "decisions.policy",
    "decisions.scorecard",
    "fairness.audit",
    "lake.sql",
    "plurals",
    "rounding",
    "statistics.calibration",
    "statistics.comparison",
    "statistics.cut_off",
    "statistics.metrics",
    "statistics.psi",
]
"""Of credit_assets, those with examples."""


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_print_the_documented_output(name):
    module = importlib.import_module(f"credit_assets.{name}")
    outcome = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert outcome.attempted and not outcome.failed


def test_every_module_with_examples_is_listed():
    from credit_assets_tests.test_architecture import FILES, PACKAGE

    found = {str(file.with_suffix("")).replace("/", ".") for file in FILES if ">>> " in (PACKAGE / file).read_text()}
    assert found == set(MODULES)

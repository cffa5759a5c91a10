"""A verdict and the Dagster check that shows it."""

from __future__ import annotations

import ast
from pathlib import Path

import dagster as dg
import pytest

import credit_assets
from credit_assets.verdicts.checks import check_result
from credit_assets.verdicts.verdict import Verdict, no_verdict


@pytest.mark.parametrize(
    ("severity", "shown"), [("error", dg.AssetCheckSeverity.ERROR), ("warning", dg.AssetCheckSeverity.WARN)]
)
def test_check_result_shows_everything_in_its_verdict(severity, shown) -> None:
    verdict = Verdict("stability", False, "PSI 0.4 is above 0.25.", {"psi": 0.4}, severity)
    key = dg.AssetKey(["book", "promotion_gate"])
    result = check_result(verdict, key, {"batch": "2026-03"})
    assert (result.asset_key, result.check_name, result.passed) == (key, "stability", False)
    assert (result.severity, result.description) == (shown, "PSI 0.4 is above 0.25.")
    assert {name: value.value for name, value in result.metadata.items()} == {"psi": 0.4, "batch": "2026-03"}
    assert verdict.blocking is (severity == "error")


def test_verdict_that_cannot_be_judged_passes_and_says_so() -> None:
    verdict = no_verdict("stability", "there is no champion.")
    assert (verdict.passed, verdict.message, verdict.figures) == (True, "No verdict: there is no champion.", {})


def test_check_results_are_created_in_one_place() -> None:
    package = Path(credit_assets.__file__).parent
    making = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if "AssetCheckResult" in (source := file.read_text())
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("AssetCheckResult")
    }
    assert making == {"verdicts/checks.py"}

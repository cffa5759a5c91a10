"""Messages of verdicts in degenerate cases and near their bounds: never nan, never contradicting the verdict."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from credit_assets.evaluation.four_fifths import four_fifths
from credit_assets.evaluation.gate import discrimination, plausible, verdicts
from credit_assets.fairness.audit import audit
from credit_assets.monitoring.drift_summary import volume
from credit_assets.monitoring.performance import calibrated_in_segments, holds, not_worse, performance_table
from credit_assets.settings.drift import DriftConfig
from credit_assets.settings.evaluation import ConfirmedAUC, GateConfig
from credit_assets.settings.fairness import FairnessConfig
from credit_assets.settings.performance import PerformanceConfig
from credit_assets.statistics.comparison import compare
from credit_assets.statistics.metrics import Evaluation, Interval, evaluate
from credit_assets.verdicts.verdict import Verdict

THRESHOLDS = GateConfig()
FEW = PerformanceConfig(min_outcomes=4, min_defaults=2, draws=100)
NO_NUMBER = re.compile(r"\b(nan|NaN|-?inf|None)\b")

OUTCOMES = {
    "two defaults": np.array([1, 0, 1, 0]),
    "defaults first": np.array([1, 1, 0, 0]),
    "many": (np.arange(400) % 7 == 0).astype(int),
}
PDS = {
    "all equal": lambda y: np.full(len(y), 0.1),
    "perfect": lambda y: np.where(y == 1, 0.9, 0.1),
    "extreme": lambda y: np.where(y == 1, 1 - 1e-12, 1e-12),
    "reversed": lambda y: np.where(y == 1, 0.01, 0.99),
}
GROUPS = {
    "one": lambda n: np.full(n, "F"),
    "two": lambda n: np.where(np.arange(n) % 2 == 0, "F", "M"),
    "each alone": lambda n: np.arange(n).astype(str),
    "missing": lambda n: np.full(n, None, dtype=object),
}
DECISIONS = {
    "all": lambda n: np.ones(n, dtype=bool),
    "none": lambda n: np.zeros(n, dtype=bool),
    "men alone": lambda n: np.arange(n) % 2 == 1,
}


def audited(n: int, group: str, decision: str, by_champion: str | None) -> list[Verdict]:
    config = FairnessConfig(min_group_size=1, blocking=("gender",))
    found = audit(
        pd.DataFrame({"gender": GROUPS[group](n)}),
        DECISIONS[decision](n),
        np.full(n, 0.1),
        np.full(n, np.nan),
        config,
        None,
        None if by_champion is None else DECISIONS[by_champion](n).astype(float),
    )
    return four_fifths(found.verdicts)


def checked_messages(judged: list[Verdict]) -> None:
    for verdict in judged:
        assert not NO_NUMBER.search(verdict.message), (verdict.name, verdict.message)
        assert all(np.isfinite(number) for number in verdict.figures.values()), verdict
        assert verdict.message[0].isupper() and verdict.message.endswith((".", ")")), verdict.message


@pytest.mark.parametrize("outcomes", OUTCOMES)
@pytest.mark.parametrize("kind", PDS)
@pytest.mark.parametrize("rival", [None, *PDS])
def test_gate_messages_contain_numbers_for_degenerate_pds(outcomes: str, kind: str, rival: str | None) -> None:
    y = OUTCOMES[outcomes]
    pds = PDS[kind](y)
    own = evaluate(y, pds, 0.5, 20)
    other = None if rival is None else PDS[rival](y)
    champion = None if other is None else evaluate(y, other, 0.5, 20)
    comparison = None if other is None else compare(y, pds, other)
    for psi in (0.0, 5.0):
        checked_messages(
            verdicts(
                own,
                champion,
                comparison,
                pd.DataFrame(),
                psi,
                0.0,
                None if other is None else psi,
                THRESHOLDS,
                baseline=compare(y, pds, pds if other is None else other),
                max_auc=0.9,
                leading=("income",),
            )
        )


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 400])
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("by_champion", [None, *DECISIONS])
def test_audit_messages_contain_numbers_for_degenerate_groups(
    n: int, group: str, decision: str, by_champion: str | None
) -> None:
    checked_messages(audited(n, group, decision, by_champion))


def test_group_without_approvals_is_described_as_such() -> None:
    [verdict] = audited(400, "two", "men alone", "men alone")
    assert "F is approved at 0.000 (none is approved) of the rate of M, below 0.8." in verdict.message
    assert "the champion approves F at 0.000 (none is approved)" in verdict.message


@pytest.mark.parametrize("known", ["none", "goods", "bads", "one", "two"])
@pytest.mark.parametrize("pds", [0.1, 1e-9, 1 - 1e-9])
@pytest.mark.parametrize("rows", [1, 2, 600])
def test_performance_messages_contain_numbers_for_degenerate_batches(known: str, pds: float, rows: int) -> None:
    at = np.arange(rows)
    outcome = {
        "none": np.full(rows, np.nan),
        "goods": np.zeros(rows),
        "bads": np.ones(rows),
        "one": np.where(at == 0, 1.0, np.nan),
        "two": np.where(at % 2 == 0, 1.0, 0.0),
    }[known]
    batch = pd.DataFrame({"applicant": at, "pd": pds, "band": "B", "outcome": outcome})
    labelled = batch[batch["outcome"].notna()]
    for share in (0.0, 1.0):
        performance_table(batch, 1, FEW, share)
        judged = [holds(batch, FEW, batch.head(0), share), holds(batch, FEW, labelled, share)]
        judged.append(calibrated_in_segments(labelled, labelled[["band"]], FEW))
        for found in judged:
            assert not NO_NUMBER.search(found.message), found.message
            assert all(np.isfinite(number) for number in found.figures.values()), found
    if known == "two" and rows == 600:
        found = not_worse(labelled, labelled.set_index("applicant")["pd"], FEW)
        assert not NO_NUMBER.search(found.message), found.message


def test_volume_messages_contain_numbers_for_empty_batches() -> None:
    for rows, earlier in ((0, [0, 0, 0]), (0, [5, 5, 5]), (5, [0, 0, 0])):
        assert not NO_NUMBER.search(volume(rows, earlier, DriftConfig()).message)


def with_auc(auc: float) -> Evaluation:
    found = evaluate(OUTCOMES["many"], PDS["perfect"](OUTCOMES["many"]), 0.5, 20)
    return replace(found, metrics=found.metrics | {"auc": Interval(auc, auc - 0.01, min(1.0, auc + 0.01))})


@pytest.mark.parametrize("off", [-1e-4, -1e-7, 0.0, 1e-7, 1e-4])
def test_auc_close_to_its_bound_is_rounded_consistently_with_the_verdict(off: float) -> None:
    words = discrimination(with_auc(THRESHOLDS.min_auc + off), THRESHOLDS).message
    shown, bound = re.findall(r"(?:AUC|reaches|below) (\d\.\d+)", words)[:2]
    assert ("reaches" in words) == (off >= 0) == (float(shown) >= float(bound))
    words = plausible(with_auc(0.9 + off), 0.9, (), THRESHOLDS).message
    assert ("not above" in words) == (off <= 0) == (float(re.findall(r"AUC (\d\.\d+)", words)[0]) <= 0.9)


@pytest.mark.parametrize("auc", [0.92, 0.9200000004, 0.9199999, 0.929999999, 0.9500001, 0.999, 1.0])
def test_suggested_bound_confirms_the_auc(auc: float) -> None:
    words = plausible(with_auc(auc), 0.9, (), THRESHOLDS).message
    [up_to] = re.findall(r"up_to: (\d\.\d+)", words)
    confirmed = GateConfig(confirmed_auc=(ConfirmedAUC(up_to=float(up_to), by="Ann", why="checked"),))
    assert plausible(with_auc(auc), 0.9, (), confirmed).passed
    assert float(up_to) - auc < 0.01

"""The guard before training: inputs that a model must not see.

`column_auc.py` measures how well one column ranks the outcomes, `combined_leaks.py` searches for leaks of several
inputs together. `fairness/` examines whether a model treats groups equally.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from credit_assets.features.combined_leaks import Combination, leading_pairs, reproduced_columns
from credit_assets.rounding import digits_apart
from credit_assets.statistics.column_auc import single_feature_auc


class LeakageError(ValueError):
    """Some of a model's inputs reveal the outcome or are forbidden by law."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        listed = "; ".join(f"{finding.feature} {finding.reason}" for finding in findings[:20])
        more = f"; and {len(findings) - 20} more" if len(findings) > 20 else ""
        super().__init__(f"{len(findings)} of the model's inputs cannot be trained on: {listed}{more}.")


@dataclass(frozen=True)
class Finding:
    """One input, or several that are refused together, and the reason; together they read as a sentence."""

    feature: str
    reason: str


def made_from(roots: Mapping[str, Collection[tuple[str, str]]], left_out: Mapping[str, str]) -> dict[str, str]:
    """For each feature made from one of the columns `left_out` (raw column, of any table, to the reason), the reason
    why it is left out. `roots` has the tables and raw columns that a feature is made from."""
    why = {column.upper(): reason for column, reason in left_out.items()}
    return {
        feature: "; ".join(
            f"{table}.{column}: {why[column.upper()]}" for table, column in columns if column.upper() in why
        )
        for feature, columns in roots.items()
        if any(column.upper() in why for _, column in columns)
    }


def check_inputs(
    training_set: pd.DataFrame,
    *,
    target: str,
    features: Sequence[str],
    roots: Mapping[str, Collection[str]],
    target_columns: Collection[str],
    protected: Collection[str],
    post_decision: Mapping[str, str],
    max_single_auc: float,
    together: Sequence[Combination] = (),
) -> pd.Series:
    """The AUC of each feature on its own, by feature, largest first; raises LeakageError on any leak.

    A feature is refused if it is, or is made from (`roots`: feature to its raw `table.COLUMN`s), a protected column,
    the outcome (`target_columns`) or a column known only after the decision (`post_decision`: column to the reason); if
    its roots are unknown; if it is a copy of the target, in any scale, direction or coding; or if it alone ranks better
    than `max_single_auc`. Two features are refused if their sum, difference, ratio or product does, and up to three if
    they reproduce a feature that was refused for ranking too well or for being known only after the decision.
    `together` are combinations found earlier that reproduce a column hidden from the model: those that rank better than
    the limit are refused too. `target` is the column of 0/1 outcomes in `training_set`.
    """
    findings = [
        finding
        for feature in features
        for finding in _by_origin(feature, roots.get(feature), {target, *target_columns}, protected, post_decision)
    ]
    late = {column.upper() for column in post_decision}
    leaks = [
        feature
        for feature in features
        if any(column.rpartition(".")[2].upper() in late for column in (*(roots.get(feature) or ()), feature))
    ]
    outcome = training_set[target].to_numpy(dtype=bool)
    aucs = {}
    for feature in (name for name in features if name != target):
        auc, copies = single_feature_auc(training_set[feature], outcome)
        aucs[feature] = auc
        if copies:
            findings.append(Finding(feature, "is a copy of the target"))
        elif auc > max_single_auc:
            shown = f"{auc:.{digits_apart(3, (auc, max_single_auc))}f}"
            findings.append(Finding(feature, f"alone ranks the outcomes with AUC {shown} (limit {max_single_auc:g})"))
        if copies or auc > max_single_auc:
            leaks.append(feature)
    refused = {finding.feature for finding in findings}
    others = training_set[[feature for feature in aucs if feature not in refused]]
    hidden = training_set[[feature for feature in dict.fromkeys(leaks) if feature in aucs]]
    reproduced = [
        found
        for found in (*together, *reproduced_columns(hidden, others, outcome))
        # Reproducing a column that says little about the outcome is no leak: the application may reveal it as well.
        if max(found.auc, aucs.get(found.reproduces or "", 0.0)) > max_single_auc
    ]
    findings += map(refused_together, _with_leading_pairs(reproduced, others, outcome, max_single_auc))
    if findings:
        raise LeakageError(findings)
    return pd.Series(aucs, name="auc", dtype=float).sort_values(ascending=False, kind="stable")


def _with_leading_pairs(
    reproduced: Sequence[Combination], features: pd.DataFrame, outcome: np.ndarray, max_single_auc: float
) -> Sequence[Combination]:
    """The combinations, and the pairs of features that together rank better than the limit, without duplicates."""
    known = {frozenset(found.features) for found in reproduced}
    pairs = leading_pairs(features, outcome, max_single_auc)
    return [*reproduced, *(pair for pair in pairs if frozenset(pair.features) not in known)]


def refused_together(found: Combination) -> Finding:
    """The finding for inputs that together are a leak."""
    *others, last = found.features
    return Finding(
        f"{', '.join(others)} and {last}" if others else last,
        f"{'together are' if others else 'is'} a leak: {found}",
    )


def _by_origin(
    feature: str,
    raw: Collection[str] | None,
    outcomes: Collection[str],
    protected: Collection[str],
    post_decision: Mapping[str, str],
) -> list[Finding]:
    if raw is None:
        return [Finding(feature, "has unknown origins: no raw columns are recorded for it")]
    origins = {column.rpartition(".")[2].upper(): column for column in (*raw, feature)}
    findings = []
    for name, column in origins.items():
        is_or_made_from = "is" if column == feature else f"is made from {column},"
        if name in _upper(protected):
            findings.append(Finding(feature, f"{is_or_made_from} a protected attribute"))
        if name in _upper(outcomes):
            findings.append(Finding(feature, f"{is_or_made_from} the outcome itself"))
        for late, why in post_decision.items():
            if name == late.upper():
                findings.append(Finding(feature, f"{is_or_made_from} known only after the decision ({why})"))
    return findings


def _upper(names: Collection[str]) -> set[str]:
    return {name.upper() for name in names}

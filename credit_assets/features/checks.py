"""The checks of the training set: leaks among the inputs, and hidden columns that they reproduce."""

from collections.abc import Sequence

import dagster as dg
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.features.combined_leaks import Combination
from credit_assets.features.training_rows import TRAINING_SET
from credit_assets.verdicts.verdict import Verdict

NO_LEAKAGE, KEPT_BACK = "no_leakage", "kept_back_stays_hidden"
WARN_ABOVE_AUC = 0.6
"""AUC up to which a reproduced column causes no warning."""


def check_specs(book: Book) -> list[dg.AssetCheckSpec]:
    """The checks of the training set."""
    return training_set_specs(dg.AssetKey([book.name, TRAINING_SET]))


def training_set_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of the training set of this key."""
    return [
        dg.AssetCheckSpec(
            NO_LEAKAGE,
            asset=key,
            blocking=True,
            description="No input of the models is a protected attribute, reveals the outcome, or is known only after "
            "the decision. If one is, no training set is made and the run names it.",
        ),
        dg.AssetCheckSpec(
            KEPT_BACK,
            asset=key,
            description="No input reproduces, alone or with one or two others, a column hidden from the models: one "
            "known only after the decision, or a left-out feature that ranks the outcomes like a leak.",
        ),
    ]


def no_leakage(features: Sequence[str], alone: pd.Series) -> Verdict:
    """The verdict if no input leaks; `alone` has the AUC of each input on its own, largest first."""
    return Verdict(
        NO_LEAKAGE,
        True,
        f"{len(features)} inputs; {alone.index[0]} alone has AUC {alone.iloc[0]:.3f}",
        {"largest_auc_alone": float(alone.iloc[0])},
    )


def hidden_columns_verdict(hidden: pd.DataFrame, reproduced: Sequence[Combination]) -> Verdict:
    """Passes unless inputs reproduce one of the `hidden` columns that ranks the outcomes."""
    reproduced = [found for found in reproduced if found.auc > WARN_ABOVE_AUC]
    return Verdict(
        KEPT_BACK,
        not reproduced,
        f"{'; '.join(map(str, reproduced))}. Make sure that these inputs are known at the application."
        if reproduced
        else "No combination of inputs reproduces a column that is hidden from the models and ranks the outcomes.",
        {"kept_back": len(hidden.columns), "given_back": len(reproduced)},
        "warning",
    )

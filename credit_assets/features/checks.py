"""The checks of the training set: leaks among the inputs, and hidden columns that they reproduce."""

from collections.abc import Sequence

import dagster as dg
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.features.combined_leaks import Combination
from credit_assets.features.training_rows import TRAINING_SET
from credit_assets.verdicts.verdict import Verdict

NO_LEAKAGE, KEPT_BACK = "no_leakage", "kept_back_stays_hidden"
SAYS_LITTLE = 0.6
"""AUC up to which a column that is given back is not warned of."""


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
            description="No input of the models is a protected attribute, gives the outcome away, or is known "
            "only after the decision. Where one is, the training set is not made and the run says which.",
        ),
        dg.AssetCheckSpec(
            KEPT_BACK,
            asset=key,
            description="No input gives back, alone or with one or two others, a column that is kept from the "
            "models: one known only after the decision, or left out that alone ranks like a leak.",
        ),
    ]


def no_leakage(features: Sequence[str], alone: pd.Series) -> Verdict:
    """The verdict if no input reveals the outcome; `alone` has the AUC of each on its own, largest first."""
    return Verdict(
        NO_LEAKAGE,
        True,
        f"{len(features)} inputs; {alone.index[0]} alone has AUC {alone.iloc[0]:.3f}",
        {"largest_auc_alone": float(alone.iloc[0])},
    )


def nothing_given_back(kept: pd.DataFrame, back: Sequence[Combination]) -> Verdict:
    """Whether inputs reproduce (`back`) one of the columns `kept` from the models that ranks the outcomes."""
    back = [found for found in back if found.auc > SAYS_LITTLE]
    return Verdict(
        KEPT_BACK,
        not back,
        f"{'; '.join(map(str, back))}. Make sure that these inputs are known at the application."
        if back
        else "The inputs give no column back that is kept from the models and ranks the outcomes.",
        {"kept_back": len(kept.columns), "given_back": len(back)},
        "warning",
    )

"""The protected attributes of applicants as groups, read from the raw application table for the audit only."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from credit_assets.fairness.audit import bands_of_years, years_before
from credit_assets.settings.fairness import ProtectedAttribute, as_text


def groups(applications: pd.DataFrame, protected: Mapping[str, ProtectedAttribute]) -> pd.DataFrame:
    """One column per attribute with the group of each applicant, in the order of the rows; null if not given."""
    return pd.DataFrame(
        {name: groups_of(attribute, applications[attribute.column]) for name, attribute in protected.items()},
        index=applications.index,
    )


def groups_of(attribute: ProtectedAttribute, values: pd.Series) -> pd.Series:
    """The group of each value of the attribute's column: a categorical, ordered if the groups have an order; null for a
    null.

    A code that `words` does not list becomes a separate group, named as in the source, so that codes missing from the
    documentation of a source become visible.
    """
    if attribute.kind == "years":
        return bands_of_years(values, attribute.bands)
    if attribute.kind == "days_before":
        return bands_of_years(years_before(values), attribute.bands)
    if not attribute.words and not pd.api.types.is_numeric_dtype(values):
        return values
    words = {value: attribute.words.get(as_text(value), as_text(value)) for value in values.dropna().unique()}
    others = sorted(set(words.values()) - set(attribute.words.values()))
    order = pd.CategoricalDtype([*dict.fromkeys(attribute.words.values()), *others], ordered=True)
    return values.astype(object).map(words).astype(order)

"""The texts that reasons are made of: for each feature its description, the message for a missing value and its
family. All come from the comments of the feature SQL; which of them an applicant gets is decided in `reasons.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from credit_assets.features.queries import FeatureQuery, Origin


@dataclass(frozen=True)
class History:
    """A feature file in which an applicant may have no row: the message for that, and its features."""

    message: str
    features: tuple[str, ...]


@dataclass(frozen=True)
class ReasonTexts:
    """What the reasons of a portfolio may say.

    `descriptions` and `families` have every feature; `missing` those whose comment has a message for a missing
    value; `histories` the files with a message for an applicant without a row, by name.
    """

    descriptions: Mapping[str, str]
    families: Mapping[str, str]
    missing: Mapping[str, str] = field(default_factory=dict)
    histories: Mapping[str, History] = field(default_factory=dict)

    def missing_text(self, feature: str) -> str:
        """The message for a missing value: the feature's own, or its description with what is certain.

        Where the applicant has a row in the feature's history, nothing of the kind is on record; otherwise the
        value is not known.
        """
        if own := self.missing.get(feature):
            return own
        on_record = any(feature in history.features for history in self.histories.values())
        return f"{self.descriptions[feature]}: {'none on record' if on_record else 'not known'}"

    def unseen_text(self, feature: str) -> str:
        """The message for a word that the model has not learned."""
        return f"{self.descriptions[feature]}: not recognised"


def reason_texts(queries: Mapping[str, FeatureQuery], values: Mapping[str, Sequence[Origin]]) -> ReasonTexts:
    """The texts of all features; `values` has the raw columns in each one's expression (`lineage` without rows)."""
    query = queries["features"]
    histories: dict[str, list[str]] = {}
    for feature, file in query.row_of.items():
        histories.setdefault(file, []).append(feature)
    return ReasonTexts(
        descriptions=query.words,
        families=families(query.words, query.families, values),
        missing=query.missing,
        histories={file: History(queries[file].no_row, tuple(made)) for file, made in histories.items()},
    )


def families(
    features: Collection[str], named: Mapping[str, str], values: Mapping[str, Sequence[Origin]]
) -> dict[str, str]:
    """The family of each feature: the one that its comment names, else the raw columns that it is calculated from.

    Features without a named family share one only where their raw columns are exactly the same, so that a ratio of
    two columns joins neither of them nor another ratio. A feature that shares its columns with no other, or that is
    calculated from none (`count(*)`), is a family of its own, under its own name.
    """
    spelling: dict[str, str] = {}
    alike: dict[tuple[Origin, ...], list[str]] = {}
    for feature in features:
        if feature not in named and (columns := tuple(sorted(values[feature]))):
            alike.setdefault(columns, []).append(feature)
    found = {feature: feature for feature in features}
    for columns, members in alike.items():
        if len(members) > 1:
            found |= dict.fromkeys(members, ", ".join(f"{table}.{column}" for table, column in columns))
    for feature, name in named.items():
        found[feature] = spelling.setdefault(name.casefold(), name)
    return found


def unconfirmed(
    query: FeatureQuery, roots: Mapping[str, Sequence[Origin]], features: Collection[str]
) -> dict[str, str]:
    """The features, of those given, whose texts are drafts, each with the reason: a column's name stands in a text, or
    the feature is marked as a guess. `roots` has the raw columns behind each feature."""
    found: dict[str, str] = {}
    for feature in features:
        text = "; ".join(filter(None, (query.words[feature], query.missing.get(feature))))
        names = dict.fromkeys([*(column for _, column in roots[feature]), feature])
        if feature in query.guesses:
            found[feature] = f"is marked as a guess ({query.guesses[feature]})"
        elif name := next((name for name in names if _holds(text, name)), None):
            found[feature] = f"holds the column name {name}"
    return found


def _holds(text: str, name: str) -> bool:
    """Whether a text holds a column's name as a name: in brackets, or anywhere where it cannot be a plain word."""
    name = " ".join(name.split())
    if f"({name})" in text:
        return True
    # An underscore, a digit, or a capital after a small letter: `debt_ratio`, `Q4`, `DebtRatio`.
    technical = re.fullmatch(r"\w*(_|\d|[a-z][A-Z])\w*", name)
    return bool(technical and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text))

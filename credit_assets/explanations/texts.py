"""The texts of reasons: for each feature its description, the message for a missing value and its family.

All come from the comments of the feature SQL; `reasons.py` decides which of them an applicant receives.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from credit_assets.book.lineage import Origin
from credit_assets.book.queries import FeatureQuery


@dataclass(frozen=True)
class History:
    """A feature file in which an applicant may have no row: the message for that, and its features."""

    message: str
    features: tuple[str, ...]


@dataclass(frozen=True)
class Draft:
    """Why a text is not confirmed: it is marked as a `guess`, or contains the name of a column or table."""

    guess: str = ""
    kind: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"is marked as a guess ({self.guess})" if self.guess else f"contains the {self.kind} name {self.name}"


@dataclass(frozen=True)
class ReasonTexts:
    """All texts that reasons of a portfolio may have.

    `descriptions` and `families` contain every feature, `missing` those with a message for a missing value, `histories`
    the files with a message for an applicant without a row, by name. `drafts` gives the reason why a text is not
    confirmed, by feature, or by file for the message for an applicant without a row.
    """

    descriptions: Mapping[str, str]
    families: Mapping[str, str]
    missing: Mapping[str, str] = field(default_factory=dict)
    histories: Mapping[str, History] = field(default_factory=dict)
    drafts: Mapping[str, Draft] = field(default_factory=dict)

    def drafts_of(self, features: Collection[str]) -> dict[str, Draft]:
        """The drafts that applicants may receive from a model with these features."""
        files = {file for file, history in self.histories.items() if not set(history.features).isdisjoint(features)}
        return {name: why for name, why in self.drafts.items() if name in files or name in features}

    def missing_text(self, feature: str) -> str:
        """The message for a missing value: the feature's own, or its description with a default.

        The default is "none on record" for a feature of a history file with a message for applicants without a row, and
        "not known" otherwise.
        """
        if own := self.missing.get(feature):
            return own
        on_record = any(feature in history.features for history in self.histories.values())
        return f"{self.descriptions[feature]}: {'none on record' if on_record else 'not known'}"

    def unseen_text(self, feature: str) -> str:
        """The message for a category that the model has not learned."""
        return f"{self.descriptions[feature]}: not recognised"


def drafts_message(drafts: Mapping[str, Draft]) -> str:
    """One draft text with the reason, and the number of others."""
    (name, why), others = next(iter(drafts.items())), len(drafts) - 1
    more = {0: "", 1: "; 1 other text is a draft too"}.get(others, f"; {others} other texts are drafts too")
    return f"The text of {name} {why}{more}. `credit-assets check` lists what to write."


def reason_texts(
    queries: Mapping[str, FeatureQuery],
    values: Mapping[str, Sequence[Origin]],
    roots: Mapping[str, Sequence[Origin]],
) -> ReasonTexts:
    """The texts of all features. `values` has the raw columns in the expression of each (`lineage` without rows),
    `roots` all raw columns behind it."""
    query = queries["features"]
    histories: dict[str, list[str]] = {}
    for feature, file in query.row_of.items():
        histories.setdefault(file, []).append(feature)
    return ReasonTexts(
        descriptions=query.descriptions,
        families=families(query.descriptions, query.families, values),
        missing=query.missing,
        histories={file: History(queries[file].no_row, tuple(made)) for file, made in histories.items()},
        drafts=_drafts(queries, roots),
    )


def families(
    features: Collection[str], named: Mapping[str, str], values: Mapping[str, Sequence[Origin]]
) -> dict[str, str]:
    """The family of each feature: the one that its comment names, else the raw columns that it is calculated from.

    Features without a named family share one only if their raw columns are exactly the same, so that a ratio of two
    columns belongs with neither of them, nor with another ratio. A feature that shares its columns with no other, or is
    calculated from none (`count(*)`), forms its own family, under its own name.
    """
    spelling: dict[str, str] = {}
    by_columns: dict[tuple[Origin, ...], list[str]] = {}
    for feature in features:
        if feature not in named and (columns := tuple(sorted(values[feature]))):
            by_columns.setdefault(columns, []).append(feature)
    found = {feature: feature for feature in features}
    for columns, members in by_columns.items():
        if len(members) > 1:
            found |= dict.fromkeys(members, ", ".join(f"{table}.{column}" for table, column in columns))
    for feature, name in named.items():
        found[feature] = spelling.setdefault(name.casefold(), name)
    return found


def _drafts(queries: Mapping[str, FeatureQuery], roots: Mapping[str, Sequence[Origin]]) -> dict[str, Draft]:
    """The reason why a text is a draft: it contains the name of a column or table, or is marked as a guess."""
    query, found = queries["features"], {}
    for feature, description in query.descriptions.items():
        texts = (description, query.missing.get(feature, ""))
        names = [*(column for _, column in roots[feature]), feature]
        if why := _draft(texts, names, query.guesses.get(feature, ""), "column"):
            found[feature] = why
    for file in sorted(set(query.row_of.values())):
        if why := _draft([queries[file].no_row], queries[file].inputs, queries[file].no_row_guess, "table"):
            found[file] = why
    return found


def _draft(texts: Sequence[str], names: Sequence[str], guess: str, kind: str) -> Draft | None:
    if guess:
        return Draft(guess=guess)
    contained = next((name for name in names if any(_contains_name(text, name) for text in texts)), None)
    return Draft(kind=kind, name=contained) if contained else None


def _contains_name(text: str, name: str) -> bool:
    """Whether a text contains a column's name as a name: in brackets, or anywhere if it cannot be a plain word."""
    name = " ".join(name.split())
    if f"({name})" in text:
        return True
    # An underscore, a digit, or a capital after a lower-case letter: `debt_ratio`, `Q4`, `DebtRatio`.
    technical = re.fullmatch(r"\w*(_|\d|[a-z][A-Z])\w*", name)
    return bool(technical and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text))

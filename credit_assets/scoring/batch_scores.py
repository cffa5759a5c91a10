"""The scores of one batch, computed part by part. `decisions/decide.py` decides on each part."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import duckdb
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.decisions.decide import Provenance, score
from credit_assets.decisions.policy import APPROVE
from credit_assets.explanations.texts import Draft, ReasonTexts, drafts_message
from credit_assets.lake.sql import identifier
from credit_assets.models.model import Model
from credit_assets.registry.version import ModelVersion

VECTORS = 20
"""Of 2,048 rows that DuckDB hands over at a time: wide enough to score fast, small enough for memory."""

MAIN_REASONS = 10
"""Reasons that the metadata list, the most frequent first."""


class ReasonsUnconfirmed(ValueError):
    """The portfolio gives no scores while the text of a reason is a draft."""

    def __init__(self, drafts: Mapping[str, Draft]) -> None:
        super().__init__(f"Scores are withheld (`reasons: {{unconfirmed: block}}`): {drafts_message(drafts)}")
        self.drafts = drafts


def drafts_allowed(book: Book, texts: ReasonTexts, features: Collection[str]) -> dict[str, Draft]:
    """The features whose text is a draft. Raises ReasonsUnconfirmed if the portfolio gives no scores with any."""
    drafts = texts.drafts_of(features)
    if drafts and book.portfolio.reasons.unconfirmed == "block":
        raise ReasonsUnconfirmed(drafts)
    return drafts


def score_batch(
    book: Book,
    features: duckdb.DuckDBPyRelation,
    model: Model,
    version: ModelVersion,
    texts: ReasonTexts,
    provenance: Provenance,
) -> pd.DataFrame:
    """The `Scores` of all rows of the batch's features by this version and its model."""
    key = book.portfolio.entity_key
    # Whether an applicant has a row in a history shows in all of its features, if the batch has them.
    beside = {column for history in texts.histories.values() for column in history.features}
    wanted = [key, *model.features]
    wanted += [column for column in features.columns if column in beside.difference(model.features)]
    parts = parts_of(features.project(", ".join(map(identifier, wanted))))
    return score(parts, key, model, version.decline_above, book.portfolio.scorecard, texts, provenance)


def parts_of(relation: duckdb.DuckDBPyRelation) -> Iterator[pd.DataFrame]:
    """The rows of the relation, some tens of thousands at a time."""
    while len(part := relation.fetch_df_chunk(VECTORS)):
        yield part


def main_reasons(decided: pd.DataFrame) -> pd.DataFrame:
    """How many applicants were declined for each main reason, the most frequent ones."""
    declined = decided[decided["decision"] != APPROVE]
    # By name where as many were declined for each: the order of the rows shows in no table.
    counts = declined["reason_1"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return counts.head(MAIN_REASONS).rename_axis("main reason").reset_index(name="declined")

"""The scores of one batch, computed in chunks of rows. `decisions/decide.py` decides on each chunk."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.decisions.decide import Provenance, score
from credit_assets.decisions.policy import APPROVE
from credit_assets.explanations.texts import Draft, ReasonTexts, drafts_message
from credit_assets.lake.sql import identifier
from credit_assets.models.model import Model
from credit_assets.registry.version import ModelVersion
from credit_assets.schemas.duckdb_types import FLOATS

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ROWS = 40_960
"""Rows per chunk: enough to score fast, few enough for memory."""

MAIN_REASONS = 10
"""The number of most frequent reasons in the metadata."""


class ReasonsUnconfirmed(ValueError):
    """The portfolio withholds scores while the text of a reason is a draft."""

    def __init__(self, drafts: Mapping[str, Draft]) -> None:
        super().__init__(f"Scores are withheld (`reasons: {{unconfirmed: block}}`): {drafts_message(drafts)}")
        self.drafts = drafts


def drafts_allowed(book: Book, texts: ReasonTexts, features: Collection[str]) -> dict[str, Draft]:
    """The features whose text is a draft. Raises ReasonsUnconfirmed if the portfolio withholds scores because of
    them."""
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
    """The `Scores` table for all rows of the batch's features, by this version and its model."""
    key = book.portfolio.entity_key
    # All features of a history are read, because they show whether an applicant has a row in it.
    of_histories = {column for history in texts.histories.values() for column in history.features}
    wanted = [key, *model.features]
    wanted += [column for column in features.columns if column in of_histories.difference(model.features)]
    chunks = chunks_of(features.project(", ".join(map(identifier, wanted))))
    return score(chunks, key, model, version.decline_above, book.portfolio.scorecard, texts, provenance)


def chunks_of(relation: duckdb.DuckDBPyRelation) -> Iterator[pd.DataFrame]:
    """The rows of the relation as frames of some tens of thousands, equal to those of `relation.df()`.

    Columns come from Arrow one by one: DuckDB's own chunks of a frame are joined vector by vector, which takes longer
    than the scores themselves.
    """
    # A column without nulls needs no copy.
    selected = [
        f"coalesce({identifier(name)}, 'nan'::{kind}) AS {identifier(name)}"
        if str(kind) in FLOATS
        else identifier(name)
        for name, kind in zip(relation.columns, relation.types, strict=True)
    ]
    for batch in relation.project(", ".join(selected)).to_arrow_reader(CHUNK_ROWS):
        if batch.num_rows:
            columns = zip(batch.schema.names, batch.columns, strict=True)
            yield pd.DataFrame({name: _values(column) for name, column in columns}, copy=False)


def _values(column: pa.Array) -> np.ndarray | pd.arrays.IntegerArray:
    """The values of a column as DuckDB would return them."""
    import pyarrow as pa

    if pa.types.is_string(column.type):
        # Each text becomes one Python object, however many rows have it.
        coded = column.dictionary_encode()
        texts = np.array([*coded.dictionary.to_pylist(), None], dtype=object)
        return texts[coded.indices.fill_null(-1).to_numpy()]
    if pa.types.is_integer(column.type) and column.null_count:
        missing = column.is_null().to_numpy(zero_copy_only=False)
        return pd.arrays.IntegerArray(column.fill_null(0).to_numpy(), missing)
    return column.to_numpy(zero_copy_only=False)


def main_reasons(decided: pd.DataFrame) -> pd.DataFrame:
    """The number of applicants declined for each of the most frequent main reasons."""
    declined = decided[decided["decision"] != APPROVE]
    # Ties are sorted by name, so that the table does not depend on the order of the rows.
    counts = declined["reason_1"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return counts.head(MAIN_REASONS).rename_axis("main reason").reset_index(name="declined")
